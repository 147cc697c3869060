//! A project's webhook on its forge: made, looked at and removed with the connection's token.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use slipway_domain::ids::ProjectId;
use slipway_forges::api::ForgeApi;
use slipway_forges::webhooks::{HookSpec, RemoteHook};
use slipway_runtime::breakers::Permit;
use slipway_runtime::problem::{ApiError, PathOf};
use slipway_store::projects::Project;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::forge;
use crate::openapi::ProblemDoc;
use crate::projects::{hook_url, writable};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// The webhook as the forge has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookJson {
    /// The forge's id of it.
    id: String,
    /// Where it delivers to.
    url: String,
    /// False when the forge has switched it off.
    active: bool,
    /// Events that we want and that it does not send, by the forge's names.
    missing_events: Vec<String>,
    /// What the forge says of its last delivery, if that failed.
    last_error: Option<String>,
}

impl From<RemoteHook> for WebhookJson {
    fn from(hook: RemoteHook) -> Self {
        let RemoteHook { id, url, active, missing_events, last_error } = hook;
        Self { id, url, active, missing_events, last_error }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(check, ensure, remove))
}

/// Looks at the webhook on the forge.
#[utoipa::path(get, path = "/api/v1/projects/{id}/webhook", tag = "projects", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = WebhookJson),
    (status = 404, description = "No such project, or its forge has no webhook for it", body = ProblemDoc),
    (status = 409, description = "The connection has no credential, or the forge refuses it", body = ProblemDoc),
    (status = 503, description = "The forge does not answer", body = ProblemDoc),
))]
async fn check(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<WebhookJson>, ApiError> {
    let at = Forge::of(&state, writable(&state, caller, id).await?).await?;
    let url = at.url(&state, caller).await?;
    let found = forge::call(at.permit, at.api.find_hook(&at.project.repo_path, &url)).await.map_err(forge::problem)?;
    let missing = "The forge has no webhook for this project; PUT this address to make it.";
    Ok(Json(found.ok_or_else(|| ApiError::NotFound(missing.to_owned()))?.into()))
}

/// Makes the webhook on the forge, or mends the one that is there: events, secret, switched on. Repeating it makes no
/// second one.
#[utoipa::path(put, path = "/api/v1/projects/{id}/webhook", tag = "projects", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = WebhookJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "The connection has no credential, or the forge refuses it", body = ProblemDoc),
    (status = 503, description = "The forge does not answer", body = ProblemDoc),
))]
async fn ensure(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<WebhookJson>, ApiError> {
    Ok(Json(ensure_webhook(&state, caller, id).await?))
}

/// Makes or mends it; shared with the pages.
pub async fn ensure_webhook(state: &ApiState, caller: Caller, id: ProjectId) -> Result<WebhookJson, ApiError> {
    let at = Forge::of(state, writable(state, caller, id).await?).await?;
    let url = at.url(state, caller).await?;
    let hook = at.hook(state, caller).await?;
    let secret = state.db.hook(&state.secret_key, hook).await.or_problem()?.secrets.into_iter().next();
    let spec = HookSpec { url, secret: secret.unwrap_or_default() };
    let made = forge::call(at.permit, at.api.ensure_hook(&at.project.repo_path, &spec)).await;
    Ok(made.map_err(forge::problem)?.into())
}

/// Removes the webhook from the forge. Gone already is as good.
#[utoipa::path(delete, path = "/api/v1/projects/{id}/webhook", tag = "projects", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = ProblemDoc), (status = 409, body = ProblemDoc)))]
async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<StatusCode, ApiError> {
    let at = Forge::of(&state, writable(&state, caller, id).await?).await?;
    let url = at.url(&state, caller).await?;
    forge::call(at.permit, at.api.remove_hook(&at.project.repo_path, &url)).await.map_err(forge::problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A project's forge, to be asked once.
struct Forge {
    project: Project,
    api: ForgeApi,
    permit: Permit,
}

impl Forge {
    async fn of(state: &ApiState, project: Project) -> Result<Self, ApiError> {
        let connection =
            state.db.connection(&slipway_store::Scope::Operator, project.connection_id).await.or_problem()?;
        if connection.github_app_id.is_some() {
            return Err(ApiError::Conflict(
                "This project's connection is a GitHub App, whose own webhook tells of all its repositories."
                    .to_owned(),
            ));
        }
        let opened = forge::open(state, &project, PATIENCE).await.map_err(forge::problem_of)?;
        let (api, permit) = opened.ok_or_else(forge::no_credential)?;
        Ok(Self { project, api, permit })
    }

    async fn hook(&self, state: &ApiState, caller: Caller) -> Result<slipway_domain::ids::HookId, ApiError> {
        let hooks = state.db.hooks_of_project(&caller.scope, self.project.id).await.or_problem()?;
        hooks.into_iter().next().ok_or_else(|| ApiError::NotFound("The project has no hook.".to_owned()))
    }

    async fn url(&self, state: &ApiState, caller: Caller) -> Result<String, ApiError> {
        Ok(hook_url(state, self.hook(state, caller).await?))
    }
}
