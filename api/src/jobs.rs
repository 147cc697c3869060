//! One job of a build.

use axum::Json;
use axum::extract::State;
use slipway_domain::ids::JobId;
use slipway_runtime::problem::{ApiError, PathOf};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::builds::json::JobJson;
use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// A job with its attempts, steps and images.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = JobJson),
    (status = 404, body = ProblemDoc),
))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<JobId>,
) -> Result<Json<JobJson>, ApiError> {
    let view = state.db.job_view(&caller.scope, id).await.or_problem()?;
    let is_member = caller.scope.covers(view.job.tenant_id);
    Ok(Json(JobJson::new(view, is_member)))
}
