//! Making, repeating and cancelling builds: shared by the API and the pages.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::{BuildState, CancelledBy, Trigger};
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::ids::{BuildId, DeliveryId, ProjectId, TokenId};
use slipway_domain::spec::{BuildOptions, ChangeSpec, JobSpec};
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::random_id;
use slipway_runtime::problem::ApiError;
use slipway_store::approvals::Approval;
use slipway_store::builds::{Build, RefOrder};
use slipway_store::job_cancels::CancelOutcome;
use slipway_store::projects::Project;
use slipway_store::scope::Scope;
use tracing::debug;

use crate::builds::json::CreateBuild;
use crate::caller::Caller;
use crate::forge;
use crate::intake;
use crate::limits;
use crate::new_build::{WantedBuild, new_build};
use crate::projects::checks::check_options;
use crate::projects::images::check_own;
use crate::projects::writable;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// How long somebody who asks for a branch waits for the forge.
const FORGE_PATIENCE: Duration = Duration::from_secs(3);

/// What a manual build is of.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Commit(String),
    Ref(GitRef),
}

/// Makes a build by hand and returns it; the same key makes it only once.
pub async fn manual(
    state: &ApiState,
    caller: Caller,
    project: ProjectId,
    body: CreateBuild,
    key: Option<String>,
) -> Result<BuildId, ApiError> {
    let project = writable(state, caller, project).await?;
    limits::build(state, &caller.scope).await?;
    check_options(&body.build)?;
    check_own(&project.images(), &body.build)?;
    let (git_ref, commit, order) = match what(body.git_ref, body.commit)? {
        What::Commit(commit) => (None, commit, RefOrder::None),
        What::Ref(git_ref) => {
            let commit = head_of(state, &project, &git_ref).await?;
            (Some(git_ref), commit, RefOrder::Head)
        }
    };
    // What a forge keeps elsewhere than in branches and tags, anybody may have written.
    let change = git_ref.as_ref().and_then(ChangeSpec::of_foreign_ref);
    let wanted = WantedBuild {
        trigger: Trigger::Manual,
        git_ref,
        commit,
        before: None,
        order,
        dedupe_key: asked_key("manual", caller.token, key),
        rerun_of: None,
        title: None,
        actor: None,
        delivery: None,
        change,
        told_at: None,
        needs_approval: false,
        asked: body.build,
        region: None,
        timeout_secs: None,
        now: state.db.now(&state.clock).await.or_problem()?,
    };
    insert(state, &project, wanted).await
}

/// Makes a new build of an older one's commit and ref. Terminal states never change, so the old one stays.
/// Without cache every step runs anew.
pub async fn rerun(
    state: &ApiState,
    caller: Caller,
    id: BuildId,
    (key, no_cache): (Option<String>, bool),
) -> Result<BuildId, ApiError> {
    let old = state.db.build(&caller.scope, id).await.or_problem()?;
    let project = writable(state, caller, old.project_id).await?;
    limits::build(state, &caller.scope).await?;
    if !old.state.is_terminal() {
        return Err(ApiError::Conflict("This build is not over yet; cancel it first, or wait.".to_owned()));
    }
    let now = state.db.now(&state.clock).await.or_problem()?;
    let kind = if no_cache { "rerun-anew" } else { "rerun" };
    let key = asked_key(kind, caller.token, key);
    again(state, &project, old, Again { key, delivery: None, no_cache, now }).await
}

/// Whose wish a repetition is.
pub(crate) struct Again {
    /// The same key makes it only once.
    pub(crate) key: String,
    /// The delivery that told of the wish, if one did.
    pub(crate) delivery: Option<DeliveryId>,
    /// Every step runs anew; else as it was asked for the old one.
    pub(crate) no_cache: bool,
    /// When.
    pub(crate) now: DateTime<Utc>,
}

