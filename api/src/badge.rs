//! `GET /badge/{project}.svg` and `.json`: the state of a project's newest finished build as a small picture, and as what
//! Shields draws one from (<https://shields.io/badges/endpoint-badge>).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::{Deserialize, Serialize};
use slipway_domain::build::BuildState;
use slipway_domain::ids::{BuildId, ProjectId};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::Scope;
use slipway_store::builds::BuildFilter;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Builds that are looked at for a finished one, at once and in all.
const PAGE: i64 = 50;
const LOOK_BACK: i64 = 500;
/// What the badge is about.
const LABEL: &str = "build";
/// Seconds for which Shields may keep an answer; it keeps none for less.
const SHIELDS_CACHE_SECS: u32 = 300;
/// Average width of a character of the badge's font at 11 px, in tenths of a pixel.
const CHAR_TENTHS: usize = 68;

/// What a badge says.
#[derive(Debug, Clone, Copy)]
struct Badge {
    word: &'static str,
    color: &'static str,
    is_error: bool,
}

/// A badge as Shields reads it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ShieldsBadge {
    /// Always 1.
    schema_version: u32,
    /// The left side.
    label: &'static str,
    /// The right side: `passing`, `failing`, `errored`, `cancelled`, `skipped` or `unknown`.
    message: &'static str,
    /// Of the right side.
    color: &'static str,
    /// Whether the build went wrong; whoever embeds the badge cannot give it another color then.
    is_error: bool,
    /// Seconds for which Shields may keep it.
    cache_seconds: u32,
}

/// How a badge is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Svg,
    Json,
}

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
    params(("project" = String, Path, description = "The project's id and `.svg`, or `.json` for the endpoint badge of Shields"),
        BadgeQuery),
    responses((status = 200, content((String = "image/svg+xml"), (ShieldsBadge = "application/json"))),
        (status = 404, body = ProblemDoc)))]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<BadgeQuery>,
) -> Result<Response, ApiError> {
    let (id, form) = parse(&name).ok_or_else(|| {
        ApiError::NotFound("There is no such badge; write /badge/<project id>.svg or .json.".to_owned())
    })?;
    let project = state.db.project(&caller.scope, id).await.or_problem()?;
    let badge = badge(newest_end(&state, &caller.scope, project.id, query.branch.as_deref()).await?);
    let cache = [(header::CACHE_CONTROL, "no-cache")];
    Ok(match form {
        Form::Svg => (cache, [(header::CONTENT_TYPE, "image/svg+xml")], svg(badge)).into_response(),
        Form::Json => (cache, Json(ShieldsBadge::from(badge))).into_response(),
    })
}

fn parse(name: &str) -> Option<(ProjectId, Form)> {
    let (id, ending) = name.rsplit_once('.')?;
    let form = match ending {
        "svg" => Form::Svg,
        "json" => Form::Json,
        _ => return None,
    };
    Some((id.parse().ok()?, form))
}

/// How the newest build that is over ended, of one branch or of all refs.
async fn newest_end(
    state: &ApiState,
    scope: &Scope,
    project: ProjectId,
    branch: Option<&str>,
) -> Result<Option<BuildState>, ApiError> {
    let ref_name = branch.map(|branch| format!("refs/heads/{branch}"));
    let mut before: Option<BuildId> = None;
    for _ in 0..LOOK_BACK / PAGE {
        let filter =
            BuildFilter { project: Some(project), ref_name: ref_name.clone(), before, limit: PAGE, state: None };
        let builds = state.db.list_builds(scope, &filter).await.or_problem()?;
        // The filter takes other refs, too, that end in the same name.
        let wanted = |git_ref: Option<&str>| ref_name.is_none() || git_ref == ref_name.as_deref();
        let mut wanted = builds.iter().filter(|build| wanted(build.git_ref.as_ref().map(|git_ref| git_ref.as_str())));
        if let Some(build) = wanted.find(|build| build.state.is_terminal()) {
            return Ok(Some(build.state));
        }
        before = builds.last().map(|build| build.id);
        if (builds.len() as i64) < PAGE {
            break;
        }
    }
    Ok(None)
}

