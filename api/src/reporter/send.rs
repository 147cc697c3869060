//! Sends wanted statuses, many at a time, and no forge waits for another: each gets places by how it answered
//! last, and what is due is taken only where there is a place, so that nothing is held while its forge is out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProcessId;
use slipway_domain::timing;
use slipway_forges::api::ForgeError;
use slipway_forges::status::CommitStatus;
use slipway_runtime::breakers::Permit;
use slipway_runtime::crash;
use slipway_runtime::ids::random_id;
use slipway_runtime::wake::Wake;
use slipway_store::StoreError;
use slipway_store::delivery_work::retry_pause;
use slipway_store::statuses::{DueStatus, ForgeAnswer, LeasedStatus, StatusKey};
use tracing::{error, info, warn};

use crate::forge::{self, About, Reached, STATUSES_AT_ONCE};
use crate::reporter::check;
use crate::state::ApiState;

/// Limit for one call, well inside the lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Looks for due statuses begin at least this far apart.
const GAP: Duration = Duration::from_millis(50);
/// A GitHub App that is refused so often is refused.
const APP_TRIES: i64 = 8;
/// About a day of tries against a forge that does not answer.
const MAX_TRIES: i64 = 300;

/// A status that this process has leased, with a place on its forge.
pub(crate) struct Sending {
    pub(crate) status: LeasedStatus,
    permit: Permit,
    owner: ProcessId,
    now: DateTime<Utc>,
}

/// The loop. What is under way when the process stops goes on to its end.
pub(super) async fn run(state: ApiState, due: Wake) -> anyhow::Result<()> {
    let owner: ProcessId = random_id();
    let mut under_way = FuturesUnordered::new();
    while !state.life.is_stopping() {
        let began = state.clock.monotonic();
        match pass(&state, owner, STATUSES_AT_ONCE.saturating_sub(under_way.len())).await {
            Ok(taken) => under_way.extend(taken.into_iter().map(|sending| {
                let state = state.clone();
                let task = state.life.clone().task("commit status", async move { sending.send(&state).await });
                task.join()
            })),
            Err(error) => error!(error = format!("{error:#}"), "due statuses could not be looked for"),
        }
        let look = state.clock.monotonic().duration_since(began);
        tokio::select! {
            () = state.life.stopping() => break,
            Some(ended) = under_way.next() => tell(ended),
            () = due.wait(timing::POLL) => {}
        }
        // A look reads all that is due: while a forge with a long backlog is out, most of the time must be left.
        state.clock.sleep((look * 4).clamp(GAP, timing::POLL)).await;
        while let Some(Some(ended)) = under_way.next().now_or_never() {
            tell(ended);
        }
    }
    while let Some(ended) = under_way.next().await {
        tell(ended);
    }
    Ok(())
}

fn tell(ended: Result<(), slipway_runtime::lifecycle::TaskFailed>) {
    if let Err(error) = ended {
        // The lease ends by itself, and the row is found again.
        error!(%error, "a commit status was not sent");
    }
}

async fn pass(state: &ApiState, owner: ProcessId, room: usize) -> anyhow::Result<Vec<Sending>> {
    let now = state.db.now(&state.clock).await?;
    take(state, owner, now, room).await
}

/// Takes statuses that are due and have a place on their forge, at most `room`.
pub(crate) async fn take(
    state: &ApiState,
    owner: ProcessId,
    now: DateTime<Utc>,
    room: usize,
) -> anyhow::Result<Vec<Sending>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let mut places = places(state, state.db.due_statuses(now).await?, room);
    let keys = places.keys().cloned().collect();
    let leased = state.db.lease_statuses(owner, now, keys).await?;
    // Places of what somebody else has taken meanwhile are free again.
    let taken = leased.into_iter().filter_map(|status| {
        let permit = places.remove(&status.key)?;
        Some(Sending { status, permit, owner, now })
    });
    Ok(taken.collect())
}

/// Which of the due statuses have a place: the forges in turn, those that are out behind the others.
fn places(state: &ApiState, due: Vec<DueStatus>, room: usize) -> HashMap<StatusKey, Permit> {
    let mut order: Vec<String> = Vec::new();
    let mut waiting: BTreeMap<String, VecDeque<StatusKey>> = BTreeMap::new();
    for DueStatus { key, forge } in due {
        let upstream = forge::upstream(forge.kind, forge.base_url.as_deref());
        let queue = waiting.entry(upstream.clone()).or_default();
        if queue.is_empty() {
            order.push(upstream);
        }
        queue.push_back(key);
    }
    order.sort_by_key(|upstream| state.forges.is_out(upstream));
    let mut placed = HashMap::new();
    while !order.is_empty() && placed.len() < room {
        order.retain(|upstream| {
            let Some(queue) = waiting.get_mut(upstream) else { return false };
            if placed.len() == room || queue.is_empty() {
                return false;
            }
            let Some(permit) = state.forges.reserve(upstream) else { return false };
            placed.extend(queue.pop_front().map(|key| (key, permit)));
            true
        });
    }
    placed
}

