//! The work on one stored delivery: read it again, decide, and make its builds or say why not. All of it may
//! be done twice: the dedupe key of a build makes the second time join the first.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::build::Trigger;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::ids::{BuildId, DeliveryId, Id as _};
use slipway_domain::spec::BuildOptions;
use slipway_forges::api::ForgeError;
use slipway_live::{Topic, WakeKind};
use slipway_store::builds::{CreatedBuild, RefOrder};
use slipway_store::delivery_moves::Move;
use slipway_store::delivery_work::DeliveryEnd;
use slipway_store::projects::Project;
use slipway_store::{Scope, StoreError};

use crate::builds::make::{Again, again};
use crate::forge;
use crate::intake::aftermath;
use crate::intake::asking::{Asking, QUESTIONS};
use crate::intake::handover::Held;
use crate::intake::pipeline;
use crate::intake::repo::{self, RepoNews};
use crate::intake::rules::{Decision, ProjectFacts, Proposed, Push, RefMoved, decide, events};
use crate::new_build::{WantedBuild, new_build};
use crate::state::ApiState;

/// How long the forge may take to answer one question.
pub(super) const FORGE_PATIENCE: Duration = Duration::from_secs(3);

/// What is to be done about a delivery.
pub(super) enum Plan {
    /// Nothing is built: how it ends, once the refs that moved nevertheless are noted.
    End(DeliveryEnd, Vec<RefMoved>),
    /// There is work.
    Act(Act),
}

/// Work on a delivery.
pub(super) struct Act {
    /// What each of its events leads to; at least one to something.
    decisions: Vec<Decision>,
    /// What the delivery says of the repository itself.
    repo: RepoNews,
}

