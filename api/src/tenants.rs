//! Tenants: who pays. Made by operators.

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use slipway_domain::ids::TenantId;
use slipway_domain::plan::{DEFAULT_PLAN, Limits, Plans};
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, JsonBody};
use slipway_store::scope::Scope;
use slipway_store::tenants::{DEFAULT_CLASS, DEFAULT_TENANT, NewTenant, Tenant};
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
    /// What it may use; `team` unless set.
    #[serde(default)]
    plan: Option<String>,
    /// How many jobs it may run at once, instead of the plan's number.
    #[serde(default)]
    running_limit: Option<i64>,
}

/// What changes of a tenant; what is not there stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTenant {
    /// What it may use from the next build on.
    #[serde(default)]
    plan: Option<String>,
    /// How many jobs it may run at once; null for the plan's number.
    #[serde(default, deserialize_with = "even_null")]
    running_limit: Option<Option<i64>>,
}

fn even_null<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(source).map(Some)
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantJson {
    #[schema(value_type = uuid::Uuid)]
    id: TenantId,
    name: String,
    class: String,
    plan: String,
    /// What the plan allows.
    #[schema(value_type = Object)]
    limits: Limits,
    /// Jobs that it runs now.
    running: i64,
    /// Jobs that it may run at once.
    running_limit: i64,
    created_at: DateTime<Utc>,
}

impl TenantJson {
    fn new(tenant: Tenant, plans: &Plans) -> Self {
        Self {
            id: tenant.id,
            name: tenant.name,
            class: tenant.class,
            limits: plans.limits(&tenant.plan),
            plan: tenant.plan,
            running: tenant.jobs.running,
            running_limit: tenant.jobs.running_limit,
            created_at: tenant.created_at,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(change))
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
    let plan = body.plan.unwrap_or_else(|| DEFAULT_PLAN.to_owned());
    let limits = limits_of(&state, &plan)?;
    let own_limit = body.running_limit.is_some();
    let running_limit = checked(body.running_limit.unwrap_or_else(|| jobs_of(limits)))?;
    let id: TenantId = new_id();
    let now = state.clock.now();
    let class = body.class.unwrap_or_else(|| DEFAULT_CLASS.to_owned());
    let new = NewTenant { id, name: body.name, class, plan, running_limit, own_limit, now };
    state.db.create_tenant(&new).await.or_problem()?;
    let tenant = state.db.tenant(&caller.scope, id).await.or_problem()?;
    Ok((StatusCode::CREATED, Json(TenantJson::new(tenant, &state.config.plans))))
}

/// Gives a tenant another plan, or a number of jobs at once of its own. Builds that are made already keep their limits.
#[utoipa::path(patch, path = "/api/v1/tenants/{id}", tag = "tenants", request_body = ChangeTenant,
    params(("id" = String, Path, description = "Its id or its name")), responses(
    (status = 200, body = TenantJson),
    (status = 404, body = ProblemDoc),
    (status = 422, description = "There is no such plan", body = ProblemDoc),
))]
async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ChangeTenant>,
) -> Result<Json<TenantJson>, ApiError> {
    caller.operator()?;
    let tenant = tenant_of(&state, caller, Some(&id)).await?;
    // A plan that the operator took away stays until another one is named.
    if let Some(plan) = &body.plan {
        limits_of(&state, plan)?;
    }
    let own = body.running_limit.map(|limit| limit.map(checked).transpose()).transpose()?;
    state.db.change_tenant(tenant.id, body.plan.as_deref(), own, &state.config.plans).await.or_problem()?;
    state.live.publish(Topic::Wake(WakeKind::Jobs), Bytes::new());
    let tenant = state.db.tenant(&caller.scope, tenant.id).await.or_problem()?;
    Ok(Json(TenantJson::new(tenant, &state.config.plans)))
}

fn limits_of(state: &ApiState, plan: &str) -> Result<Limits, ApiError> {
    let plans = &state.config.plans;
    plans.get(plan).ok_or_else(|| {
        let names = Vec::from_iter(plans.iter().map(|(name, _)| name)).join(", ");
        ApiError::Invalid(format!("There is no plan \"{plan}\"; there are {names}. Others are written into the file that SLIPWAY_PLANS_FILE names."))
    })
}

fn checked(running_limit: i64) -> Result<i64, ApiError> {
    if running_limit < 0 {
        return Err(ApiError::Invalid("running_limit must not be negative.".to_owned()));
    }
    Ok(running_limit)
}

fn jobs_of(limits: Limits) -> i64 {
    i64::try_from(limits.jobs).unwrap_or(i64::MAX)
}

/// The tenants that the caller sees.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", responses((status = 200, body = PageOf<TenantJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<TenantJson>>, ApiError> {
    caller.signed_in()?;
    let tenants = state.db.list_tenants(&caller.scope).await.or_problem()?;
    Ok(Json(PageOf::whole(tenants.into_iter().map(|tenant| TenantJson::new(tenant, &state.config.plans)).collect())))
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