fn badge(state: Option<BuildState>) -> Badge {
    let (word, color, is_error) = match state {
        Some(BuildState::Succeeded) => ("passing", "#2a7d3f", false),
        Some(BuildState::Failed) => ("failing", "#b3161b", true),
        Some(BuildState::Errored) => ("errored", "#8a4600", true),
        Some(BuildState::Cancelled | BuildState::Superseded) => ("cancelled", "#5c646e", false),
        Some(BuildState::Skipped) => ("skipped", "#5c646e", false),
        Some(BuildState::Pending | BuildState::Running) | None => ("unknown", "#9f9f9f", false),
    };
    Badge { word, color, is_error }
}

impl From<Badge> for ShieldsBadge {
    fn from(Badge { word, color, is_error }: Badge) -> Self {
        Self { schema_version: 1, label: LABEL, message: word, color, is_error, cache_seconds: SHIELDS_CACHE_SECS }
    }
}

/// The picture in the flat style of Shields; nothing in it comes from outside.
fn svg(Badge { word, color, .. }: Badge) -> String {
    let width = |text: &str| text.len() * CHAR_TENTHS / 10 + 12;
    let (left, right) = (width(LABEL), width(word));
    let (all, left_middle, right_middle) = (left + right, left / 2, left + right / 2);
    let text = |middle: usize, text: &str| {
        format!(
            "<text x=\"{middle}\" y=\"15\" fill=\"#010101\" fill-opacity=\".3\" aria-hidden=\"true\">{text}</text>\
             <text x=\"{middle}\" y=\"14\">{text}</text>"
        )
    };
    let (label, word_text) = (text(left_middle, LABEL), text(right_middle, word));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" \
         aria-label=\"{LABEL}: {word}\"><title>{LABEL}: {word}</title>\
         <linearGradient id=\"shade\" x2=\"0\" y2=\"100%\"><stop offset=\"0\" stop-color=\"#bbb\" stop-opacity=\".1\"/>\
         <stop offset=\"1\" stop-opacity=\".1\"/></linearGradient>\
         <clipPath id=\"corners\"><rect width=\"{all}\" height=\"20\" rx=\"3\"/></clipPath>\
         <g clip-path=\"url(#corners)\"><rect width=\"{left}\" height=\"20\" fill=\"#444\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{color}\"/>\
         <rect width=\"{all}\" height=\"20\" fill=\"url(#shade)\"/></g>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,Geneva,DejaVu Sans,sans-serif\" font-size=\"11\">\
         {label}{word_text}</g></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_and_unknown_is_grey() {
        let picture = |state| svg(badge(state));
        assert!(picture(None).contains("unknown") && picture(None).contains("#9f9f9f"));
        for state in BuildState::ALL {
            let (badge, picture) = (badge(Some(*state)), picture(Some(*state)));
            assert!(picture.starts_with("<svg") && picture.ends_with("</svg>"));
            assert!(picture.contains(badge.word) && picture.contains(badge.color), "{picture}");
            assert_eq!(badge.is_error, matches!(state, BuildState::Failed | BuildState::Errored));
        }
        assert!(picture(Some(BuildState::Succeeded)).contains("passing"));
    }

    #[test]
    fn shields_reads_what_is_told() {
        let told = |state| serde_json::to_value(ShieldsBadge::from(badge(state))).expect("JSON");
        let expected = serde_json::json!({"schemaVersion": 1, "label": "build", "message": "failing",
            "color": "#b3161b", "isError": true, "cacheSeconds": 300});
        assert_eq!(told(Some(BuildState::Failed)), expected);
        assert_eq!(told(None)["isError"], false);
    }

    #[test]
    fn names_of_badges() {
        let id = uuid::Uuid::nil();
        assert!(matches!(parse(&format!("{id}.svg")), Some((_, Form::Svg))));
        assert!(matches!(parse(&format!("{id}.json")), Some((_, Form::Json))));
        for name in [format!("{id}"), format!("{id}.png"), "x.svg".to_owned(), ".json".to_owned()] {
            assert!(parse(&name).is_none(), "{name}");
        }
    }
}