/// Makes a new build of an older one. Whoever asks may write, which approves it; strangers' work it stays.
pub(crate) async fn again(state: &ApiState, project: &Project, old: Build, asked: Again) -> Result<BuildId, ApiError> {
    let before = spec_of(state, old.id).await?;
    let options = before.as_ref().map(|spec| spec.asked.clone()).unwrap_or_default();
    let wanted = WantedBuild {
        trigger: Trigger::Rerun,
        git_ref: old.git_ref,
        commit: old.commit_id,
        before: old.before_id,
        order: RefOrder::SameAs(old.id),
        dedupe_key: asked.key,
        rerun_of: Some(old.id),
        title: old.title,
        actor: old.actor,
        delivery: asked.delivery,
        change: before.as_ref().and_then(|spec| spec.change.clone()),
        told_at: old.told_at,
        needs_approval: false,
        asked: BuildOptions { no_cache: asked.no_cache.then_some(true).or(options.no_cache), ..options },
        region: None,
        timeout_secs: None,
        now: asked.now,
    };
    insert(state, project, wanted).await
}

/// Cancels a build. Cancelling a cancelled one again changes nothing and is no error.
pub async fn cancel(state: &ApiState, caller: Caller, id: BuildId) -> Result<(), ApiError> {
    let build = state.db.build(&caller.scope, id).await.or_problem()?;
    writable(state, caller, build.project_id).await?;
    let now = state.db.now(&state.clock).await.or_problem()?;
    match state.db.cancel_build(id, CancelledBy::User, now).await.or_problem()? {
        CancelOutcome::Cancelled => {
            state.live.publish(Topic::Build(id), Bytes::new());
            state.live.publish(Topic::Wake(WakeKind::Finished), Bytes::new());
            Ok(())
        }
        CancelOutcome::Stopping(attempts) => ring_builders(state, id, &attempts).await,
        CancelOutcome::AlreadyPublishing => Err(ApiError::Conflict(
            "This build is already publishing its image; it ends by itself in a moment.".to_owned(),
        )),
        CancelOutcome::AlreadyFinished if build.state == BuildState::Cancelled => Ok(()),
        CancelOutcome::AlreadyFinished => {
            Err(ApiError::Conflict("This build is over; there is nothing to cancel.".to_owned()))
        }
    }
}

/// Lets a build run that waits for an approval. Repeating it changes nothing.
pub async fn approve(state: &ApiState, caller: Caller, id: BuildId) -> Result<(), ApiError> {
    let build = state.db.build(&caller.scope, id).await.or_problem()?;
    writable(state, caller, build.project_id).await?;
    let now = state.db.now(&state.clock).await.or_problem()?;
    match state.db.approve_build(id, now).await.or_problem()? {
        Approval::Approved => {
            state.live.publish(Topic::Build(id), Bytes::new());
            state.live.publish(Topic::Wake(WakeKind::Jobs), Bytes::new());
            Ok(())
        }
        Approval::AlreadyFinished => {
            Err(ApiError::Conflict("This build is over; there is nothing to approve. Retry it instead.".to_owned()))
        }
    }
}

/// Doorbells only: the dispatcher re-reads the rows, and finds them by itself if this is lost.
pub(crate) async fn ring_builders(state: &ApiState, id: BuildId, attempts: &[AttemptRef]) -> Result<(), ApiError> {
    state.live.publish(Topic::Build(id), Bytes::new());
    let view = state.db.build_view(&Scope::Operator, id).await.or_problem()?;
    let sessions = view
        .jobs
        .iter()
        .flat_map(|job| &job.attempts)
        .filter(|attempt| attempts.contains(&AttemptRef { job: attempt.job_id, epoch: attempt.epoch }))
        .map(|attempt| attempt.session_id);
    for session in sessions {
        state.live.publish(Topic::Session(session), Bytes::new());
    }
    Ok(())
}

async fn insert(state: &ApiState, project: &Project, mut wanted: WantedBuild) -> Result<BuildId, ApiError> {
    let place = intake::pipeline_place(&wanted.commit, wanted.change.as_ref());
    let file = intake::read_pipeline(state, project, place).await;
    wanted.region = file.region;
    wanted.timeout_secs = file.build.timeout_secs;
    let tenant = state.db.tenant(&Scope::Operator, project.tenant_id).await.or_problem()?;
    let new = new_build(&state.config, project, &tenant, wanted)
        .map_err(|error| ApiError::Invalid(format!("The project's region or class: {error}.")))?;
    let created = state.db.create_build(&new).await.or_problem()?;
    state.live.publish(Topic::Wake(WakeKind::Jobs), Bytes::new());
    state.live.publish(Topic::Wake(WakeKind::Statuses), Bytes::new());
    Ok(created.build)
}

