//! Projects: one repository each, with its build rules, its hook and its visibility.

pub mod checks;
mod deploy_key;
pub mod images;
pub mod json;
pub mod webhook;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Deserialize;
use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, HookId, ProjectId, TenantId};
use slipway_domain::tenant::{ProjectState, Visibility};
use slipway_runtime::ids::{new_id, new_token, random_bytes, random_id};
use slipway_runtime::problem::{ApiError, JsonBody, PathOf, QueryOf};
use slipway_store::connections::NewConnection;
use slipway_store::hooks::NewHook;
use slipway_store::projects::{NewProject, Project, ProjectConnection, ProjectFilter, ProjectPatch};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::addresses::check_url;
use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::{self, PageOf};
use crate::projects::checks::{check_options, check_repo_path, check_rules};
use crate::projects::json::{CreateProject, ForgeRef, HookJson, PatchProject, ProjectJson};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::tenants::tenant_of;
use crate::words::{check_name, searched};

/// Marks hook secrets for secret scanners.
const SECRET_PREFIX: &str = "slh";

/// Which projects to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProjectQuery {
    /// Only those with this in their name or in their repository's path, in whatever case.
    q: Option<String>,
    /// Only those whose newest build is in this state.
    #[param(value_type = Option<String>)]
    build: Option<BuildState>,
    /// Only of this forge.
    #[param(value_type = Option<String>)]
    forge: Option<ForgeKind>,
    /// Only those that are `private` or `public`.
    #[param(value_type = Option<String>)]
    visibility: Option<Visibility>,
    /// Only those that are `active` or `paused`.
    #[param(value_type = Option<String>)]
    state: Option<ProjectState>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    cursor: Option<ProjectId>,
    /// 1 to 100; 20 unless set.
    limit: Option<i64>,
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, patch))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .merge(webhook::routes())
        .merge(deploy_key::routes())
}

/// Makes a project with its hook. The hook's secret is in this answer only.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = CreateProject, responses(
    (status = 201, body = ProjectJson),
    (status = 409, description = "The name is taken", body = ProblemDoc),
    (status = 422, description = "A field is wrong; the detail names it", body = ProblemDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<CreateProject>,
) -> Result<(StatusCode, Json<ProjectJson>), ApiError> {
    // First who asks: checking an address resolves names, and says what they point to.
    let (tenant, forge, connection) = connection_of(&state, caller, &body).await?;
    check_name("name", &body.name)?;
    check_repo_path(&body.repo.full_path)?;
    let clone_url = check_url(&state, "repo.clone_url", &body.repo.clone_url).await?;
    check_options(&body.build)?;
    check_rules(&body.rules)?;
    let images = images::given(&state, body.image.map(Some), body.images.map(Some)).await?.unwrap_or_default();
    images::check_own(&images, &body.build)?;
    let cache_repository = body.cache_repository;
    images::check_cache(&state, cache_repository.as_deref()).await?;
    let hook: HookId = random_id();
    let secret = hook_secret(forge);
    let now = state.clock.now();
    let new = NewProject {
        id: new_id(),
        tenant,
        connection,
        name: body.name,
        repo_path: body.repo.full_path,
        clone_url,
        images,
        cache_repository,
        visibility: body.visibility.unwrap_or(Visibility::Private),
        options: body.build,
        rules: body.rules,
        region: body.region,
        hook: NewHook { id: hook, secret: secret.clone(), now },
        now,
    };
    let project = state.db.create_project(&state.secret_key, &new).await.or_problem()?;
    let hook = HookJson { id: hook, url: hook_url(&state, hook), secret: Some(secret) };
    Ok((StatusCode::CREATED, Json(ProjectJson::whole(project, vec![hook], None))))
}

