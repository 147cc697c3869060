//! The work on one stored delivery: read it again, decide, and make its builds or say why not. All of it may
//! be done twice: the dedupe key of a build makes the second time join the first.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::build::Trigger;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::spec::{BuildOptions, ChangeSpec};
use slipway_forges::api::ForgeError;
use slipway_forges::headers;
use slipway_forges::hook::{Received, parse};
use slipway_live::{Topic, WakeKind};
use slipway_store::Scope;
use slipway_store::builds::RefOrder;
use slipway_store::delivery_moves::Move;
use slipway_store::delivery_work::{DeliveryEnd, LeasedDelivery};
use slipway_store::projects::Project;

use crate::forge;
use crate::intake::pipeline;
use crate::intake::rules::{Decision, ProjectFacts, Proposed, Push, RefMoved, decide, events};
use crate::new_build::{WantedBuild, new_build};
use crate::state::ApiState;

/// How long the forge may take to say which commit is meant.
const FORGE_PATIENCE: Duration = Duration::from_secs(3);

/// What is to be done about a delivery.
pub(super) enum Plan {
    /// Nothing is built: how it ends, once the refs that moved nevertheless are noted.
    End(DeliveryEnd, Vec<RefMoved>),
    /// What each of its events leads to; at least one to a build.
    Build(Vec<Decision>),
}

/// Reads a delivery again and decides, without asking anybody.
pub(super) fn plan(row: &LeasedDelivery, project: &Project) -> Plan {
    let headers = match headers::from_map(&row.headers) {
        Ok(headers) => headers,
        Err(reason) => return Plan::End(failed(reason), Vec::new()),
    };
    let outcome = match parse(&Received { kind: project.forge, headers: &headers, body: &row.body }) {
        Ok(parsed) => parsed.outcome,
        Err(error) => return Plan::End(failed(error.to_string()), Vec::new()),
    };
    let facts = ProjectFacts {
        repo_path: &project.repo_path,
        forge: project.forge,
        state: project.state,
        rules: &project.rules,
    };
    let decisions: Vec<Decision> =
        events(&outcome).iter().zip(0..).map(|(event, index)| decide(event, index, &facts)).collect();
    if decisions.iter().any(Decision::builds) {
        return Plan::Build(decisions);
    }
    let (mut results, mut moves) = (Vec::new(), Vec::new());
    for decision in decisions {
        if let Decision::Ignore(reason, moved) = decision {
            results.push(Worked::Ignored(reason));
            moves.extend(moved);
        }
    }
    Plan::End(end(results), moves)
}

/// Does what was decided for the events of a delivery. An error means "try again later".
pub(super) async fn build_all(
    state: &ApiState,
    (row, project): (&LeasedDelivery, &Project),
    decisions: Vec<Decision>,
    now: DateTime<Utc>,
) -> anyhow::Result<DeliveryEnd> {
    let mut results = Vec::new();
    for decision in decisions {
        results.push(match decision {
            Decision::Push(push) => build(state, row, project, push.into(), now).await?,
            Decision::Change(proposed) => build(state, row, project, proposed.into(), now).await?,
            Decision::Ignore(reason, moved) => {
                // Moves that make no build count too: what follows them must not look late.
                let moves: Vec<_> = moved.iter().map(|moved| moved.noted(project.id, now)).collect();
                state.db.note_moves(&moves).await.context("note the move")?;
                Worked::Ignored(reason)
            }
        });
    }
    Ok(end(results))
}

/// What became of one event.
enum Worked {
    Built,
    Ignored(String),
    Failed(String),
}

/// What a push and a change have in common.
struct Wish {
    trigger: Trigger,
    git_ref: GitRef,
    commit: String,
    before: Option<String>,
    order: RefOrder,
    told: Move,
    title: Option<String>,
    actor: Option<String>,
    change: Option<ChangeSpec>,
    needs_approval: bool,
}

impl From<Push> for Wish {
    fn from(push: Push) -> Self {
        let before = push.moved.before;
        Self {
            trigger: push.trigger,
            git_ref: push.moved.git_ref,
            commit: push.commit,
            before: before.clone(),
            order: RefOrder::Move { before, after: push.after },
            told: push.told,
            title: push.title,
            actor: push.actor,
            change: None,
            needs_approval: false,
        }
    }
}

impl From<Proposed> for Wish {
    fn from(proposed: Proposed) -> Self {
        Self {
            trigger: Trigger::Change,
            git_ref: proposed.git_ref,
            commit: proposed.commit,
            before: None,
            order: RefOrder::None,
            told: proposed.told,
            title: None,
            actor: None,
            change: Some(proposed.change),
            needs_approval: proposed.needs_approval,
        }
    }
}

async fn build(
    state: &ApiState,
    row: &LeasedDelivery,
    project: &Project,
    wish: Wish,
    now: DateTime<Utc>,
) -> anyhow::Result<Worked> {
    let numbers = state.db.assign_moves(row.hook_id, row.id, std::slice::from_ref(&wish.told)).await;
    let n = numbers.context("number the move")?.first().copied().context("the move has no number")?;
    let commit = match full_commit(state, project, wish.commit).await? {
        Ok(commit) => commit,
        Err(reason) => return Ok(Worked::Ignored(reason)),
    };
    let tenant = state.db.tenant(&Scope::Operator, project.tenant_id).await.context("read the tenant")?;
    let file = pipeline::read(state, project, pipeline::place(&commit, wish.change.as_ref())).await;
    let wanted = WantedBuild {
        trigger: wish.trigger,
        git_ref: Some(wish.git_ref),
        commit,
        before: wish.before,
        order: wish.order,
        dedupe_key: wish.told.dedupe_key(n),
        rerun_of: None,
        title: wish.title,
        actor: wish.actor,
        delivery: Some(row.id),
        needs_approval: wish.needs_approval,
        change: wish.change,
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

/// The whole id of a commit of which the delivery names the beginning; in words why it cannot be known. An error means
/// "try again later".
async fn full_commit(state: &ApiState, project: &Project, named: String) -> anyhow::Result<Result<String, String>> {
    if is_commit_id(&named) {
        return Ok(Ok(named));
    }
    let access = state.db.connection_access(&state.secret_key, project.connection_id).await?;
    let Some((api, permit)) = forge::open(state, access, FORGE_PATIENCE)? else {
        let reason = "the delivery names only the beginning of the commit's id, and without a token on its connection \
                      the forge cannot be asked for the rest";
        return Ok(Err(reason.to_owned()));
    };
    match forge::call(permit, api.full_commit(&project.repo_path, &named)).await {
        Ok(commit) => Ok(Ok(commit)),
        Err(error @ (ForgeError::Transient(_) | ForgeError::RetryAfter(_))) => Err(error.into()),
        Err(error) => Ok(Err(format!("the forge does not say which commit {named} is: {error}"))),
    }
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
