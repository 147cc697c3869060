//! Secrets of projects and tenants, which builds read as secret mounts. Values go in and never come back.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::ProjectId;
use slipway_domain::secret::{MAX_NAME_BYTES, MAX_VALUE_BYTES, Reach, is_name};
use slipway_runtime::ids::new_id;
use slipway_runtime::problem::{ApiError, JsonBody, PathOf, QueryOf};
use slipway_store::secrets::{NewSecret, Secret, SecretOwner};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::projects::writable;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;

/// A secret's value, and which builds get it. What strangers wrote never does.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// The value, 1 byte to 64 KiB. Build logs show `***` instead of it, unless it has fewer than 4 bytes.
    value: String,
    /// Branches whose builds get it, as patterns: `*` stays within a `/`, `**` does not, and `!` in front takes away. All
    /// branches and tags, unless `branches` or `tags` is set.
    #[serde(default)]
    branches: Option<Vec<String>>,
    /// The same for tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
    /// Whether pull and merge requests of the repository's own branches get it, those to one of the branches.
    #[serde(default)]
    changes: bool,
}

/// A secret without its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretJson {
    name: String,
    branches: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    changes: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Secret> for SecretJson {
    fn from(secret: Secret) -> Self {
        let Reach { branches, tags, changes } = secret.reach.0;
        let (created_at, updated_at) = (secret.created_at, secret.updated_at);
        Self { name: secret.name, branches, tags, changes, created_at, updated_at }
    }
}

/// Whose secrets.
#[derive(Debug, Deserialize, IntoParams)]
struct OfTenant {
    /// Id or name of the tenant; yours unless set.
    tenant: Option<String>,
}

type Put = Result<(StatusCode, Json<SecretJson>), ApiError>;
type List = Result<Json<PageOf<SecretJson>>, ApiError>;

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_of_project))
        .routes(routes!(put_of_project, delete_of_project))
        .routes(routes!(list_of_tenant))
        .routes(routes!(put_of_tenant, delete_of_tenant))
}

/// The names of a project's secrets; its tenant's are not among them.
#[utoipa::path(get, path = "/api/v1/projects/{id}/secrets", tag = "secrets", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = PageOf<SecretJson>), (status = 404, body = ProblemDoc)))]
async fn list_of_project(State(state): State<ApiState>, caller: Caller, PathOf(id): PathOf<ProjectId>) -> List {
    caller.signed_in()?;
    let project = state.db.project(&caller.scope, id).await.or_problem()?;
    list(&state, caller, SecretOwner { tenant: project.tenant_id, project: Some(id) }).await
}

/// Gives a project's secret a value. What is not set about its builds is as usual again.
#[utoipa::path(put, path = "/api/v1/projects/{id}/secrets/{name}", tag = "secrets", request_body = PutSecret,
    params(("id" = uuid::Uuid, Path), ("name" = String, Path)), responses(
    (status = 201, body = SecretJson),
    (status = 200, description = "Replaced the value of this name", body = SecretJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "There are too many", body = ProblemDoc),
    (status = 422, body = ProblemDoc),
))]
async fn put_of_project(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf((id, name)): PathOf<(ProjectId, String)>,
    JsonBody(body): JsonBody<PutSecret>,
) -> Put {
    let project = writable(&state, caller, id).await?;
    put(&state, SecretOwner { tenant: project.tenant_id, project: Some(id) }, name, body).await
}

/// Forgets a project's secret.
#[utoipa::path(delete, path = "/api/v1/projects/{id}/secrets/{name}", tag = "secrets",
    params(("id" = uuid::Uuid, Path), ("name" = String, Path)),
    responses((status = 204, description = "Gone"), (status = 404, body = ProblemDoc)))]
async fn delete_of_project(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf((id, name)): PathOf<(ProjectId, String)>,
) -> Result<StatusCode, ApiError> {
    let project = writable(&state, caller, id).await?;
    delete(&state, caller, SecretOwner { tenant: project.tenant_id, project: Some(id) }, &name).await
}

