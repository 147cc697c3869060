//! What becomes of other builds when a build is made or a change is closed. Repeating it changes nothing, so whoever
//! works the delivery after a crash does it again.

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::build::Trigger;
use slipway_domain::rules::Supersede;
use slipway_live::{Topic, WakeKind};
use slipway_store::builds::NewBuild;
use slipway_store::job_cancels::Reach;
use slipway_store::newer_builds::{Line, Stopped};
use slipway_store::projects::Project;

use crate::builds::make::ring_builders;
use crate::state::ApiState;

/// Stops the older builds of the same branch, tag or change, as far as the project's rules want it. What was told late
/// is older itself.
pub(super) async fn of_build(
    state: &ApiState,
    project: &Project,
    new: &NewBuild,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if let (Trigger::Change, Some(number), Some(told_at)) = (new.trigger, new.change_number, new.told_at) {
        // What was told before the change was closed may be worked after it.
        let closed_at = state.db.change_closed_at(project.id, number).await.context("look whether it was closed")?;
        if let Some(closed_at) = closed_at.filter(|closed_at| *closed_at >= told_at) {
            let stopped = state.db.stop_builds_of_change(project.id, (number, closed_at), now).await;
            return tell(state, &stopped.context("stop the change's builds")?).await;
        }
    }
    if new.trigger == Trigger::Push && project.rules.builds_once_per_commit() {
        let stopped = state.db.supersede_changes_of(project.id, &new.commit, now).await;
        tell(state, &stopped.context("stop a change's builds")?).await?;
    }
    let reach = match project.rules.supersede() {
        Supersede::Never => return Ok(()),
        Supersede::Waiting => Reach::Waiting,
        Supersede::Running => Reach::Running,
    };
    let line = match (new.trigger, new.change_number, &new.git_ref) {
        (Trigger::Change, Some(number), _) => Line::Change(number),
        (Trigger::Push | Trigger::Tag, _, Some(git_ref)) => Line::Ref(git_ref),
        _ => return Ok(()),
    };
    let stopped = state.db.supersede_builds(project.id, line, reach, now).await.context("stop older builds")?;
    tell(state, &stopped).await
}

/// Stops all builds of a change; gives how many.
pub(super) async fn of_closed_change(
    state: &ApiState,
    project: &Project,
    (number, closed_at): (u64, DateTime<Utc>),
    now: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let Ok(number) = i64::try_from(number) else { return Ok(0) };
    let stopped =
        state.db.close_change(project.id, (number, closed_at), now).await.context("stop the change's builds")?;
    tell(state, &stopped).await?;
    Ok(stopped.len())
}

async fn tell(state: &ApiState, stopped: &[Stopped]) -> anyhow::Result<()> {
    for (build, attempts) in stopped {
        state.live.publish(Topic::Build(*build), Bytes::new());
        if !attempts.is_empty() {
            ring_builders(state, *build, attempts).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
    }
    if !stopped.is_empty() {
        state.live.publish(Topic::Wake(WakeKind::Finished), Bytes::new());
    }
    Ok(())
}
