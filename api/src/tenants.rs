//! Tenants: who pays. Made by operators.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::TenantId;
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, JsonBody};
use slipway_store::scope::Scope;
use slipway_store::tenants::{DEFAULT_CLASS, DEFAULT_RUNNING_LIMIT, DEFAULT_TENANT, NewTenant, Tenant};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::words::check_name;

/// What makes a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// 1 to 100 characters, unique.
    name: String,
    /// The class of builders that it uses.
    #[serde(default)]
    class: Option<String>,
    /// How many jobs it may run at once.
    #[serde(default)]
    running_limit: Option<i64>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantJson {
    #[schema(value_type = uuid::Uuid)]
    id: TenantId,
    name: String,
    class: String,
    created_at: DateTime<Utc>,
}

impl From<Tenant> for TenantJson {
    fn from(tenant: Tenant) -> Self {
        Self { id: tenant.id, name: tenant.name, class: tenant.class, created_at: tenant.created_at }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create, list))
}

/// Makes a tenant. Refused while all tenants would share one engine that nobody vouched for.
#[utoipa::path(post, path = "/api/v1/tenants", tag = "tenants", request_body = CreateTenant, responses(
    (status = 201, body = TenantJson),
    (status = 409, description = "The name is taken, or the engine is shared and tenants are not trusted", body = ProblemDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateTenant>,
) -> Result<(StatusCode, Json<TenantJson>), ApiError> {
    caller.operator()?;
    if state.config.shared_engine && !state.config.trust_tenants {
        return Err(ApiError::Conflict(
            "One shared engine serves one trusted tenant: with SLIPWAY_ENGINE_HOST=shared a second tenant could read \
             the first one's builds. Set SLIPWAY_ENGINE_HOST=tenant, or SLIPWAY_TRUST_TENANTS=1 if all tenants trust \
             each other."
                .to_owned(),
        ));
    }
    check_name("name", &body.name)?;
    let running_limit = body.running_limit.unwrap_or(DEFAULT_RUNNING_LIMIT);
    if running_limit < 0 {
        return Err(ApiError::Invalid("running_limit must not be negative.".to_owned()));
    }
    let id: TenantId = new_id();
    let now = state.clock.now();
    let class = body.class.unwrap_or_else(|| DEFAULT_CLASS.to_owned());
    state.db.create_tenant(&NewTenant { id, name: body.name, class, running_limit, now }).await.or_problem()?;
    let tenant = state.db.tenant(&caller.scope, id).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(tenant.into())))
}

/// The tenants that the caller sees.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", responses((status = 200, body = PageOf<TenantJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<TenantJson>>, ApiError> {
    caller.signed_in()?;
    let tenants = state.db.list_tenants(&caller.scope).await.or_problem()?;
    Ok(Json(PageOf::whole(tenants.into_iter().map(TenantJson::from).collect())))
}

/// The tenant that a request is about: the one it names by id or name, the caller's own, or the first one.
pub async fn tenant_of(state: &ApiState, caller: Caller, named: Option<&str>) -> Result<Tenant, ApiError> {
    let scope = caller.signed_in()?.scope;
    let tenant = match (named, scope) {
        (Some(named), _) => match named.parse::<TenantId>() {
            Ok(id) => state.db.tenant(&scope, id).await,
            Err(_) => state.db.tenant_by_name(&scope, named).await,
        },
        (None, Scope::Member { tenant, .. }) => state.db.tenant(&scope, tenant).await,
        (None, Scope::Operator | Scope::Public) => state.db.tenant_by_name(&scope, DEFAULT_TENANT).await,
    };
    tenant.or_problem()
}