/// The names of the secrets that a tenant has for all of its projects.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets", params(OfTenant),
    responses((status = 200, body = PageOf<SecretJson>), (status = 404, body = ProblemDoc)))]
async fn list_of_tenant(State(state): State<ApiState>, caller: Caller, QueryOf(of): QueryOf<OfTenant>) -> List {
    let tenant = tenant_of(&state, caller, of.tenant.as_deref()).await?;
    list(&state, caller, SecretOwner { tenant: tenant.id, project: None }).await
}

/// Gives a secret that all projects of a tenant have a value. A project's own secret of this name goes before it.
#[utoipa::path(put, path = "/api/v1/secrets/{name}", tag = "secrets", request_body = PutSecret,
    params(OfTenant, ("name" = String, Path)), responses(
    (status = 201, body = SecretJson),
    (status = 200, description = "Replaced the value of this name", body = SecretJson),
    (status = 409, description = "There are too many", body = ProblemDoc),
    (status = 422, body = ProblemDoc),
))]
async fn put_of_tenant(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(name): PathOf<String>,
    QueryOf(of): QueryOf<OfTenant>,
    JsonBody(body): JsonBody<PutSecret>,
) -> Put {
    let tenant = tenant_of(&state, caller, of.tenant.as_deref()).await?;
    caller.may_write(tenant.id)?;
    put(&state, SecretOwner { tenant: tenant.id, project: None }, name, body).await
}

/// Forgets a secret of a tenant.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}", tag = "secrets", params(OfTenant, ("name" = String, Path)),
    responses((status = 204, description = "Gone"), (status = 404, body = ProblemDoc)))]
async fn delete_of_tenant(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(name): PathOf<String>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<StatusCode, ApiError> {
    let tenant = tenant_of(&state, caller, of.tenant.as_deref()).await?;
    caller.may_write(tenant.id)?;
    delete(&state, caller, SecretOwner { tenant: tenant.id, project: None }, &name).await
}

async fn list(state: &ApiState, caller: Caller, owner: SecretOwner) -> List {
    if !caller.scope.covers(owner.tenant) {
        return Err(ApiError::NotFound("There is no such project, or its secrets are not yours to see.".to_owned()));
    }
    let secrets = state.db.list_secrets(&caller.scope, owner).await.or_problem()?;
    Ok(Json(PageOf::whole(secrets.into_iter().map(SecretJson::from).collect())))
}

async fn put(state: &ApiState, owner: SecretOwner, name: String, body: PutSecret) -> Put {
    if !is_name(&name) {
        return Err(ApiError::Invalid(format!(
            "A secret's name has letters, digits, _, . and -, begins with none of the last two, and is at most \
             {MAX_NAME_BYTES} bytes long."
        )));
    }
    if body.value.is_empty() || body.value.len() > MAX_VALUE_BYTES {
        return Err(ApiError::Invalid(format!("value must have 1 to {MAX_VALUE_BYTES} bytes.")));
    }
    let reach = Reach { branches: body.branches, tags: body.tags, changes: body.changes };
    reach
        .check()
        .map_err(|bad| ApiError::Invalid(format!("{}: {}.", bad.field.trim_start_matches("rules."), bad.problem)))?;
    let (id, now) = (new_id(), state.clock.now());
    let new = NewSecret { id, owner, name, value: body.value, reach, now };
    let put = state.db.put_secret(&state.secret_key, &new).await.or_problem()?;
    let status = if put.replaced { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(put.secret.into())))
}

async fn delete(state: &ApiState, caller: Caller, owner: SecretOwner, name: &str) -> Result<StatusCode, ApiError> {
    state.db.delete_secret(&caller.scope, owner, name).await.or_problem()?;
    Ok(StatusCode::NO_CONTENT)
}
