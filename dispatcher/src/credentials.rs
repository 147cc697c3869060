//! Credentials, given to an open attempt when a phase needs them: the connection's for its own origin only,
//! the tenant's registries for base images and the push.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use slipway_domain::agent::{Credentials, Login, RegistryLogin};
use slipway_domain::attempt::{AttemptState, Phase};
use slipway_domain::job::JobState;
use slipway_forges::api::login_for;
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::Scope;

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
            let forge = (access.kind, access.base_url.as_deref());
            credentials.source = access.token.and_then(|token| login_for(&project.clone_url, forge, &token));
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
