//! Registries: a tenant's logins for image registries. Passwords go in and never come back.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::{RegistryId, TenantId};
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, JsonBody, PathOf};
use slipway_store::registries::{NewRegistry, Registry};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::addresses::check_registry_host;
use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;

/// What makes a registry login. A second one for the same host replaces the first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRegistry {
    /// Id or name of the tenant; yours unless set.
    #[serde(default)]
    tenant: Option<String>,
    /// Host as in image names, with its port: `registry.example.com:5000`.
    host: String,
    /// User name.
    user: String,
    /// Password or token. Build logs show `***` instead of it, unless it has fewer than 4 bytes.
    password: String,
}

/// A registry login without its password.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistryJson {
    #[schema(value_type = uuid::Uuid)]
    id: RegistryId,
    #[schema(value_type = uuid::Uuid)]
    tenant: TenantId,
    host: String,
    user: String,
    created_at: DateTime<Utc>,
}

impl From<Registry> for RegistryJson {
    fn from(registry: Registry) -> Self {
        Self {
            id: registry.id,
            tenant: registry.tenant_id,
            host: registry.host,
            user: registry.username,
            created_at: registry.created_at,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(put, list)).routes(routes!(delete))
}

/// Stores the login for a registry.
#[utoipa::path(post, path = "/api/v1/registries", tag = "registries", request_body = PutRegistry, responses(
    (status = 201, body = RegistryJson),
    (status = 200, description = "Replaced the login for this host", body = RegistryJson),
    (status = 422, body = ProblemDoc),
))]
async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<PutRegistry>,
) -> Result<(StatusCode, Json<RegistryJson>), ApiError> {
    let tenant = tenant_of(&state, caller, body.tenant.as_deref()).await?;
    caller.may_write(tenant.id)?;
    check_registry_host(&state, "host", &body.host).await?;
    if body.user.is_empty() || body.password.is_empty() {
        return Err(ApiError::Invalid("user and password must not be empty.".to_owned()));
    }
    let new = NewRegistry {
        id: new_id(),
        tenant: tenant.id,
        host: body.host,
        username: body.user,
        password: body.password,
        now: state.clock.now(),
    };
    let put = state.db.put_registry(&state.secret_key, &new).await.or_problem()?;
    let status = if put.replaced { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(put.registry.into())))
}

/// The registry logins that the caller sees, without passwords.
#[utoipa::path(get, path = "/api/v1/registries", tag = "registries",
    responses((status = 200, body = PageOf<RegistryJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<RegistryJson>>, ApiError> {
    caller.signed_in()?;
    let registries = state.db.list_registries(&caller.scope, None).await.or_problem()?;
    Ok(Json(PageOf::whole(registries.into_iter().map(RegistryJson::from).collect())))
}

/// Forgets a registry login.
#[utoipa::path(delete, path = "/api/v1/registries/{id}", tag = "registries", params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "Gone"), (status = 404, body = ProblemDoc)))]
async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<RegistryId>,
) -> Result<StatusCode, ApiError> {
    caller.signed_in()?;
    let registries = state.db.list_registries(&caller.scope, None).await.or_problem()?;
    let found = registries.into_iter().find(|registry| registry.id == id);
    let Some(registry) = found else {
        return Err(ApiError::NotFound("There is no such registry, or it is not visible with your token.".to_owned()));
    };
    caller.may_write(registry.tenant_id)?;
    state.db.delete_registry(&caller.scope, id).await.or_problem()?;
    Ok(StatusCode::NO_CONTENT)
}
