//! What forges show beside a commit. Builds whose state changed become wanted statuses; a wanted status is
//! sent until the forge acknowledges it, never an older one after a newer one.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProcessId;
use slipway_domain::timing;
use slipway_forges::api::{ForgeApi, ForgeError};
use slipway_forges::status::CommitStatus;
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::random_id;
use slipway_runtime::wake::Wake;
use slipway_store::StoreError;
use slipway_store::delivery_work::retry_pause;
use slipway_store::statuses::{LeasedStatus, Reported, StatusKey, UnreportedBuild, WantedStatus};
use tracing::{error, info, warn};

use crate::intake::connect;
use crate::state::ApiState;

/// Builds of one pass.
const BUILDS: i64 = 100;
/// Statuses of one pass; with [`AT_ONCE`] at a time they are through before their leases end.
const STATUSES: i64 = 8;
/// Statuses that are sent at the same time.
const AT_ONCE: usize = 4;
/// Limit for one call, well inside the lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// About a day of tries against a forge that does not answer.
const MAX_TRIES: i64 = 300;

/// Starts reporting for as long as the process lives.
pub fn start(state: &ApiState) {
    let wake = Wake::default();
    state.life.spawn("reporter wakes", forward_wakes(state.clone(), wake.clone()));
    state.life.spawn("reporter", run(state.clone(), wake));
}

/// Turns changed builds into wanted statuses; returns how many builds there were.
pub async fn want_statuses_once(state: &ApiState, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let builds = state.db.unreported_builds(BUILDS).await?;
    if builds.is_empty() {
        return Ok(0);
    }
    let reported: Vec<Reported> = builds.into_iter().map(report).collect();
    state.db.want_statuses(&reported, now).await?;
    Ok(reported.len())
}

/// Sends the statuses that are due, at most a few; returns how many there were.
pub async fn send_statuses_once(state: &ApiState, owner: ProcessId, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let leased = state.db.lease_statuses(owner, now, STATUSES).await?;
    let count = leased.len();
    futures_util::stream::iter(leased)
        .for_each_concurrent(AT_ONCE, |status| async move {
            match send_row(state, owner, &status, now).await {
                Ok(()) => {}
                Err(StoreError::Stale(_)) => info!(build.id = %status.build_id, "the status's lease went elsewhere"),
                Err(error) => error!(build.id = %status.build_id, %error, "a status's end could not be stored"),
            }
        })
        .await;
    Ok(count)
}

/// What a forge shall show for a build, if there is anybody to tell.
fn report(build: UnreportedBuild) -> Reported {
    let (build_id, state) = (build.build_id, build.state);
    let wanted = (build.has_token && is_spoken(build.forge)).then(|| {
        let shown = shown_as(build.forge, state);
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

/// GitHub has one word for waiting and running, and limits how much we may say: we say it once.
fn shown_as(forge: ForgeKind, state: BuildState) -> BuildState {
    if forge == ForgeKind::Github && state == BuildState::Running { BuildState::Pending } else { state }
}

fn is_spoken(forge: ForgeKind) -> bool {
    match forge {
        ForgeKind::Github | ForgeKind::Gitlab => true,
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
            false
        }
    }
}

async fn send_row(
    state: &ApiState,
    owner: ProcessId,
    status: &LeasedStatus,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match send(state, status).await {
        Ok(pipeline_id) => {
            info!(build.id = %status.build_id, wanted = %status.wanted, "commit status sent");
            state.db.mark_status_sent(owner, status, pipeline_id).await
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
                | ForgeError::Invalid(_)
                | ForgeError::NotSupported(_),
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

async fn send(state: &ApiState, status: &LeasedStatus) -> Result<Option<i64>, SendError> {
    let connect = async {
        let access = state.db.connection_access(&state.secret_key, status.key.connection_id).await?;
        connect(state, access, CALL_TIMEOUT).context("the connection's base_url")
    };
    let connect = connect.await.map_err(|error| {
        error!(build.id = %status.build_id, error = format!("{error:#}"), "the connection cannot be used");
        SendError::Internal(error)
    })?;
    let api = ForgeApi::new(connect.ok_or(SendError::NoToken)?)?;
    let sent = api.set_status(&commit_status(state, status)).await?;
    Ok(sent.pipeline_id.and_then(|id| i64::try_from(id).ok()))
}

fn commit_status(state: &ApiState, status: &LeasedStatus) -> CommitStatus {
    let git_ref = status.git_ref.as_deref().and_then(|text| GitRef::parse(text).ok());
    CommitStatus {
        repo: status.key.repo_path.clone(),
        commit: status.key.commit_id.clone(),
        state: status.wanted,
        context: status.key.context.clone(),
        description: describe(status.wanted).to_owned(),
        target_url: Some(state.config.url(&format!("builds/{}", status.build_id))),
        ref_name: git_ref.map(|git_ref| git_ref.short().to_owned()),
        pipeline_id: status.pipeline_id.and_then(|id| u64::try_from(id).ok()),
    }
}

fn describe(state: BuildState) -> &'static str {
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

async fn run(state: ApiState, wake: Wake) -> anyhow::Result<()> {
    let owner: ProcessId = random_id();
    loop {
        let full = pass(&state, owner).await.unwrap_or_else(|error| {
            error!(error = format!("{error:#}"), "reporter pass failed");
            false
        });
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            () = wake.wait(timing::POLL), if !full => {}
            () = std::future::ready(()), if full => {}
        }
    }
}

/// True if there is more to do at once.
async fn pass(state: &ApiState, owner: ProcessId) -> anyhow::Result<bool> {
    let now = state.db.now(&state.clock).await?;
    let wanted = want_statuses_once(state, now).await?;
    let sent = send_statuses_once(state, owner, now).await?;
    let is_full = |count: usize, limit: i64| i64::try_from(count).is_ok_and(|count| count == limit);
    Ok(is_full(wanted, BUILDS) || is_full(sent, STATUSES))
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
        assert_eq!(shown_as(ForgeKind::Gitlab, BuildState::Running), BuildState::Running);
        assert_eq!(shown_as(ForgeKind::Github, BuildState::Failed), BuildState::Failed);
    }
}
