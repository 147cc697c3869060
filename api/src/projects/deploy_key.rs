//! A project's own key to fetch its repository with, over ssh: it opens that one repository, for reading, and outlives the
//! person whose token a connection has.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use slipway_domain::ids::ProjectId;
use slipway_runtime::problem::{ApiError, PathOf};
use slipway_store::projects::Project;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::forge;
use crate::openapi::ProblemDoc;
use crate::projects::writable;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A project's key.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeployKeyJson {
    /// The public half, as forges take it.
    public_key: String,
    /// True once the forge has it; else add it there by hand, read-only.
    registered: bool,
    /// Why it could not be given to the forge.
    reason: Option<String>,
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ensure, remove))
}

/// Gives the project a key, unless it has one, and gives the forge its public half where the connection's token may do
/// that. Used where the clone URL is an ssh one.
#[utoipa::path(put, path = "/api/v1/projects/{id}/deploy-key", tag = "projects", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = DeployKeyJson), (status = 404, body = ProblemDoc)))]
async fn ensure(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<DeployKeyJson>, ApiError> {
    let project = writable(&state, caller, id).await?;
    let (private, public) = generate(&project.name)?;
    let now = state.clock.now();
    let keys = (private.as_str(), public.as_str());
    let public_key = state.db.ensure_deploy_key(&state.secret_key, &caller.scope, id, keys, now).await.or_problem()?;
    let registered = register(&state, &project, &public_key).await;
    Ok(Json(DeployKeyJson { public_key, registered: registered.is_ok(), reason: registered.err() }))
}

/// Takes the key away, on the forge, too, where the connection's token may do that.
#[utoipa::path(delete, path = "/api/v1/projects/{id}/deploy-key", tag = "projects", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = ProblemDoc)))]
async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<StatusCode, ApiError> {
    let project = writable(&state, caller, id).await?;
    let had = state.db.remove_deploy_key(&caller.scope, id, state.clock.now()).await.or_problem()?;
    if let Some(public) = had
        && let Ok(Some((api, permit))) = forge::open(&state, &project, PATIENCE).await
        && let Err(error) = forge::call(permit, api.remove_deploy_key(&project.repo_path, &public)).await
    {
        tracing::warn!(project.id = %id, %error, "the forge keeps a deploy key that nobody has any more");
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn register(state: &ApiState, project: &Project, public: &str) -> Result<(), String> {
    let opened = forge::open(state, project, PATIENCE).await;
    let opened = opened.map_err(|_| "the forge cannot be asked now".to_owned())?;
    let (api, permit) = opened.ok_or("the connection has no token")?;
    let title = format!("Slipway: {}", project.name);
    let made = forge::call(permit, api.ensure_deploy_key(&project.repo_path, &title, public)).await;
    made.map(drop).map_err(|error| error.to_string())
}

/// A new key: private as OpenSSH keeps it, public as forges take it.
fn generate(name: &str) -> Result<(String, String), ApiError> {
    let made = || -> Result<(String, String), ssh_key::Error> {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
        let comment: String = name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect();
        key.set_comment(format!("slipway-{comment}"));
        Ok((key.to_openssh(LineEnding::LF)?.to_string(), key.public_key().to_openssh()?))
    };
    made().map_err(|error| ApiError::Internal(anyhow::anyhow!("make a key: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_for_the_forge_and_readable_for_ssh() {
        let (private, public) = generate("team/äpp x").map_err(|_| ()).expect("a key");
        let read = PrivateKey::from_openssh(&private).expect("a private key");
        assert_eq!(read.public_key().to_openssh().expect("a line"), public);
        assert!(
            public.starts_with("ssh-ed25519 ") && public.ends_with(" slipway-team/-pp-x") && !public.contains('\n')
        );
    }
}
