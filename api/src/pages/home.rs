//! `/`: the projects with their last builds.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::ids::ProjectId;
use slipway_domain::tenant::{ProjectState, Visibility};
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::builds::BuildFilter;
use slipway_store::projects::{Project, ProjectFilter};

use crate::caller::Caller;
use crate::page_of::{PageOf, rows_for};
use crate::pages::chart::Chart;
use crate::pages::view::{BuildRow, build_row};
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Projects of one page.
const PER_PAGE: i64 = 50;
/// Builds of a project that are drawn.
const CHARTED: i64 = 20;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    chrome: Chrome,
    projects: Vec<ProjectRow>,
    next: Option<String>,
    public_url: String,
}

struct ProjectRow {
    id: ProjectId,
    name: String,
    public: bool,
    paused: bool,
    last: Option<BuildRow>,
    chart: Chart,
}

#[derive(Deserialize)]
pub struct HomeQuery {
    cursor: Option<ProjectId>,
}

/// `GET /`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    QueryOf(query): QueryOf<HomeQuery>,
) -> Result<Response, ApiError> {
    caller.signed_in()?;
    let filter = ProjectFilter { after: query.cursor, limit: rows_for(PER_PAGE) };
    let rows = state.db.list_projects(&caller.scope, &filter).await.or_problem()?;
    let page = PageOf::<Project>::cut(rows, PER_PAGE, |project| project.id.to_string(), |project| project);
    let now = state.clock.now();
    let mut projects = Vec::with_capacity(page.items.len());
    for project in page.items {
        let filter = BuildFilter { project: Some(project.id), state: None, before: None, limit: CHARTED };
        let last = state.db.list_builds(&caller.scope, &filter).await.or_problem()?;
        projects.push(ProjectRow {
            id: project.id,
            public: project.visibility == Visibility::Public,
            paused: project.state == ProjectState::Paused,
            last: last.first().map(|build| build_row(build, &project.name, now)),
            chart: Chart::new(&last, now),
            name: project.name,
        });
    }
    let chrome = Chrome::new(&state, caller, &headers, "/").refreshed(LIST_MS);
    render(&HomePage { chrome, projects, next: page.next_cursor, public_url: state.config.url("/") })
}
