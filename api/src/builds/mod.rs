//! Builds: asked for by hand, listed, cancelled, repeated.

pub mod json;
pub mod make;
pub mod outputs;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use slipway_domain::build::BuildState;
use slipway_domain::ids::{BuildId, ProjectId};
use slipway_runtime::problem::{ApiError, JsonBody, PathOf, QueryOf};
use slipway_store::builds::{BuildFilter, BuildView};
use slipway_store::statuses::StatusView;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::builds::json::{BuildJson, CreateBuild, Told, WaitingJson};
use crate::caller::Caller;
use crate::idempotency;
use crate::openapi::ProblemDoc;
use crate::page_of::{self, PageOf};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::words::searched;

/// Which builds to list, newest first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BuildQuery {
    /// Only of this project.
    #[param(value_type = Option<uuid::Uuid>)]
    project: Option<ProjectId>,
    /// Only in this state.
    #[param(value_type = Option<String>)]
    state: Option<BuildState>,
    /// Only of the branch or tag of this name; `refs/tags/v1` is only the tag.
    #[serde(rename = "ref")]
    ref_name: Option<String>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    cursor: Option<BuildId>,
    /// 1 to 100; 20 unless set.
    limit: Option<i64>,
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .routes(routes!(approve))
        .routes(routes!(retry))
}

/// Builds a commit, or what a branch or tag points to.
#[utoipa::path(post, path = "/api/v1/projects/{id}/builds", tag = "builds", params(("id" = uuid::Uuid, Path)),
    request_body = CreateBuild, responses(
    (status = 201, body = BuildJson),
    (status = 404, body = ProblemDoc),
    (status = 422, description = "The ref or commit is wrong or unknown", body = ProblemDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(project): PathOf<ProjectId>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateBuild>,
) -> Result<(StatusCode, Json<BuildJson>), ApiError> {
    let key = idempotency::key(&headers)?;
    let build = make::manual(&state, caller, project, body, key).await?;
    Ok((StatusCode::CREATED, Json(shown(&state, caller, build).await?)))
}

/// Builds that the caller sees, newest first.
#[utoipa::path(get, path = "/api/v1/builds", tag = "builds", params(BuildQuery),
    responses((status = 200, body = PageOf<BuildJson>)))]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<BuildQuery>,
) -> Result<Json<PageOf<BuildJson>>, ApiError> {
    let limit = page_of::limit(query.limit);
    if let Some(project) = query.project {
        state.db.project(&caller.scope, project).await.or_problem()?;
    } else {
        caller.signed_in()?;
    }
    let filter = BuildFilter {
        project: query.project,
        state: query.state,
        ref_name: searched("ref", query.ref_name)?,
        before: query.cursor,
        limit: page_of::rows_for(limit),
    };
    let rows = state.db.list_build_views(&caller.scope, &filter).await.or_problem()?;
    let page = PageOf::<BuildView>::cut(rows, limit, |view| view.build.id.to_string(), |view| view);
    let now = state.db.now(&state.clock).await.or_problem()?;
    let jobs: Vec<_> = page.items.iter().flat_map(|view| view.jobs.iter().map(|job| &job.job)).collect();
    let mut waiting = state.db.waiting_jobs(&jobs, now).await.or_problem()?;
    let covered: Vec<BuildId> = page
        .items
        .iter()
        .map(|view| &view.build)
        .filter(|build| caller.scope.covers(build.tenant_id))
        .map(|build| build.id)
        .collect();
    let mut statuses = state.db.statuses_of_builds(&covered).await.or_problem()?;
    let show = |view: BuildView| {
        let id = view.build.id;
        let waiting = view.jobs.iter().find_map(|job| waiting.remove(&job.job.id));
        let is_member = covered.contains(&id);
        let waiting = waiting.map(|waiting| WaitingJson::new(waiting, is_member));
        let statuses = statuses.remove(&id).unwrap_or_default();
        let url = state.config.url(&format!("builds/{id}"));
        BuildJson::new(view, Told { is_member, waiting, statuses, url })
    };
    Ok(Json(PageOf { items: page.items.into_iter().map(show).collect(), next_cursor: page.next_cursor }))
}

