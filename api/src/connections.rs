//! Connections: a tenant's links to forges. The credential goes in and never comes back.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, GithubAppId, TenantId};
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, JsonBody, PathOf};
use slipway_store::connections::{Connection, NewConnection};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::addresses::check_url;
use crate::caller::Caller;
use crate::github_apps;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;

mod repositories;

/// What makes a connection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConnection {
    /// Id or name of the tenant; yours unless set.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// `github`, `gitlab`, …
    #[schema(value_type = String)]
    pub(crate) kind: ForgeKind,
    /// The forge's address; its public one unless set.
    #[serde(default)]
    base_url: Option<String>,
    /// Token for the forge's API and for fetching private repositories. Build logs show `***` instead of it, unless
    /// it has fewer than 4 bytes. Bitbucket, Gitea, Gitee and CODING may have an account beside it: `account:token`
    /// (with Bitbucket's API tokens and CODING's project tokens they must).
    #[serde(default)]
    pub(crate) token: Option<String>,
    /// An installation of a GitHub App, instead of a token.
    #[serde(default)]
    github_app: Option<InstallationRef>,
}

/// Names an installation of a GitHub App.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallationRef {
    /// The App's id here.
    #[schema(value_type = uuid::Uuid)]
    pub(crate) id: GithubAppId,
    /// GitHub's number of the installation.
    pub(crate) installation: u64,
}

/// What of a connection changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchConnection {
    /// The new token.
    token: String,
}

/// A connection without its credential.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionJson {
    #[schema(value_type = uuid::Uuid)]
    id: ConnectionId,
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    #[schema(value_type = String)]
    kind: ForgeKind,
    base_url: Option<String>,
    /// Whether a token is stored.
    has_token: bool,
    /// The GitHub App that makes tokens instead.
    #[schema(value_type = Option<uuid::Uuid>)]
    github_app: Option<GithubAppId>,
    /// GitHub's number of the App's installation.
    installation: Option<i64>,
    created_at: DateTime<Utc>,
}

impl From<Connection> for ConnectionJson {
    fn from(connection: Connection) -> Self {
        Self {
            id: connection.id,
            tenant: connection.tenant_id,
            kind: connection.kind,
            base_url: connection.base_url,
            has_token: connection.has_token,
            github_app: connection.github_app_id,
            installation: connection.installation_id,
            created_at: connection.created_at,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get, patch)).merge(repositories::routes())
}

/// Links a tenant to a forge.
#[utoipa::path(post, path = "/api/v1/connections", tag = "connections", request_body = CreateConnection, responses(
    (status = 201, body = ConnectionJson),
    (status = 422, description = "The address is not allowed", body = ProblemDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateConnection>,
) -> Result<(StatusCode, Json<ConnectionJson>), ApiError> {
    let tenant = tenant_of(&state, caller, body.tenant.as_deref()).await?;
    caller.may_write(tenant.id)?;
    if let Some(named) = &body.github_app {
        let id = github_apps::connect_asked(&state, caller, (&body, named, tenant.id)).await?;
        let connection = state.db.connection(&caller.scope, id).await.or_problem()?;
        return Ok((StatusCode::CREATED, Json(connection.into())));
    }
    let base_url = match &body.base_url {
        Some(text) => Some(check_url(&state, "base_url", text).await?),
        None => None,
    };
    let id: ConnectionId = new_id();
    let new = NewConnection {
        id,
        tenant: tenant.id,
        kind: body.kind,
        base_url,
        token: body.token.filter(|token| !token.is_empty()),
        installation: None,
        now: state.clock.now(),
    };
    state.db.create_connection(&state.secret_key, &new).await.or_problem()?;
    let connection = state.db.connection(&caller.scope, id).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(connection.into())))
}

/// One connection.
#[utoipa::path(get, path = "/api/v1/connections/{id}", tag = "connections", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = ConnectionJson), (status = 404, body = ProblemDoc)))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ConnectionId>,
) -> Result<Json<ConnectionJson>, ApiError> {
    let connection = state.db.connection(&caller.signed_in()?.scope, id).await.or_problem()?;
    Ok(Json(connection.into()))
}

/// Renews the token. What the forge refused by the old one is told again.
#[utoipa::path(patch, path = "/api/v1/connections/{id}", tag = "connections", params(("id" = uuid::Uuid, Path)),
    request_body = PatchConnection, responses(
    (status = 200, body = ConnectionJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "It is an App's, which makes its tokens itself", body = ProblemDoc),
))]
async fn patch(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ConnectionId>,
    JsonBody(body): JsonBody<PatchConnection>,
) -> Result<Json<ConnectionJson>, ApiError> {
    let connection = state.db.connection(&caller.signed_in()?.scope, id).await.or_problem()?;
    caller.may_write(connection.tenant_id)?;
    if connection.github_app_id.is_some() {
        return Err(ApiError::Conflict("This connection is a GitHub App's, which makes its tokens itself.".to_owned()));
    }
    if body.token.trim().is_empty() {
        return Err(ApiError::Invalid("token: write the new token.".to_owned()));
    }
    let now = state.db.now(&state.clock).await.or_problem()?;
    state.db.renew_token(&state.secret_key, &caller.scope, id, &body.token, now).await.or_problem()?;
    state.live.publish(Topic::Wake(WakeKind::Statuses), Bytes::new());
    Ok(Json(state.db.connection(&caller.scope, id).await.or_problem()?.into()))
}

/// The connections that the caller sees.
#[utoipa::path(get, path = "/api/v1/connections", tag = "connections",
    responses((status = 200, body = PageOf<ConnectionJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<ConnectionJson>>, ApiError> {
    caller.signed_in()?;
    let connections = state.db.list_connections(&caller.scope, None).await.or_problem()?;
    Ok(Json(PageOf::whole(connections.into_iter().map(ConnectionJson::from).collect())))
}
