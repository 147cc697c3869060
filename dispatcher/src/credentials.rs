//! Credentials, given to an open attempt when a phase needs them: the connection's for its own origin only,
//! the tenant's registries for base images and the push.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use slipway_domain::agent::{Credentials, Login, RegistryLogin};
use slipway_domain::attempt::{AttemptState, Phase};
use slipway_domain::event::ForgeKind;
use slipway_domain::job::JobState;
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::Scope;
use url::Url;

use crate::Dispatcher;
use crate::auth::{Caller, store_error};

/// The query of `GET …/credentials`.
#[derive(Debug, Deserialize)]
pub struct CredentialsQuery {
    phase: Phase,
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
            if same_origin(&project.clone_url, access.kind, access.base_url.as_deref()) {
                credentials.source = access.token.and_then(|token| clone_login(access.kind, &token));
            }
        }
        // Strangers' work gets none: a FROM of a private registry would tell them what is in it.
        Phase::Building | Phase::Pushing if !db.job_spec(job.id).await.map_err(store_error)?.is_trusted() => {}
        Phase::Building | Phase::Pushing => {
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

/// A token goes only to the host that the connection is for, and never in the clear to another port.
fn same_origin(clone_url: &str, kind: ForgeKind, base_url: Option<&str>) -> bool {
    let default = match kind {
        ForgeKind::Github => "https://github.com",
        ForgeKind::Gitlab => "https://gitlab.com",
        ForgeKind::Bitbucket => "https://bitbucket.org",
        ForgeKind::Gitee => "https://gitee.com",
        ForgeKind::Coding => "https://e.coding.net",
        ForgeKind::BitbucketDc | ForgeKind::Gitea => "",
    };
    let (Ok(clone), Ok(base)) = (Url::parse(clone_url), Url::parse(base_url.unwrap_or(default))) else {
        return false;
    };
    clone.scheme() == base.scheme()
        && clone.host_str().is_some()
        && clone.host_str() == base.host_str()
        && clone.port_or_known_default() == base.port_or_known_default()
}

/// Each forge wants a token under a user name of its own. A forge that we cannot log in to gets none, and says so
/// itself when the repository is private.
fn clone_login(kind: ForgeKind, token: &str) -> Option<Login> {
    slipway_forges::api::clone_credential(kind, token)
        .inspect_err(|error| tracing::warn!(forge = %kind, %error, "no login for this forge"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_only_to_its_own_origin() {
        let github = |url: &str| same_origin(url, ForgeKind::Github, None);
        assert!(github("https://github.com/a/b.git"));
        assert!(!github("http://github.com/a/b.git"));
        assert!(!github("https://github.com.evil.example/a/b.git"));
        assert!(!github("https://github.com:8443/a/b.git"));
        let own = Some("https://git.example.com:8443/prefix");
        assert!(same_origin("https://git.example.com:8443/x/y.git", ForgeKind::Gitlab, own));
        assert!(!same_origin("https://git.example.com/x/y.git", ForgeKind::Gitlab, own));
        assert!(!same_origin("https://gitea.example.com/x", ForgeKind::Gitea, None));
    }

    #[test]
    fn each_forges_token_stays_at_its_forge() {
        let own = "https://git.example.com/base";
        for (kind, public) in [
            (ForgeKind::Github, Some("https://github.com/a/b.git")),
            (ForgeKind::Gitlab, Some("https://gitlab.com/a/b.git")),
            (ForgeKind::Bitbucket, Some("https://bitbucket.org/a/b.git")),
            (ForgeKind::BitbucketDc, None),
            (ForgeKind::Gitea, None),
            (ForgeKind::Gitee, Some("https://gitee.com/a/b.git")),
            (ForgeKind::Coding, Some("https://e.coding.net/t/p/r.git")),
        ] {
            assert!(public.is_none_or(|url| same_origin(url, kind, None)), "{kind}");
            assert!(same_origin("https://git.example.com/x/y.git", kind, Some(own)), "{kind}");
            let elsewhere =
                ["https://evil.example/a/b.git", "http://git.example.com/a/b.git", "ssh://git.example.com/a"];
            for url in elsewhere.into_iter().chain(public) {
                assert!(!same_origin(url, kind, Some(own)), "{kind} {url}");
            }
            assert!(elsewhere.into_iter().all(|url| !same_origin(url, kind, None)), "{kind}");
        }
    }

    #[test]
    fn a_token_that_is_no_login_is_given_to_nobody() {
        assert!(clone_login(ForgeKind::Coding, "token").is_none());
        let login = clone_login(ForgeKind::Coding, "ptx1:pw").map(|login| (login.user, login.password));
        assert_eq!(login, Some(("ptx1".to_owned(), "pw".to_owned())));
    }
}