/// Reads a delivery and decides, without asking anybody.
pub(super) fn plan(row: &Held, project: &Project) -> Plan {
    let parsed = match row.parsed(project.forge) {
        Ok(parsed) => parsed,
        Err(reason) => return Plan::End(failed(reason), Vec::new()),
    };
    let facts = ProjectFacts {
        repo_path: &project.repo_path,
        is_same_id: project.repo_id.is_some() && project.repo_id == parsed.repo_id,
        forge: project.forge,
        state: project.state,
        rules: &project.rules,
    };
    let events = events(&parsed.outcome);
    let decisions: Vec<Decision> = events.iter().zip(0..).map(|(event, index)| decide(event, index, &facts)).collect();
    let repo = RepoNews::of(&parsed, project);
    if decisions.iter().any(Decision::acts) || repo != RepoNews::Known {
        return Plan::Act(Act { decisions, repo });
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
pub(super) async fn act_on(
    state: &ApiState,
    (row, project): (&Held, &Project),
    act: Act,
    now: DateTime<Utc>,
) -> anyhow::Result<DeliveryEnd> {
    let followed = repo::follow(state, project, &act.repo, now).await?;
    let work = Work { state, row, project: followed.as_ref().unwrap_or(project), now };
    let mut results = Vec::new();
    for (decision, index) in act.decisions.into_iter().zip(0_u32..) {
        results.push(match decision {
            Decision::Push(push) => work.build(push.into()).await?,
            Decision::Change(proposed) => work.build(proposed.into()).await?,
            Decision::Close(number, at, reason) => work.close((number, at), reason).await?,
            Decision::Rerun(commit, ours) => work.rerun((&commit, ours), index).await?,
            Decision::Ignore(reason, moved) => {
                work.note(moved.as_ref()).await?;
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
    /// As it is noted if nothing is built.
    moved: Option<RefMoved>,
    order: RefOrder,
    told: Move,
    proposed: Option<Proposed>,
    title: Option<String>,
    actor: Option<String>,
}

impl From<Push> for Wish {
    fn from(push: Push) -> Self {
        Self {
            trigger: push.trigger,
            git_ref: push.moved.git_ref.clone(),
            commit: push.commit,
            order: RefOrder::Move { before: push.moved.before.clone(), after: push.after },
            moved: Some(push.moved),
            told: push.told,
            proposed: None,
            title: push.title,
            actor: push.actor,
        }
    }
}

impl From<Proposed> for Wish {
    fn from(proposed: Proposed) -> Self {
        Self {
            trigger: Trigger::Change,
            git_ref: proposed.git_ref.clone(),
            commit: proposed.commit.clone(),
            moved: None,
            order: RefOrder::None,
            told: proposed.told.clone(),
            title: proposed.details.title.clone(),
            actor: proposed.details.author.clone().or_else(|| proposed.details.sender.clone()),
            proposed: Some(proposed),
        }
    }
}

/// The work on one delivery.
#[derive(Clone, Copy)]
struct Work<'a> {
    state: &'a ApiState,
    row: &'a Held,
    project: &'a Project,
    now: DateTime<Utc>,
}

impl Work<'_> {
    async fn build(self, wish: Wish) -> anyhow::Result<Worked> {
        let Self { state, row, project, now } = self;
        let numbers = state.db.assign_moves(row.hook_id, row.id, std::slice::from_ref(&wish.told)).await;
        let n = numbers.context("number the move")?.first().copied().context("the move has no number")?;
        let commit = match full_commit(state, project, wish.commit).await? {
            Ok(commit) => commit,
            Err(reason) => return Ok(Worked::Ignored(reason)),
        };
        let dedupe_key = wish.told.dedupe_key(n);
        // After a crash, or replayed: what was decided stays, and only its consequences are looked after again.
        let asks = wish.proposed.is_some() || project.rules.asks_for_files();
        let is_built = asks && state.db.has_build(project.id, &dedupe_key).await.context("find the build")?;
        let asking = Asking { state, project, commit: &commit, until: state.clock.monotonic() + QUESTIONS };
        let ignored = match (&wish.proposed, &wish.moved) {
            _ if is_built => None,
            (Some(proposed), _) => asking.leaves_out_change(proposed).await?,
            (None, Some(moved)) => asking.leaves_out_push(moved).await,
            (None, None) => None,
        };
        if let Some(reason) = ignored {
            self.note(wish.moved.as_ref()).await?;
            return Ok(Worked::Ignored(reason));
        }
        let needs_approval = match &wish.proposed {
            Some(proposed) if !is_built => proposed.needs_approval && !asking.is_by_a_writer(&proposed.details).await,
            Some(_) | None => false,
        };
        let change = wish.proposed.as_ref().map(|proposed| proposed.change.clone());
        let wanted = WantedBuild {
            trigger: wish.trigger,
            git_ref: Some(wish.git_ref),
            commit,
            before: wish.moved.and_then(|moved| moved.before),
            order: wish.order,
            dedupe_key,
            rerun_of: None,
            title: wish.title,
            actor: wish.actor,
            delivery: Some(row.id),
            needs_approval,
            told_at: wish.proposed.map(|proposed| self.told_at(proposed.details.told_at)),
            change,
            asked: BuildOptions::default(),
            region: None,
            timeout_secs: None,
            now,
        };
        match make(state, project, wanted).await? {
            Ok(created) => {
                tracing::info!(build.id = %created.build, delivery.id = %row.id, joined = created.existing, "build made");
                Ok(Worked::Built)
            }
            Err(reason) => Ok(Worked::Failed(reason)),
        }
    }

    /// When news of a change was told: by the forge's clock, and of the same second in the order in which it came in.
    fn told_at(self, by_forge: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let came_in = received_at(self.row.id).unwrap_or(self.now);
        let Some(by_forge) = by_forge else { return came_in };
        let since = (came_in - by_forge).num_milliseconds().clamp(0, 999_999);
        by_forge + TimeDelta::microseconds(since)
    }

    /// A change that is closed or merged needs no builds any more.
    async fn close(self, (number, at): (u64, Option<DateTime<Utc>>), reason: String) -> anyhow::Result<Worked> {
        let closed = (number, self.told_at(at));
        let stopped = aftermath::of_closed_change(self.state, self.project, closed, self.now).await?;
        Ok(Worked::Ignored(match stopped {
            0 => reason,
            1 => format!("{reason}; its build was stopped"),
            more => format!("{reason}; {more} builds of it were stopped"),
        }))
    }

    /// Somebody asked on the forge for the newest build of a commit again.
    async fn rerun(self, (commit, ours): (&str, Option<BuildId>), index: u32) -> anyhow::Result<Worked> {
        let Self { state, row, project, now } = self;
        let old = match ours {
            Some(build) => match state.db.build(&Scope::Operator, build).await {
                Err(StoreError::NotFound(_)) => None,
                found => Some(found.context("find the build")?).filter(|old| old.project_id == project.id),
            },
            None => state.db.newest_build_of(project.id, commit).await.context("find the build")?,
        };
        let Some(old) = old else {
            return Ok(Worked::Ignored(format!("no build of {commit} is known that could be made again")));
        };
        if !old.state.is_terminal() {
            return Ok(Worked::Ignored("the newest build of this commit is not over yet".to_owned()));
        }
        let asked = Again { key: format!("rerun:{}:{index}", row.id), delivery: Some(row.id), no_cache: false, now };
        again(state, project, old, asked).await.map_err(|error| anyhow::anyhow!("make it again: {error:?}"))?;
        Ok(Worked::Built)
    }

    /// Moves that make no build count too: what follows them must not look late.
    async fn note(self, moved: Option<&RefMoved>) -> anyhow::Result<()> {
        let moves: Vec<_> = moved.iter().map(|moved| moved.noted(self.project.id, self.now)).collect();
        self.state.db.note_moves(&moves).await.context("note the move").map(|_| ())
    }
}

/// When a delivery came in: its id begins with that, to the millisecond.
fn received_at(delivery: DeliveryId) -> Option<DateTime<Utc>> {
    let (secs, nanos) = delivery.uuid().get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(secs).ok()?, nanos)
}

/// Makes a build as its `slipway.yml` places it, and stops those that it makes needless; in words why it cannot be made.
/// An error means "try again later".
pub(super) async fn make(
    state: &ApiState,
    project: &Project,
    mut wanted: WantedBuild,
) -> anyhow::Result<Result<CreatedBuild, String>> {
    let tenant = state.db.tenant(&Scope::Operator, project.tenant_id).await.context("read the tenant")?;
    let file = pipeline::read(state, project, pipeline::place(&wanted.commit, wanted.change.as_ref())).await;
    (wanted.region, wanted.timeout_secs) = (file.region, file.build.timeout_secs);
    let now = wanted.now;
    let new = match new_build(&state.config, project, &tenant, wanted) {
        Ok(new) => new,
        Err(error) => return Ok(Err(format!("the region of slipway.yml or of the project: {error}"))),
    };
    let created = state.db.create_build(&new).await.context("make the build")?;
    aftermath::of_build(state, project, &new, now).await?;
    state.live.publish(Topic::Wake(WakeKind::Jobs), Bytes::new());
    state.live.publish(Topic::Wake(WakeKind::Statuses), Bytes::new());
    Ok(Ok(created))
}

/// The whole id of a commit of which the delivery names the beginning; in words why it cannot be known. An error means
/// "try again later".
async fn full_commit(state: &ApiState, project: &Project, named: String) -> anyhow::Result<Result<String, String>> {
    if is_commit_id(&named) {
        return Ok(Ok(named));
    }
    let Some((api, permit)) = forge::open(state, project, FORGE_PATIENCE).await? else {
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
