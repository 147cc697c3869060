//! The way to forges. What one forge does not answer delays nobody else: each has a breaker, which intake,
//! manual builds and statuses share, and statuses get few places on a forge that is in doubt.

use std::time::Duration;

use slipway_domain::agent::Login;
use slipway_domain::event::ForgeKind;
use slipway_forges::api::{Connect, ForgeApi, ForgeError, api_base};
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits, Permit};
use slipway_runtime::clock::Clock;
use slipway_store::connections::ConnectionAccess;
use slipway_store::projects::Project;
use url::Url;

use crate::state::ApiState;

/// Statuses that this process sends at the same time, to all forges.
pub(crate) const STATUSES_AT_ONCE: usize = 32;

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

/// A forge's API with a connection's credential; `None` without one.
pub(crate) fn api_of(
    state: &ApiState,
    access: ConnectionAccess,
    timeout: Duration,
) -> anyhow::Result<Option<Result<ForgeApi, ForgeError>>> {
    let Some(token) = access.token else { return Ok(None) };
    Ok(Some(ForgeApi::new(Connect {
        kind: access.kind,
        base_url: access.base_url.as_deref().map(Url::parse).transpose()?,
        token,
        egress: state.egress.clone(),
        clock: state.clock.clone(),
        timeout,
    })))
}

/// The same, with the permission for one call; an error at once while the forge is out.
pub(crate) fn open(
    state: &ApiState,
    access: ConnectionAccess,
    timeout: Duration,
) -> anyhow::Result<Option<(ForgeApi, Permit)>> {
    let upstream = upstream(access.kind, access.base_url.as_deref());
    let Some(api) = api_of(state, access, timeout)? else { return Ok(None) };
    Ok(Some((api?, state.forges.ask(&upstream)?)))
}

/// What a project's source is fetched with, where its connection has something for the clone URL's origin.
pub(crate) async fn clone_login(state: &ApiState, project: &Project) -> anyhow::Result<Option<Login>> {
    let access = state.db.connection_access(&state.secret_key, project.connection_id).await?;
    let Some(token) = access.token else { return Ok(None) };
    let base_url = access.base_url.as_deref();
    Ok(slipway_forges::api::login_for(&project.clone_url, (access.kind, base_url), &token))
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