/// The projects that the caller sees.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(ProjectQuery),
    responses((status = 200, body = PageOf<ProjectJson>)))]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<ProjectQuery>,
) -> Result<Json<PageOf<ProjectJson>>, ApiError> {
    caller.signed_in()?;
    let limit = page_of::limit(query.limit);
    let filter = ProjectFilter {
        text: searched("q", query.q)?,
        last_build: query.build,
        forge: query.forge,
        visibility: query.visibility,
        state: query.state,
        after: query.cursor,
        limit: page_of::rows_for(limit),
    };
    let rows = state.db.list_projects(&caller.scope, &filter).await.or_problem()?;
    let page = PageOf::<Project>::cut(rows, limit, |project| project.id.to_string(), |project| project);
    let mut items = Vec::with_capacity(page.items.len());
    for project in page.items {
        items.push(shown(&state, caller, project).await?);
    }
    Ok(Json(PageOf { items, next_cursor: page.next_cursor }))
}

/// One project.
#[utoipa::path(get, path = "/api/v1/projects/{id}", tag = "projects", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = ProjectJson),
    (status = 404, body = ProblemDoc),
))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<ProjectJson>, ApiError> {
    let project = state.db.project(&caller.scope, id).await.or_problem()?;
    Ok(Json(shown(&state, caller, project).await?))
}

/// Changes the fields that are given; `build` is replaced as a whole.
#[utoipa::path(patch, path = "/api/v1/projects/{id}", tag = "projects", params(("id" = uuid::Uuid, Path)),
    request_body = PatchProject, responses(
    (status = 200, body = ProjectJson),
    (status = 404, body = ProblemDoc),
    (status = 422, body = ProblemDoc),
))]
async fn patch(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
    JsonBody(body): JsonBody<PatchProject>,
) -> Result<Json<ProjectJson>, ApiError> {
    let project = writable(&state, caller, id).await?;
    if let Some(options) = &body.build {
        check_options(options)?;
    }
    if let Some(rules) = &body.rules {
        check_rules(rules)?;
    }
    let images = images::given(&state, body.image, body.images).await?;
    let own = images.clone().unwrap_or_else(|| project.images());
    images::check_own(&own, body.build.as_ref().unwrap_or(&project.options))?;
    images::check_cache(&state, body.cache_repository.as_ref().and_then(Option::as_deref)).await?;
    let patch = ProjectPatch {
        options: body.build,
        rules: body.rules,
        visibility: body.visibility,
        images,
        cache_repository: body.cache_repository,
        region: body.region,
    };
    let project = state.db.patch_project(&caller.scope, id, &patch, state.clock.now()).await.or_problem()?;
    Ok(Json(shown(&state, caller, project).await?))
}

/// Pushes make no builds any more; deliveries are recorded.
#[utoipa::path(post, path = "/api/v1/projects/{id}/pause", tag = "projects", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = ProjectJson), (status = 404, body = ProblemDoc)))]
async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<ProjectJson>, ApiError> {
    let project = set_state(&state, caller, id, ProjectState::Paused).await?;
    Ok(Json(shown(&state, caller, project).await?))
}

/// Pushes make builds again.
#[utoipa::path(post, path = "/api/v1/projects/{id}/resume", tag = "projects", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = ProjectJson), (status = 404, body = ProblemDoc)))]
async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<ProjectJson>, ApiError> {
    let project = set_state(&state, caller, id, ProjectState::Active).await?;
    Ok(Json(shown(&state, caller, project).await?))
}

/// Pauses or resumes; shared with the pages.
pub async fn set_state(
    state: &ApiState,
    caller: Caller,
    id: ProjectId,
    wanted: ProjectState,
) -> Result<Project, ApiError> {
    writable(state, caller, id).await?;
    state.db.set_project_state(&caller.scope, id, wanted, state.clock.now()).await.or_problem()
}

/// The project, if the caller may change it: 404 if not visible, 403 if only readable.
pub async fn writable(state: &ApiState, caller: Caller, id: ProjectId) -> Result<Project, ApiError> {
    let project = state.db.project(&caller.scope, id).await.or_problem()?;
    caller.may_write(project.tenant_id)?;
    Ok(project)
}

