//! What forges show beside a commit. Builds whose state changed become wanted statuses; a wanted status is
//! sent until the forge acknowledges it, never an older one after a newer one.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use metrics::counter;
use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProjectId;
use slipway_domain::timing;
use slipway_live::{Topic, WakeKind};
use slipway_runtime::crash;
use slipway_runtime::wake::Wake;
use slipway_store::statuses::{Reported, StatusKey, UnreportedBuild, WantedStatus};
use tracing::{error, warn};

use crate::state::ApiState;

mod check;
pub(crate) mod send;

/// Builds of one pass.
const BUILDS: i64 = 100;

/// Starts reporting for as long as the process lives.
pub fn start(state: &ApiState) {
    let (wake, due) = (Wake::default(), Wake::default());
    state.life.spawn("reporter wakes", forward_wakes(state.clone(), wake.clone()));
    state.life.spawn("reporter", run(state.clone(), wake, due.clone()));
    state.life.spawn("status sender", send::run(state.clone(), due));
}

/// Turns changed builds into wanted statuses; returns how many builds there were.
pub async fn want_statuses_once(state: &ApiState, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let builds = state.db.unreported_builds(BUILDS).await?;
    if builds.is_empty() {
        return Ok(0);
    }
    let failing: BTreeSet<ProjectId> =
        builds.iter().filter(|build| has_failed(build.state)).map(|build| build.project_id).collect();
    let reported: Vec<Reported> = builds.into_iter().map(report).collect();
    state.db.want_statuses(&reported, now).await?;
    crash::point("status.wanted");
    for project in failing {
        if state.db.pause_if_nothing_succeeds(project, now).await? {
            counter!("slipway_projects_paused_total").increment(1);
            warn!(project.id = %project, "paused: its builds fail one after the other");
        }
    }
    Ok(reported.len())
}

fn has_failed(state: BuildState) -> bool {
    matches!(state, BuildState::Failed | BuildState::Errored)
}

/// What a forge shall show for a build, if there is anybody to tell.
fn report(build: UnreportedBuild) -> Reported {
    let (build_id, state) = (build.build_id, build.state);
    let wanted = build.has_token.then(|| {
        let shown = if build.is_app { state } else { shown_as(build.forge, state) };
        WantedStatus {
            key: StatusKey {
                connection_id: build.connection_id,
                repo_path: build.repo_path,
                commit_id: build.commit_id,
                context: format!("slipway/{}", build.project_name),
            },
            tenant_id: build.tenant_id,
            build_id,
            git_ref: build.git_ref.as_deref().and_then(|text| GitRef::parse(text).ok()),
            wanted: shown,
            seq: seq(build.created_at, shown),
        }
    });
    Reported { build_id, state, wanted }
}

/// Newer builds of a commit win over older ones, and within a build the later state.
fn seq(created_at: DateTime<Utc>, state: BuildState) -> i64 {
    let rank = match state {
        BuildState::Pending => 0,
        BuildState::Running => 1,
        BuildState::Succeeded
        | BuildState::Failed
        | BuildState::Errored
        | BuildState::Cancelled
        | BuildState::Superseded
        | BuildState::Skipped => 2,
    };
    created_at.timestamp_micros().saturating_mul(4).saturating_add(rank)
}

/// Most forges have one word for waiting and running, and limit how much we may say: we say it once.
fn shown_as(forge: ForgeKind, state: BuildState) -> BuildState {
    let one_word = match forge {
        ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Coding => {
            true
        }
        ForgeKind::Gitlab | ForgeKind::Gitee => false,
    };
    if one_word && state == BuildState::Running { BuildState::Pending } else { state }
}

async fn run(state: ApiState, wake: Wake, due: Wake) -> anyhow::Result<()> {
    loop {
        let wanted = match pass(&state).await {
            Ok(wanted) => wanted,
            Err(error) => {
                error!(error = format!("{error:#}"), "reporter pass failed");
                0
            }
        };
        if wanted > 0 {
            due.ring();
        }
        let full = i64::try_from(wanted).is_ok_and(|wanted| wanted == BUILDS);
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            () = wake.wait(timing::POLL), if !full => {}
            () = std::future::ready(()), if full => {}
        }
    }
}

async fn pass(state: &ApiState) -> anyhow::Result<usize> {
    let now = state.db.now(&state.clock).await?;
    want_statuses_once(state, now).await
}

async fn forward_wakes(state: ApiState, wake: Wake) -> anyhow::Result<()> {
    let mut statuses = state.live.subscribe(Topic::Wake(WakeKind::Statuses)).await;
    let mut finished = state.live.subscribe(Topic::Wake(WakeKind::Finished)).await;
    loop {
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            _ = statuses.next() => wake.ring(),
            _ = finished.next() => wake.ring(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_states_and_newer_builds_have_higher_numbers() {
        let older = DateTime::from_timestamp_micros(1_800_000_000_000_000).expect("in range");
        let newer = DateTime::from_timestamp_micros(1_800_000_000_000_001).expect("in range");
        let mut last = 0;
        for (created_at, state) in [
            (older, BuildState::Pending),
            (older, BuildState::Running),
            (older, BuildState::Succeeded),
            (newer, BuildState::Pending),
            (newer, BuildState::Failed),
        ] {
            let seq = seq(created_at, state);
            assert!(seq > last, "{state}");
            last = seq;
        }
    }

    #[test]
    fn running_is_said_only_where_the_forge_has_a_word_for_it() {
        assert_eq!(shown_as(ForgeKind::Github, BuildState::Running), BuildState::Pending);
        assert_eq!(shown_as(ForgeKind::Gitea, BuildState::Running), BuildState::Pending);
        assert_eq!(shown_as(ForgeKind::Gitlab, BuildState::Running), BuildState::Running);
        assert_eq!(shown_as(ForgeKind::Gitee, BuildState::Running), BuildState::Running);
        assert_eq!(shown_as(ForgeKind::Github, BuildState::Failed), BuildState::Failed);
    }
}
