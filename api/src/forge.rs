//! The way to forges. What one forge does not answer delays nobody else: each has a breaker, which intake,
//! manual builds and statuses share, and statuses get few places on a forge that is in doubt.

use std::time::Duration;

use slipway_domain::agent::Login;
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::ConnectionId;
use slipway_forges::access::Credential;
use slipway_forges::api::{Connect, ForgeApi, ForgeError, api_base};
use slipway_forges::github::app::AppConnect;
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits, Permit};
use slipway_runtime::clock::Clock;
use slipway_runtime::problem::ApiError;
use slipway_store::connections::ConnectionAccess;
use slipway_store::projects::Project;
use url::Url;

use crate::state::ApiState;

/// Statuses that this process sends at the same time, to all forges.
pub(crate) const STATUSES_AT_ONCE: usize = 32;

/// Limit for making an App's token to clone with.
const CLONE_TIMEOUT: Duration = Duration::from_secs(10);

const LIMITS: Limits = Limits {
    rules: Rules { failures: 5, first_pause: Duration::from_secs(2), longest_pause: Duration::from_secs(30) },
    trusted_places: 8,
    doubtful_places: 2,
    all_doubtful_places: STATUSES_AT_ONCE / 4,
    remembered: 1024,
};

/// The breakers of all forges.
pub fn breakers(clock: Clock) -> Breakers {
    Breakers::new(Kind::Forge, LIMITS, clock)
}

/// What a forge's breaker goes by: the origin of its API. An address that is none has its own words, because
/// nobody can be asked there.
pub(crate) fn upstream(kind: ForgeKind, base_url: Option<&str>) -> String {
    let base = base_url.map(Url::parse).transpose().ok();
    let api = base.and_then(|base| api_base(kind, base.as_ref()).ok());
    api.map_or_else(|| format!("{kind} at an unusable address"), |api| api.origin().ascii_serialization())
}

/// Whom a question is for: a connection's forge, about one repository.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// The link to the forge.
    pub(crate) connection: ConnectionId,
    /// The repository's path there.
    pub(crate) repo: &'a str,
}

impl<'a> From<&'a Project> for About<'a> {
    fn from(project: &'a Project) -> Self {
        Self { connection: project.connection_id, repo: &project.repo_path }
    }
}

/// A forge that may be asked, as a connection reaches it.
pub(crate) struct Reached {
    /// Its API.
    pub(crate) api: ForgeApi,
    /// The connection is an installation of an App.
    pub(crate) is_app: bool,
}

/// A forge's API with a connection's credential; `None` without one. An App's token is made here, if none is remembered.
pub(crate) async fn reach(
    state: &ApiState,
    about: About<'_>,
    timeout: Duration,
) -> anyhow::Result<Option<Result<Reached, ForgeError>>> {
    let access = state.db.connection_access(&state.secret_key, about.connection).await?;
    reach_with(state, access, about.repo, timeout).await
}

async fn reach_with(
    state: &ApiState,
    access: ConnectionAccess,
    repo: &str,
    timeout: Duration,
) -> anyhow::Result<Option<Result<Reached, ForgeError>>> {
    let base_url = access.base_url.as_deref().map(Url::parse).transpose()?;
    let Some(credential) = credential(&access) else { return Ok(None) };
    let is_app = matches!(credential, Credential::App { .. });
    let token = match token(state, &credential, base_url.clone(), (repo, timeout)).await {
        Ok(token) => token,
        Err(error) => return Ok(Some(Err(error))),
    };
    let connect = Connect {
        kind: access.kind,
        base_url,
        token,
        egress: state.egress.clone(),
        clock: state.clock.clone(),
        timeout,
    };
    Ok(Some(ForgeApi::new(connect).map(|api| Reached { api, is_app })))
}

fn credential(access: &ConnectionAccess) -> Option<Credential> {
    let app = access.app.clone().map(|app| (app.app_id, app.private_key, app.installation));
    Credential::of_row(access.token.clone(), app)
}

async fn token(
    state: &ApiState,
    credential: &Credential,
    base_url: Option<Url>,
    (repo, timeout): (&str, Duration),
) -> Result<String, ForgeError> {
    let connect =
        |access| AppConnect { base_url, access, egress: state.egress.clone(), clock: state.clock.clone(), timeout };
    state.app_tokens.token(credential, repo, connect).await
}