/// The receiving URLs of a project; none for the public.
pub async fn hook_urls(state: &ApiState, caller: Caller, project: &Project) -> Result<Vec<(HookId, String)>, ApiError> {
    if !caller.scope.covers(project.tenant_id) {
        return Ok(Vec::new());
    }
    let hooks = state.db.hooks_of_project(&caller.scope, project.id).await.or_problem()?;
    Ok(hooks.into_iter().map(|hook| (hook, hook_url(state, hook))).collect())
}

async fn shown(state: &ApiState, caller: Caller, project: Project) -> Result<ProjectJson, ApiError> {
    if !caller.scope.covers(project.tenant_id) {
        return Ok(ProjectJson::public(project));
    }
    let hooks = hook_urls(state, caller, &project).await?;
    let hooks = hooks.into_iter().map(|(id, url)| HookJson { id, url, secret: None }).collect();
    let look = state.db.look_view(project.id).await.or_problem()?;
    Ok(ProjectJson::whole(project, hooks, look))
}

pub(crate) fn hook_url(state: &ApiState, hook: HookId) -> String {
    state.config.url(&format!("hooks/{hook}"))
}

/// A new secret in the form that the forge's hooks take. GitLab signs only under a key of this form, and takes
/// it as a plain token as well.
fn hook_secret(forge: ForgeKind) -> String {
    match forge {
        ForgeKind::Gitlab => format!("whsec_{}", STANDARD.encode(random_bytes::<32>())),
        ForgeKind::Github
        | ForgeKind::Bitbucket
        | ForgeKind::BitbucketDc
        | ForgeKind::Gitea
        | ForgeKind::Gitee
        | ForgeKind::Coding => new_token(SECRET_PREFIX),
    }
}

async fn connection_of(
    state: &ApiState,
    caller: Caller,
    body: &CreateProject,
) -> Result<(TenantId, ForgeKind, ProjectConnection), ApiError> {
    match (body.connection, &body.forge) {
        (Some(id), None) => existing_connection(state, caller, id, body.tenant.as_deref()).await,
        (None, Some(forge)) => {
            let tenant = tenant_of(state, caller, body.tenant.as_deref()).await?;
            caller.may_write(tenant.id)?;
            Ok((tenant.id, forge.kind, ProjectConnection::New(new_connection(state, tenant.id, forge).await?)))
        }
        (Some(_), Some(_)) | (None, None) => Err(ApiError::Invalid(
            "Give either connection (the id of a connection) or forge ({\"kind\": \"github\"}).".to_owned(),
        )),
    }
}

async fn existing_connection(
    state: &ApiState,
    caller: Caller,
    id: ConnectionId,
    tenant: Option<&str>,
) -> Result<(TenantId, ForgeKind, ProjectConnection), ApiError> {
    let scope = caller.signed_in()?.scope;
    let connection = state.db.connection(&scope, id).await.or_problem()?;
    caller.may_write(connection.tenant_id)?;
    if let Some(named) = tenant
        && tenant_of(state, caller, Some(named)).await?.id != connection.tenant_id
    {
        return Err(ApiError::Invalid("connection belongs to another tenant than the one named.".to_owned()));
    }
    Ok((connection.tenant_id, connection.kind, ProjectConnection::Existing(id)))
}

async fn new_connection(state: &ApiState, tenant: TenantId, forge: &ForgeRef) -> Result<NewConnection, ApiError> {
    let base_url = match &forge.base_url {
        Some(text) => Some(check_url(state, "forge.base_url", text).await?),
        None => None,
    };
    Ok(NewConnection {
        id: new_id(),
        tenant,
        kind: forge.kind,
        base_url,
        token: None,
        installation: None,
        now: state.clock.now(),
    })
}
