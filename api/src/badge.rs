//! `GET /badge/{project}.svg`: the state of a project's newest finished build as a small picture.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use slipway_domain::build::BuildState;
use slipway_domain::ids::ProjectId;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::builds::BuildFilter;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// How far back a finished build is looked for.
const LOOK_BACK: i64 = 50;
/// Average width of a character of the badge's font at 11 px, in tenths of a pixel.
const CHAR_TENTHS: usize = 68;

/// Which branch the badge shows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BadgeQuery {
    /// Only builds of this branch; any unless set.
    branch: Option<String>,
}

/// The route.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// A badge. Private projects have one only for who may see them.
#[utoipa::path(get, path = "/badge/{project}", tag = "builds",
    params(("project" = String, Path, description = "The project's id and `.svg`"), BadgeQuery),
    responses((status = 200, content_type = "image/svg+xml", body = String), (status = 404, body = ProblemDoc)))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<BadgeQuery>,
) -> Result<Response, ApiError> {
    let id: ProjectId = name
        .strip_suffix(".svg")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| ApiError::NotFound("There is no such badge; write /badge/<project id>.svg.".to_owned()))?;
    let project = state.db.project(&caller.scope, id).await.or_problem()?;
    let filter = BuildFilter { project: Some(project.id), limit: LOOK_BACK, ..BuildFilter::default() };
    let builds = state.db.list_builds(&caller.scope, &filter).await.or_problem()?;
    let wanted = |git_ref: Option<&str>| query.branch.as_deref().is_none_or(|branch| git_ref == Some(branch));
    let last = builds
        .iter()
        .filter(|build| wanted(build.git_ref.as_ref().and_then(|git_ref| git_ref.branch())))
        .find(|build| build.state.is_terminal());
    let svg = svg(last.map(|build| build.state));
    Ok(([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-cache")], svg).into_response())
}

/// The picture; nothing in it comes from outside.
fn svg(state: Option<BuildState>) -> String {
    let (word, color) = match state {
        Some(BuildState::Succeeded) => ("passing", "#2a7d3f"),
        Some(BuildState::Failed) => ("failing", "#b3161b"),
        Some(BuildState::Errored) => ("errored", "#8a4600"),
        Some(BuildState::Cancelled | BuildState::Superseded) => ("cancelled", "#5c646e"),
        Some(BuildState::Skipped) => ("skipped", "#5c646e"),
        Some(BuildState::Pending | BuildState::Running) | None => ("unknown", "#9f9f9f"),
    };
    let width = |text: &str| text.len() * CHAR_TENTHS / 10 + 12;
    let (left, right) = (width("build"), width(word));
    let (all, left_middle, right_middle) = (left + right, left / 2, left + right / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" aria-label=\"build: {word}\">\
         <title>build: {word}</title><rect width=\"{left}\" height=\"20\" fill=\"#444\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{color}\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{left_middle}\" y=\"14\">build</text><text x=\"{right_middle}\" y=\"14\">{word}</text></g></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_and_unknown_is_grey() {
        assert!(svg(None).contains("unknown") && svg(None).contains("#9f9f9f"));
        for state in BuildState::ALL {
            assert!(svg(Some(*state)).starts_with("<svg"));
        }
        assert!(svg(Some(BuildState::Succeeded)).contains("passing"));
    }
}