/// One build with its jobs.
#[utoipa::path(get, path = "/api/v1/builds/{id}", tag = "builds", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = BuildJson),
    (status = 404, body = ProblemDoc),
))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
) -> Result<Json<BuildJson>, ApiError> {
    Ok(Json(shown(&state, caller, id).await?))
}

/// Stops a build. Nothing of it becomes visible after this answered 200.
#[utoipa::path(post, path = "/api/v1/builds/{id}/cancel", tag = "builds", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, description = "It is cancelled, or is being cancelled", body = BuildJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "It is over, or already publishing", body = ProblemDoc),
))]
async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
) -> Result<Json<BuildJson>, ApiError> {
    make::cancel(&state, caller, id).await?;
    Ok(Json(shown(&state, caller, id).await?))
}

/// Lets a build of strangers' work run. Approving it again changes nothing.
#[utoipa::path(post, path = "/api/v1/builds/{id}/approve", tag = "builds", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, description = "It may run, or does already", body = BuildJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "It is over", body = ProblemDoc),
))]
async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
) -> Result<Json<BuildJson>, ApiError> {
    make::approve(&state, caller, id).await?;
    Ok(Json(shown(&state, caller, id).await?))
}

/// How to build it again.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RetryQuery {
    /// True runs every step anew, whatever the cache has.
    #[serde(default)]
    no_cache: bool,
}

/// Makes a new build of the same commit and ref, with the project's options of today.
#[utoipa::path(post, path = "/api/v1/builds/{id}/retry", tag = "builds",
    params(("id" = uuid::Uuid, Path), RetryQuery), responses(
    (status = 201, body = BuildJson),
    (status = 404, body = ProblemDoc),
    (status = 409, description = "It still runs", body = ProblemDoc),
))]
async fn retry(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuildId>,
    QueryOf(query): QueryOf<RetryQuery>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<BuildJson>), ApiError> {
    let key = idempotency::key(&headers)?;
    let build = make::rerun(&state, caller, id, (key, query.no_cache)).await?;
    Ok((StatusCode::CREATED, Json(shown(&state, caller, build).await?)))
}

/// Why a build waits; `None` when it does not.
pub async fn waiting(state: &ApiState, caller: Caller, view: &BuildView) -> Result<Option<WaitingJson>, ApiError> {
    if view.build.state.is_terminal() {
        return Ok(None);
    }
    let now = state.db.now(&state.clock).await.or_problem()?;
    for job in &view.jobs {
        if let Some(waiting) = state.db.waiting(&job.job, now).await.or_problem()? {
            return Ok(Some(WaitingJson::new(waiting, caller.scope.covers(view.build.tenant_id))));
        }
    }
    Ok(None)
}

/// What the forge was told of a build; nothing for the public.
pub async fn statuses(state: &ApiState, caller: Caller, view: &BuildView) -> Result<Vec<StatusView>, ApiError> {
    if !caller.scope.covers(view.build.tenant_id) {
        return Ok(Vec::new());
    }
    state.db.statuses_of_build(view.build.id).await.or_problem()
}

async fn shown(state: &ApiState, caller: Caller, id: BuildId) -> Result<BuildJson, ApiError> {
    let view = state.db.build_view(&caller.scope, id).await.or_problem()?;
    let is_member = caller.scope.covers(view.build.tenant_id);
    let waiting = waiting(state, caller, &view).await?;
    let statuses = statuses(state, caller, &view).await?;
    let outputs = outputs::outputs(state, caller, &view).await?;
    let url = state.config.url(&format!("builds/{id}"));
    Ok(BuildJson::new(view, Told { is_member, waiting, statuses, url }).with(outputs))
}
