//! `/`: the projects with their last builds, all or those that are looked for.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::build::BuildState;
use slipway_domain::builder::BuilderState;
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::ProjectId;
use slipway_domain::tenant::{ProjectState, Visibility};
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::builds::BuildFilter;
use slipway_store::projects::{Project, ProjectFilter};

use crate::builders::visible_builders;
use crate::caller::Caller;
use crate::page_of::{PageOf, rows_for};
use crate::pages::chart::Chart;
use crate::pages::filters::{Choice, build_states, choices, href, unless_empty};
use crate::pages::view::{BuildRow, build_row, forge_word};
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;
use crate::words::searched;

/// Projects of one page.
const PER_PAGE: i64 = 50;
/// Builds of a project that are drawn.
const CHARTED: i64 = 20;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    chrome: Chrome,
    projects: Vec<ProjectRow>,
    filters: Filters,
    /// Where the next projects are.
    more: Option<String>,
    /// How many builders take jobs, where there is no project yet.
    builders_online: usize,
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

/// The form above the projects.
struct Filters {
    q: String,
    builds: Vec<Choice>,
    forges: Vec<Choice>,
    visibilities: Vec<Choice>,
    states: Vec<Choice>,
    /// Something is looked for.
    set: bool,
    /// The first page is shown.
    first: bool,
}

/// What is looked for; what is empty is not.
#[derive(Deserialize)]
pub struct HomeQuery {
    q: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    build: Option<BuildState>,
    #[serde(default, deserialize_with = "unless_empty")]
    forge: Option<ForgeKind>,
    #[serde(default, deserialize_with = "unless_empty")]
    visibility: Option<Visibility>,
    #[serde(default, deserialize_with = "unless_empty")]
    state: Option<ProjectState>,
    #[serde(default, deserialize_with = "unless_empty")]
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
    let query = HomeQuery { q: searched("q", query.q)?, ..query };
    let rows = state.db.list_projects(&caller.scope, &query.filter()).await.or_problem()?;
    let page = PageOf::<Project>::cut(rows, PER_PAGE, |project| project.id.to_string(), |project| project);
    let (now, texts) = (state.clock.now(), Texts::of(&headers));
    let mut projects = Vec::with_capacity(page.items.len());
    for project in page.items {
        let filter = BuildFilter { project: Some(project.id), limit: CHARTED, ..BuildFilter::default() };
        let last = state.db.list_builds(&caller.scope, &filter).await.or_problem()?;
        projects.push(ProjectRow {
            id: project.id,
            public: project.visibility == Visibility::Public,
            paused: project.state == ProjectState::Paused,
            last: last.first().map(|build| build_row(build, &project.name, now, texts)),
            chart: Chart::new(&last, now, texts),
            name: project.name,
        });
    }
    let filters = Filters::new(&query, texts);
    let is_new = projects.is_empty() && !filters.set && filters.first;
    render(&HomePage {
        builders_online: if is_new { builders_online(&state, caller).await? } else { 0 },
        chrome: Chrome::new(&state, caller, &headers, "/").refreshed(LIST_MS),
        projects,
        filters,
        more: page.next_cursor.map(|cursor| query.href(&cursor)),
        public_url: state.config.url("/"),
    })
}

async fn builders_online(state: &ApiState, caller: Caller) -> Result<usize, ApiError> {
    let builders = visible_builders(state, caller).await?;
    Ok(builders.iter().filter(|builder| builder.state == BuilderState::Online).count())
}

impl HomeQuery {
    fn filter(&self) -> ProjectFilter {
        ProjectFilter {
            text: self.q.clone(),
            last_build: self.build,
            forge: self.forge,
            visibility: self.visibility,
            state: self.state,
            after: self.cursor,
            limit: rows_for(PER_PAGE),
        }
    }

    /// Where the same is looked for, from a cursor on.
    fn href(&self, cursor: &str) -> String {
        let fields = [
            ("q", self.q.as_deref()),
            ("build", self.build.map(BuildState::as_str)),
            ("forge", self.forge.map(ForgeKind::as_str)),
            ("visibility", self.visibility.map(Visibility::as_str)),
            ("state", self.state.map(ProjectState::as_str)),
            ("cursor", Some(cursor)),
        ];
        href("/", &fields)
    }
}

impl Filters {
    fn new(query: &HomeQuery, texts: Texts) -> Self {
        let HomeQuery { q, build, forge, visibility, state, cursor } = query;
        let seen_by = |visibility| match visibility {
            Visibility::Private => "home-private",
            Visibility::Public => "home-public",
        };
        let stands = |state| match state {
            ProjectState::Active => "home-active",
            ProjectState::Paused => "home-paused",
        };
        Self {
            q: q.clone().unwrap_or_default(),
            builds: build_states(*build, texts),
            forges: choices(ForgeKind::ALL, *forge, |forge| (forge.as_str(), forge_word(forge).to_owned())),
            visibilities: choices(Visibility::ALL, *visibility, |it| (it.as_str(), texts.t(seen_by(it)).to_string())),
            states: choices(ProjectState::ALL, *state, |it| (it.as_str(), texts.t(stands(it)).to_string())),
            set: q.is_some() || build.is_some() || forge.is_some() || visibility.is_some() || state.is_some(),
            first: cursor.is_none(),
        }
    }
}
