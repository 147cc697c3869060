//! Credentials, given to an open attempt when a phase needs them: the connection's for its own origin only,
//! the tenant's registries for base images and the push.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use slipway_domain::agent::{BuildSecret, Credentials, Login, PushedImage, RegistryLogin};
use slipway_domain::attempt::{AttemptState, Phase};
use slipway_domain::git_ref::{GitRef, MAIN_BRANCHES};
use slipway_domain::job::JobState;
use slipway_domain::outputs::MAX_IMAGES;
use slipway_domain::secret::is_name;
use slipway_domain::spec::JobSpec;
use slipway_forges::access::Credential;
use slipway_forges::api::{ForgeError, login_for};
use slipway_forges::github::app::AppConnect;
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::connections::ConnectionAccess;
use slipway_store::projects::Project;
use slipway_store::{Db, Scope};
use url::Url;

use crate::Dispatcher;
use crate::auth::{Caller, store_error};

/// Limit for making an App's token.
const APP_TIMEOUT: Duration = Duration::from_secs(10);

/// A project whose builds stay where they are keeps its layers of all stages anew after this time.
const FRESH: TimeDelta = TimeDelta::days(7);
/// One whose builds move to builders that have none of them is helped by them, and keeps newer ones after this time.
const FRESH_FOR_MOVERS: TimeDelta = TimeDelta::days(1);

/// The query of `GET …/credentials`.
#[derive(Debug, Deserialize)]
pub struct CredentialsQuery {
    phase: Phase,
    /// Names of the secrets that the build mounts, with commas between.
    #[serde(default)]
    secrets: String,
    /// Whether the engine had no layers of the project when the build began, so that earlier images are wanted.
    #[serde(default)]
    cache: bool,
}

/// `GET …/credentials?phase=`
pub async fn credentials(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    QueryOf(query): QueryOf<CredentialsQuery>,
) -> Result<Json<Credentials>, ApiError> {
    let db = &dispatcher.deps.db;
    let attempt = db.attempt(caller.attempt).await.map_err(store_error)?;
    let job = db.job(caller.attempt.job).await.map_err(store_error)?;
    if attempt.state != AttemptState::Open || job.state != JobState::Running {
        return Err(ApiError::Conflict("This attempt is over or being cancelled.".to_owned()));
    }
    let mut credentials = Credentials::default();
    match query.phase {
        Phase::Preparing | Phase::Testing => {}
        Phase::Fetching => {
            let project = db.project(&Scope::Operator, job.project_id).await.map_err(store_error)?;
            let key = &dispatcher.deps.secret_key;
            let access = db.connection_access(key, project.connection_id).await.map_err(store_error)?;
            credentials.source = source_login(&dispatcher, &project, access).await?;
        }
        Phase::Building | Phase::Pushing => {
            let spec = db.job_spec(job.id).await.map_err(store_error)?;
            // Strangers' work gets none: a FROM of a private registry would tell them what is in it.
            if !spec.is_trusted() {
                return Ok(Json(credentials));
            }
            if query.phase == Phase::Building {
                credentials.secrets = secrets(&dispatcher, &spec, &query.secrets).await?;
                if query.cache {
                    credentials.cache_from = cache_images(db, &spec).await.map_err(store_error)?;
                }
            } else {
                let now = db.now(&dispatcher.deps.clock).await.map_err(store_error)?;
                let due = is_cache_due(db, &spec, query.cache, now).await.map_err(store_error)?;
                if due {
                    credentials.cache_to = spec.cache_place(caller.attempt.epoch);
                    credentials.cache_from = kept_cache(db, &spec).await.map_err(store_error)?.into_iter().collect();
                }
            }
            let logins = db.registry_credentials(&dispatcher.deps.secret_key, job.tenant_id).await;
            credentials.registries = logins
                .map_err(store_error)?
                .into_iter()
                .map(|row| RegistryLogin {
                    host: row.host,
                    login: Login { user: row.username, password: row.password },
                })
                .collect();
        }
    }
    Ok(Json(credentials))
}

