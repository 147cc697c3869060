//! The work on one stored delivery: read it again, decide, and make its builds or say why not. All of it may
//! be done twice: the dedupe key of a build makes the second time join the first.

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::delivery::DeliveryState;
use slipway_domain::event::Event;
use slipway_domain::spec::BuildOptions;
use slipway_forges::headers;
use slipway_forges::hook::{Received, parse};
use slipway_live::{Topic, WakeKind};
use slipway_store::Scope;
use slipway_store::builds::RefOrder;
use slipway_store::delivery_work::{DeliveryEnd, LeasedDelivery};
use slipway_store::projects::Project;
use slipway_store::ref_heads::RefMove;

use crate::intake::pipeline;
use crate::intake::rules::{Decision, ProjectFacts, Push, RefMoved, decide, events};
use crate::new_build::{WantedBuild, new_build};
use crate::state::ApiState;

/// Works one delivery. An error means "try again later".
pub(super) async fn work(state: &ApiState, row: &LeasedDelivery, now: DateTime<Utc>) -> anyhow::Result<DeliveryEnd> {
    let project = state.db.project(&Scope::Operator, row.project_id).await.context("read the project")?;
    let headers = match headers::from_map(&row.headers) {
        Ok(headers) => headers,
        Err(reason) => return Ok(failed(reason)),
    };
    let received = Received { kind: project.forge, headers: &headers, body: &row.body };
    let outcome = match parse(&received) {
        Ok(parsed) => parsed.outcome,
        Err(error) => return Ok(failed(error.to_string())),
    };
    let mut results = Vec::new();
    for (event, index) in events(&outcome).iter().zip(0..) {
        results.push(work_event(state, row, &project, (event, index), now).await?);
    }
    Ok(end(results))
}

/// What became of one event.
enum Worked {
    Built,
    Ignored(String),
    Failed(String),
}

async fn work_event(
    state: &ApiState,
    row: &LeasedDelivery,
    project: &Project,
    (event, index): (&Event, i64),
    now: DateTime<Utc>,
) -> anyhow::Result<Worked> {
    match decide(event, index, &ProjectFacts { repo_path: &project.repo_path, state: project.state }) {
        Decision::Build(push) => build(state, row, project, push, now).await,
        Decision::Ignore(reason, moved) => {
            if let Some(moved) = moved {
                note(state, project, &moved, now).await?;
            }
            Ok(Worked::Ignored(reason))
        }
    }
}

async fn build(
    state: &ApiState,
    row: &LeasedDelivery,
    project: &Project,
    push: Push,
    now: DateTime<Utc>,
) -> anyhow::Result<Worked> {
    let numbers = state.db.assign_moves(row.hook_id, row.id, std::slice::from_ref(&push.told)).await;
    let n = numbers.context("number the move")?.first().copied().context("the move has no number")?;
    let tenant = state.db.tenant(&Scope::Operator, project.tenant_id).await.context("read the tenant")?;
    let file = pipeline::read(state, project, &push.commit).await;
    let wanted = WantedBuild {
        trigger: push.trigger,
        git_ref: Some(push.moved.git_ref),
        commit: push.commit,
        before: push.moved.before.clone(),
        order: RefOrder::Move { before: push.moved.before, after: push.after },
        dedupe_key: push.told.dedupe_key(n),
        rerun_of: None,
        title: push.title,
        actor: push.actor,
        delivery: Some(row.id),
        asked: BuildOptions::default(),
        region: file.region,
        timeout_secs: file.build.timeout_secs,
        now,
    };
    let new = match new_build(&state.config, project, &tenant.class, wanted) {
        Ok(new) => new,
        Err(error) => return Ok(Worked::Failed(format!("the region of slipway.yml or of the project: {error}"))),
    };
    let created = state.db.create_build(&new).await.context("make the build")?;
    state.live.publish(Topic::Wake(WakeKind::Jobs), Bytes::new());
    state.live.publish(Topic::Wake(WakeKind::Statuses), Bytes::new());
    tracing::info!(build.id = %created.build, delivery.id = %row.id, joined = created.existing, "build made");
    Ok(Worked::Built)
}

/// Moves that make no build count too: what follows them must not look late.
async fn note(state: &ApiState, project: &Project, moved: &RefMoved, now: DateTime<Utc>) -> anyhow::Result<()> {
    let moved = RefMove {
        project: project.id,
        git_ref: &moved.git_ref,
        before: moved.before.as_deref(),
        after: moved.after.as_deref(),
        now,
    };
    state.db.note_moves(&[moved]).await.context("note the move")?;
    Ok(())
}

fn end(results: Vec<Worked>) -> DeliveryEnd {
    let (mut built, mut broken, mut reasons) = (false, false, Vec::new());
    for result in results {
        match result {
            Worked::Built => built = true,
            Worked::Ignored(reason) => reasons.push(reason),
            Worked::Failed(reason) => {
                broken = true;
                reasons.push(reason);
            }
        }
    }
    let state = match (broken, built) {
        (true, _) => DeliveryState::Failed,
        (false, true) => DeliveryState::Done,
        (false, false) => DeliveryState::Ignored,
    };
    if reasons.is_empty() && !built {
        reasons.push("the delivery tells of no change".to_owned());
    }
    DeliveryEnd { state, reason: (!reasons.is_empty()).then(|| reasons.join("; ")) }
}

fn failed(reason: String) -> DeliveryEnd {
    DeliveryEnd { state: DeliveryState::Failed, reason: Some(reason) }
}
