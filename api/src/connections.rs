//! Connections: a tenant's links to forges. The credential goes in and never comes back.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, TenantId};
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, JsonBody};
use slipway_store::connections::{Connection, NewConnection};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::addresses::check_url;
use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;

/// What makes a connection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConnection {
    /// Id or name of the tenant; yours unless set.
    #[serde(default)]
    tenant: Option<String>,
    /// `github`, `gitlab`, …
    #[schema(value_type = String)]
    kind: ForgeKind,
    /// The forge's address; its public one unless set.
    #[serde(default)]
    base_url: Option<String>,
    /// Token for the forge's API and for fetching private repositories. Build logs show `***` instead of it, unless
    /// it has fewer than 4 bytes. Bitbucket, Gitea, Gitee and CODING may have an account beside it: `account:token`
    /// (with Bitbucket's API tokens and CODING's project tokens they must).
    #[serde(default)]
    token: Option<String>,
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
    /// Whether a credential is stored.
    has_token: bool,
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
            created_at: connection.created_at,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create, list))
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
        now: state.clock.now(),
    };
    state.db.create_connection(&state.secret_key, &new).await.or_problem()?;
    let connection = state.db.connection(&caller.scope, id).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(connection.into())))
}

/// The connections that the caller sees.
#[utoipa::path(get, path = "/api/v1/connections", tag = "connections",
    responses((status = 200, body = PageOf<ConnectionJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<ConnectionJson>>, ApiError> {
    caller.signed_in()?;
    let connections = state.db.list_connections(&caller.scope, None).await.or_problem()?;
    Ok(Json(PageOf::whole(connections.into_iter().map(ConnectionJson::from).collect())))
}