/// Those of the secrets that are asked for that this build gets.
async fn secrets(dispatcher: &Dispatcher, spec: &JobSpec, names: &str) -> Result<Vec<BuildSecret>, ApiError> {
    let names: Vec<String> = names.split(',').filter(|name| is_name(name)).map(str::to_owned).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let key = &dispatcher.deps.secret_key;
    let open = dispatcher.deps.db.open_secrets(key, (spec.tenant, spec.project), &names).await.map_err(store_error)?;
    let own = open.into_iter().filter(|secret| secret.reach.covers(spec));
    Ok(own.map(|secret| BuildSecret { name: secret.name, value: secret.value }).collect())
}

/// What the project pushed last: of this ref, else of the branch that a change goes to, else of the main branch, else of
/// any ref; and first what it keeps of all stages. Digests, because whoever may write to the registry can put anything
/// under a tag.
async fn cache_images(db: &Db, spec: &JobSpec) -> slipway_store::error::Result<Vec<String>> {
    let kept = kept_cache(db, spec).await?;
    let pushed = pushed_images(db, spec).await?;
    Ok(kept.into_iter().chain(pushed).take(MAX_IMAGES).collect())
}

async fn kept_cache(db: &Db, spec: &JobSpec) -> slipway_store::error::Result<Option<String>> {
    let Some(repository) = &spec.cache_repository else { return Ok(None) };
    let kept = db.registry_cache(spec.project, repository).await?;
    Ok(kept.map(|kept| format!("{repository}@{}", kept.digest)))
}

/// Whether what all stages made is worth keeping now, `cold` where the builder had to begin with what is kept.
async fn is_cache_due(db: &Db, spec: &JobSpec, cold: bool, now: DateTime<Utc>) -> slipway_store::error::Result<bool> {
    let Some(repository) = &spec.cache_repository else { return Ok(false) };
    let kept = db.registry_cache(spec.project, repository).await?;
    let fresh = if cold { FRESH_FOR_MOVERS } else { FRESH };
    Ok(kept.is_none_or(|kept| now - kept.kept_at >= fresh))
}

async fn pushed_images(db: &Db, spec: &JobSpec) -> slipway_store::error::Result<Vec<String>> {
    let target = spec.change.as_ref().and_then(|change| change.target.clone());
    let main = MAIN_BRANCHES.iter().filter_map(|name| GitRef::parse(name).ok());
    let refs = spec.git_ref.clone().into_iter().chain(target).chain(main).map(Some);
    for git_ref in refs.chain([None]) {
        let pushed = db.pushed_before(spec.project, git_ref.as_ref(), spec.build).await?;
        if !pushed.is_empty() {
            return Ok(by_digest(&pushed));
        }
    }
    Ok(Vec::new())
}

/// Each image once, in the first of its repositories.
fn by_digest(pushed: &[PushedImage]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let first = pushed.iter().filter(|image| seen.insert(image.digest.as_str()));
    let named = first.filter_map(|image| {
        let (repository, _) = image.reference.rsplit_once(':')?;
        Some(format!("{repository}@{}", image.digest))
    });
    named.take(MAX_IMAGES).collect()
}

/// What the source is fetched with: over ssh the project's own key, else the connection's token, or one that its App makes for this repository and an hour.
async fn source_login(
    dispatcher: &Dispatcher,
    project: &Project,
    access: ConnectionAccess,
) -> Result<Option<Login>, ApiError> {
    if project.clone_url.starts_with("ssh:") {
        let key = dispatcher.deps.db.deploy_key(&dispatcher.deps.secret_key, project.id).await.map_err(store_error)?;
        return Ok(key.map(|key| Login { user: "git".to_owned(), password: key }));
    }
    let base_url = access.base_url.as_deref();
    let app = access.app.map(|app| (app.app_id, app.private_key, app.installation));
    let Some(credential) = Credential::of_row(access.token, app) else { return Ok(None) };
    let base = base_url.map(Url::parse).transpose().map_err(|_| broken("the address of the forge"))?;
    let connect = |access| AppConnect {
        base_url: base,
        access,
        egress: dispatcher.deps.egress.clone(),
        clock: dispatcher.deps.clock.clone(),
        timeout: APP_TIMEOUT,
    };
    match dispatcher.app_tokens.token(&credential, &project.repo_path, connect).await {
        Ok(token) => Ok(login_for(&project.clone_url, (access.kind, base_url), &token)),
        Err(error @ (ForgeError::RetryAfter(_) | ForgeError::Transient(_))) => {
            Err(ApiError::Busy(format!("The connection's GitHub App gives no token now: {error}."), 5))
        }
        // Without a login the fetch says that it needs one.
        Err(error) => {
            tracing::warn!(project.id = %project.id, %error, "the connection's GitHub App gives no token");
            Ok(None)
        }
    }
}