impl Sending {
    /// Tells the forge, and the row how that went.
    pub(crate) async fn send(self, state: &ApiState) {
        let Self { status, permit, owner, now } = self;
        let result = ask(state, &status, permit).await;
        match store(state, (owner, now), &status, result).await {
            Ok(()) => {}
            Err(StoreError::Stale(_)) => info!(build.id = %status.build_id, "the status's lease went elsewhere"),
            Err(error) => error!(build.id = %status.build_id, %error, "a status's end could not be stored"),
        }
    }
}

async fn store(
    state: &ApiState,
    (owner, now): (ProcessId, DateTime<Utc>),
    status: &LeasedStatus,
    result: Result<ForgeAnswer, SendError>,
) -> Result<(), StoreError> {
    match result {
        Ok(answer) => {
            crash::point("status.sent");
            info!(build.id = %status.build_id, wanted = %status.wanted, "commit status sent");
            state.db.mark_status_sent(owner, status, answer, now).await
        }
        Err(failure) if failure.is_final() || status.attempts >= MAX_TRIES => {
            warn!(build.id = %status.build_id, error = %failure, "commit status given up");
            state.db.give_up_status(owner, status, &failure.to_string()).await
        }
        Err(failure) => {
            warn!(build.id = %status.build_id, error = %failure, "commit status will be sent again");
            let pause = failure.pause(status.attempts);
            let next_at = now + TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX);
            state.db.retry_status_later(owner, status, &failure.to_string(), next_at).await
        }
    }
}

/// Why a status was not sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error("the connection has no token any more")]
    NoToken,
    /// Ours; the log tells more.
    #[error("it could not be sent by a fault of the service")]
    Internal(#[source] anyhow::Error),
}

impl SendError {
    /// True if repeating it changes nothing.
    fn is_final(&self) -> bool {
        match self {
            Self::Forge(
                ForgeError::Unauthorized(_)
                | ForgeError::NotFound(_)
                | ForgeError::Rejected { .. }
                | ForgeError::Invalid(_),
            )
            | Self::NoToken => true,
            Self::Forge(ForgeError::RetryAfter(_) | ForgeError::Transient(_)) | Self::Internal(_) => false,
        }
    }

    fn pause(&self, attempts: i64) -> Duration {
        match self {
            Self::Forge(ForgeError::RetryAfter(wait)) => *wait,
            Self::Forge(_) | Self::NoToken | Self::Internal(_) => retry_pause(attempts),
        }
    }
}

async fn ask(state: &ApiState, status: &LeasedStatus, permit: Permit) -> Result<ForgeAnswer, SendError> {
    let about = About { connection: status.key.connection_id, repo: &status.key.repo_path };
    let opened = forge::reach(state, about, CALL_TIMEOUT).await.map_err(|error| {
        error!(build.id = %status.build_id, error = format!("{error:#}"), "the connection cannot be used");
        SendError::Internal(error)
    })?;
    let Reached { api, is_app } = opened.ok_or(SendError::NoToken)??;
    let id = |id: u64| i64::try_from(id).ok();
    if is_app {
        let run = check::run_of(state, status).await.map_err(SendError::Internal)?;
        let known = status.check_run_id.and_then(|id| u64::try_from(id).ok());
        let run = match forge::call(permit, api.set_check_run(&run, known)).await {
            // GitHub may refuse a token in its first seconds; another one is made then, some times.
            Err(error @ (ForgeError::Unauthorized(_) | ForgeError::NotFound(_))) if status.attempts < APP_TRIES => {
                state.app_tokens.forget_those_of(&status.key.repo_path);
                return Err(ForgeError::Transient(error.to_string()).into());
            }
            other => other?,
        };
        return Ok(ForgeAnswer { check_run_id: id(run), pipeline_id: None });
    }
    let description = check::description_of(state, status).await.map_err(SendError::Internal)?;
    let sent = forge::call(permit, api.set_status(&commit_status(state, status, description))).await?;
    Ok(ForgeAnswer { pipeline_id: sent.pipeline_id.and_then(id), check_run_id: None })
}

fn commit_status(state: &ApiState, status: &LeasedStatus, description: String) -> CommitStatus {
    let git_ref = status.git_ref.as_deref().and_then(|text| GitRef::parse(text).ok());
    CommitStatus {
        repo: status.key.repo_path.clone(),
        commit: status.key.commit_id.clone(),
        state: status.wanted,
        context: status.key.context.clone(),
        description,
        target_url: Some(state.config.url(&format!("builds/{}", status.build_id))),
        ref_name: git_ref.map(|git_ref| git_ref.short().to_owned()),
        pipeline_id: status.pipeline_id.and_then(|id| u64::try_from(id).ok()),
    }
}

pub(super) fn describe(state: BuildState) -> &'static str {
    match state {
        BuildState::Pending => "The build is on its way.",
        BuildState::Running => "The build is running.",
        BuildState::Succeeded => "The build succeeded.",
        BuildState::Failed => "The build failed.",
        BuildState::Errored => "The build failed by a fault of the service.",
        BuildState::Cancelled => "The build was cancelled.",
        BuildState::Superseded => "A newer build took its place.",
        BuildState::Skipped => "Nothing was built.",
    }
}