/// The same, with the permission for one call; an error at once while the forge is out.
pub(crate) async fn open(
    state: &ApiState,
    about: impl Into<About<'_>>,
    timeout: Duration,
) -> anyhow::Result<Option<(ForgeApi, Permit)>> {
    let about = about.into();
    let access = state.db.connection_access(&state.secret_key, about.connection).await?;
    if access.token.is_none() && access.app.is_none() {
        return Ok(None);
    }
    let upstream = upstream(access.kind, access.base_url.as_deref());
    let permit = state.forges.ask(&upstream)?;
    match reach_with(state, access, about.repo, timeout).await? {
        Some(Ok(reached)) => Ok(Some((reached.api, permit))),
        Some(Err(error)) => {
            Err(call(permit, std::future::ready(Err::<(), _>(error.clone()))).await.err().unwrap_or(error).into())
        }
        None => Ok(None),
    }
}

/// What a project's source is fetched with, where its connection has something for the clone URL's origin.
pub(crate) async fn clone_login(state: &ApiState, project: &Project) -> anyhow::Result<Option<Login>> {
    if project.clone_url.starts_with("ssh:") {
        let key = state.db.deploy_key(&state.secret_key, project.id).await?;
        return Ok(key.map(|password| Login { user: "git".to_owned(), password }));
    }
    let access = state.db.connection_access(&state.secret_key, project.connection_id).await?;
    let (kind, base_url) = (access.kind, access.base_url.clone());
    let Some(credential) = credential(&access) else { return Ok(None) };
    let base = base_url.as_deref().map(Url::parse).transpose()?;
    let token = token(state, &credential, base, (&project.repo_path, CLONE_TIMEOUT)).await?;
    Ok(slipway_forges::api::login_for(&project.clone_url, (kind, base_url.as_deref()), &token))
}

/// What whoever asked is told when the forge cannot do it.
pub(crate) fn problem(error: ForgeError) -> ApiError {
    match error {
        ForgeError::RetryAfter(wait) => {
            ApiError::Busy(format!("{}.", capital(&error.to_string())), u32::try_from(wait.as_secs()).unwrap_or(60))
        }
        ForgeError::Transient(_) => ApiError::Busy(format!("{}.", capital(&error.to_string())), 5),
        ForgeError::Unauthorized(_)
        | ForgeError::NotFound(_)
        | ForgeError::Rejected { .. }
        | ForgeError::Invalid(_) => ApiError::Conflict(format!("{}.", capital(&error.to_string()))),
    }
}

/// The same for what [`open`] says.
pub(crate) fn problem_of(error: anyhow::Error) -> ApiError {
    match error.downcast::<ForgeError>() {
        Ok(error) => problem(error),
        Err(error) => match error.downcast::<slipway_runtime::breakers::Out>() {
            Ok(_) => ApiError::Busy("The forge does not answer at the moment.".to_owned(), 10),
            Err(error) => ApiError::Internal(error),
        },
    }
}

/// There is nothing to ask the forge with.
pub(crate) fn no_credential() -> ApiError {
    ApiError::Conflict("The connection has no token to ask the forge with; give it one.".to_owned())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Makes the call that was permitted, and tells the breaker how the forge did.
pub(crate) async fn call<T>(
    permit: Permit,
    call: impl Future<Output = Result<T, ForgeError>>,
) -> Result<T, ForgeError> {
    let result = call.await;
    match &result {
        Err(ForgeError::Transient(_)) => permit.failed(),
        // Nobody was asked.
        Err(ForgeError::Invalid(_)) => drop(permit),
        Ok(_)
        | Err(
            ForgeError::RetryAfter(_)
            | ForgeError::Unauthorized(_)
            | ForgeError::NotFound(_)
            | ForgeError::Rejected { .. },
        ) => permit.answered(),
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forge_goes_by_the_origin_of_its_api() {
        for (kind, base_url, wanted) in [
            (ForgeKind::Github, None, "https://api.github.com"),
            (ForgeKind::Github, Some("https://github.com/"), "https://api.github.com"),
            (ForgeKind::Github, Some("https://Git.Example:8443/sub/api/v3"), "https://git.example:8443"),
            (ForgeKind::Gitlab, None, "https://gitlab.com"),
            (ForgeKind::Gitlab, Some("http://10.0.0.1:3000/a"), "http://10.0.0.1:3000"),
            (ForgeKind::Gitlab, Some("http://10.0.0.1:3000/b?c"), "gitlab at an unusable address"),
            (ForgeKind::Gitlab, Some("nonsense"), "gitlab at an unusable address"),
            (ForgeKind::Bitbucket, None, "https://api.bitbucket.org"),
            (ForgeKind::Gitea, None, "gitea at an unusable address"),
            (ForgeKind::Gitea, Some("https://git.example/gitea"), "https://git.example"),
            (ForgeKind::Coding, None, "https://e.coding.net"),
        ] {
            assert_eq!(upstream(kind, base_url), wanted, "{kind} {base_url:?}");
        }
    }
}