fn broken(what: &str) -> ApiError {
    ApiError::Internal(anyhow::anyhow!("{what} of a connection cannot be used"))
}

#[cfg(test)]
mod tests {
    use slipway_domain::spec::ChangeSpec;
    use slipway_store::projects::ProjectPatch;

    use super::*;
    use crate::scene::Scene;

    #[tokio::test]
    async fn layers_of_all_stages_are_kept_anew_when_they_are_old() {
        let scene = Scene::new().await;
        let (db, now) = (&scene.deps.db, scene.deps.clock.now());
        let project = scene.project("keeps").await;
        let job = scene.ready(&project).await;
        let spec = db.job_spec(job).await.expect("a job");
        let due = async |spec: &JobSpec, cold, days| {
            is_cache_due(db, spec, cold, now + TimeDelta::days(days)).await.expect("an answer")
        };
        assert!(!due(&spec, true, 0).await && spec.cache_place(1).is_none(), "it names no repository");
        let spec = JobSpec { cache_repository: Some("r:5000/cache".to_owned()), ..spec };
        assert!(due(&spec, false, 0).await, "there are none");
        let digest = format!("sha256:{}", "1".repeat(64));
        let attempt = scene.running(job).await;
        let keep = async |repository| db.keep_registry_cache(attempt, repository, &digest, now).await;
        assert!(keep("r:5000/cache").await.is_err(), "the project keeps nothing");
        let patch = ProjectPatch { cache_repository: Some(Some("r:5000/cache".to_owned())), ..ProjectPatch::default() };
        db.patch_project(&Scope::Operator, project.id, &patch, now).await.expect("patched");
        keep("r:5000/cache").await.expect("kept");
        assert!(keep("r:5000/other").await.is_err(), "the project keeps nothing there");
        scene.finish(attempt).await;
        assert!(keep("r:5000/cache").await.is_err(), "the attempt is over");
        for (cold, days, wanted) in
            [(false, 0, false), (true, 0, false), (false, 1, false), (true, 1, true), (false, 7, true)]
        {
            assert_eq!(due(&spec, cold, days).await, wanted, "{cold} after {days} days");
        }
        assert_eq!(cache_images(db, &spec).await.expect("images"), [format!("r:5000/cache@{digest}")]);
        let elsewhere = JobSpec { cache_repository: Some("r:5000/other".to_owned()), ..spec.clone() };
        assert!(due(&elsewhere, false, 0).await && cache_images(db, &elsewhere).await.expect("images").is_empty());
        let change = ChangeSpec { number: 1, target: None, trusted: false };
        assert_eq!(JobSpec { change: Some(change), ..spec }.cache_place(1), None, "strangers keep nothing");
    }

    #[test]
    fn each_image_is_named_once_by_its_digest() {
        let image = |reference: &str, digest: &str| PushedImage {
            reference: reference.to_owned(),
            lease: None,
            digest: format!("sha256:{digest}"),
            size_bytes: 1,
            moved: true,
        };
        let pushed =
            [image("r:5000/a:1", "x"), image("r:5000/a:main", "x"), image("s/b:main", "x"), image("r/c:1", "y")];
        assert_eq!(by_digest(&pushed), ["r:5000/a@sha256:x", "r/c@sha256:y"]);
    }
}