fn what(git_ref: Option<String>, commit: Option<String>) -> Result<What, ApiError> {
    match (git_ref, commit) {
        (None, Some(commit)) if is_commit_id(&commit) => Ok(What::Commit(commit)),
        (None, Some(_)) => Err(ApiError::Invalid(
            "commit: write the full commit id, 40 or 64 lower-case hexadecimal digits.".to_owned(),
        )),
        (Some(text), None) => {
            GitRef::parse_short(&text).map(What::Ref).map_err(|error| ApiError::Invalid(format!("ref: {error}.")))
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(ApiError::Invalid("Give either ref (a branch or a full ref) or commit (a full commit id).".to_owned()))
        }
    }
}

/// Where a ref points: by the forge if it answers in time, else as far as the ref's pushes told us.
async fn head_of(state: &ApiState, project: &Project, git_ref: &GitRef) -> Result<String, ApiError> {
    match ask_forge(state, project, git_ref).await {
        Ok(Some(commit)) => return Ok(commit),
        Ok(None) => {}
        Err(error) => {
            let error = format!("{error:#}");
            debug!(project.id = %project.id, error, "the forge did not say where a ref points");
        }
    }
    state.db.ref_head(project.id, git_ref).await.or_problem()?.ok_or_else(|| {
        ApiError::Invalid(format!(
            "ref: nothing is known of {git_ref} yet, because no push of it has come in. Give the full commit id as \
             commit instead."
        ))
    })
}

async fn ask_forge(state: &ApiState, project: &Project, git_ref: &GitRef) -> anyhow::Result<Option<String>> {
    let Some((api, permit)) = forge::open(state, project, FORGE_PATIENCE).await? else { return Ok(None) };
    Ok(forge::call(permit, api.head_of(&project.repo_path, git_ref)).await?)
}

/// What the first job of a build was told.
async fn spec_of(state: &ApiState, id: BuildId) -> Result<Option<JobSpec>, ApiError> {
    let view = state.db.build_view(&Scope::Operator, id).await.or_problem()?;
    match view.jobs.first() {
        Some(job) => Ok(Some(state.db.job_spec(job.job.id).await.or_problem()?)),
        None => Ok(None),
    }
}

/// One build per Idempotency-Key of one caller; without a key every request is a new wish.
fn asked_key(kind: &str, token: Option<TokenId>, key: Option<String>) -> String {
    match (token, key) {
        (Some(token), Some(key)) => format!("{kind}:{token}:{key}"),
        (_, Some(_) | None) => format!("{kind}:{}", random_id::<BuildId>()),
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::new_id;

    use super::*;

    #[test]
    fn either_a_ref_or_a_full_commit() {
        let commit = "a".repeat(40);
        assert_eq!(what(None, Some(commit.clone())).ok(), Some(What::Commit(commit.clone())));
        assert_eq!(what(Some("main".into()), None).ok(), GitRef::parse("refs/heads/main").ok().map(What::Ref));
        for (git_ref, id) in
            [(None, None), (Some("main"), Some(commit.as_str())), (None, Some("abc")), (Some("a..b"), None)]
        {
            assert!(what(git_ref.map(str::to_owned), id.map(str::to_owned)).is_err(), "{git_ref:?} {id:?}");
        }
    }

    #[test]
    fn a_key_counts_per_caller() {
        let (one, two) = (new_id::<TokenId>(), new_id::<TokenId>());
        let key = Some("k".to_owned());
        assert_eq!(asked_key("manual", Some(one), key.clone()), asked_key("manual", Some(one), key.clone()));
        assert_ne!(asked_key("manual", Some(one), key.clone()), asked_key("manual", Some(two), key));
        assert_ne!(asked_key("manual", Some(one), None), asked_key("manual", Some(one), None));
    }
}
