//! `/projects/{id}`: builds, how to set up the webhook, settings.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::git_ref::is_commit_id;
use slipway_domain::ids::{BuildId, ProjectId};
use slipway_domain::spec::{BuildOptions, ImageOptions, NetworkMode};
use slipway_domain::tenant::{ProjectState, Visibility};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::builds::{Build, BuildFilter};
use slipway_store::projects::{Project, ProjectImage};

use crate::builds::json::CreateBuild;
use crate::builds::make;
use crate::caller::Caller;
use crate::page_of::{PageOf, rows_for};
use crate::pages::chart::Chart;
use crate::pages::view::{BuildRow, build_row};
use crate::pages::{Chrome, LIST_MS, render};
use crate::projects::webhook::ensure_webhook;
use crate::projects::{hook_urls, set_state};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Builds of one page.
const PER_PAGE: i64 = 25;

#[derive(Template)]
#[template(path = "project.html")]
struct ProjectPage {
    chrome: Chrome,
    project: ProjectFacts,
    builds: Vec<BuildRow>,
    chart: Chart,
    next: Option<String>,
    hook_urls: Vec<String>,
    /// What is done about the webhook on the forge.
    setting_up: SettingUp,
    may_build: bool,
    public_url: String,
}

/// How the webhook gets to the forge.
#[derive(PartialEq, Eq)]
enum SettingUp {
    /// The connection's token can make it.
    Token,
    /// The App has one of its own.
    App,
    /// Somebody makes it by hand.
    Hand,
}

struct ProjectFacts {
    id: ProjectId,
    name: String,
    repo_path: String,
    forge: &'static str,
    clone_url: String,
    /// Each with its stage and its tags.
    images: Vec<(String, Option<String>, String)>,
    public: bool,
    paused: bool,
    paused_reason: Option<String>,
    look_error: Option<String>,
    options: Vec<(&'static str, String)>,
}

#[derive(Deserialize)]
pub struct ProjectQuery {
    cursor: Option<BuildId>,
}

#[derive(Deserialize)]
pub struct BuildForm {
    what: String,
}

/// `GET /projects/{id}`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    PathOf(id): PathOf<ProjectId>,
    QueryOf(query): QueryOf<ProjectQuery>,
) -> Result<Response, ApiError> {
    let project = state.db.project(&caller.scope, id).await.or_problem()?;
    let filter = BuildFilter { project: Some(id), state: None, before: query.cursor, limit: rows_for(PER_PAGE) };
    let rows = state.db.list_builds(&caller.scope, &filter).await.or_problem()?;
    let now = state.clock.now();
    let chart = Chart::new(&rows, now);
    let page = PageOf::cut(
        rows,
        PER_PAGE,
        |build: &Build| build.id.to_string(),
        |build| build_row(&build, &project.name, now),
    );
    let hooks = hook_urls(&state, caller, &project).await?;
    let setting_up = setting_up(&state, caller, &project).await?;
    let shows_options = caller.scope.covers(project.tenant_id);
    let look = if shows_options { state.db.look_view(id).await.or_problem()? } else { None };
    let look_error = look.and_then(|look| look.last_error);
    render(&ProjectPage {
        chrome: Chrome::new(&state, caller, &headers, "").refreshed(LIST_MS),
        may_build: caller.scope.may_write(project.tenant_id),
        project: ProjectFacts { look_error, ..ProjectFacts::new(project, shows_options) },
        builds: page.items,
        chart,
        next: page.next_cursor,
        setting_up,
        hook_urls: hooks.into_iter().map(|(_, url)| url).collect(),
        public_url: state.config.url("/"),
    })
}

/// `POST /projects/{id}/build`.
pub async fn build(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
    Form(form): Form<BuildForm>,
) -> Result<Response, ApiError> {
    let what = form.what.trim().to_owned();
    let is_commit = is_commit_id(&what);
    let body = CreateBuild {
        git_ref: if is_commit { None } else { Some(what.clone()) },
        commit: if is_commit { Some(what) } else { None },
        build: BuildOptions::default(),
    };
    let build = make::manual(&state, caller, id, body, None).await?;
    Ok(Redirect::to(&format!("/builds/{build}")).into_response())
}

async fn setting_up(state: &ApiState, caller: Caller, project: &Project) -> Result<SettingUp, ApiError> {
    if !caller.scope.may_write(project.tenant_id) {
        return Ok(SettingUp::Hand);
    }
    let connection = state.db.connection(&caller.scope, project.connection_id).await.or_problem()?;
    Ok(match (connection.github_app_id, connection.has_token) {
        (Some(_), _) => SettingUp::App,
        (None, true) => SettingUp::Token,
        (None, false) => SettingUp::Hand,
    })
}

/// `POST /projects/{id}/webhook`.
pub async fn webhook(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Response, ApiError> {
    ensure_webhook(&state, caller, id).await?;
    Ok(Redirect::to(&format!("/projects/{id}")).into_response())
}

/// `POST /projects/{id}/pause`.
pub async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Response, ApiError> {
    set_state(&state, caller, id, ProjectState::Paused).await?;
    Ok(Redirect::to(&format!("/projects/{id}")).into_response())
}

/// `POST /projects/{id}/resume`.
pub async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Response, ApiError> {
    set_state(&state, caller, id, ProjectState::Active).await?;
    Ok(Redirect::to(&format!("/projects/{id}")).into_response())
}

impl ProjectFacts {
    fn new(project: Project, shows_options: bool) -> Self {
        let images = project.images().into_iter().map(|ProjectImage { repository, tags, target }| {
            let tags = tags.filter(|tags| !tags.is_empty()).map(|tags| tags.join(", "));
            (repository, target, tags.unwrap_or_else(|| "the commit id, and the branch or tag".to_owned()))
        });
        let images = images.collect();
        let options = if shows_options { option_words(&project) } else { Vec::new() };
        Self {
            id: project.id,
            repo_path: project.repo_path,
            forge: project.forge.as_str(),
            clone_url: project.clone_url,
            images,
            public: project.visibility == Visibility::Public,
            paused: project.state == ProjectState::Paused,
            paused_reason: project.paused_reason,
            look_error: None,
            options,
            name: project.name,
        }
    }
}

fn image_words(images: &[ImageOptions]) -> String {
    let words = images.iter().map(|ImageOptions { repository, target, tags }| {
        let target = target.as_ref().map(|target| format!(" of {target}")).unwrap_or_default();
        let tags = tags.as_ref().map(|tags| format!(" as {}", tags.join(", "))).unwrap_or_default();
        format!("{repository}{target}{tags}")
    });
    words.collect::<Vec<_>>().join("; ")
}

fn option_words(project: &Project) -> Vec<(&'static str, String)> {
    let options: &BuildOptions = &project.options.0;
    let args = options
        .args
        .as_ref()
        .map(|args| args.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
    let network = options.network.map(|network| match network {
        NetworkMode::Default => "the engine's default".to_owned(),
        NetworkMode::None => "none".to_owned(),
    });
    [
        ("Dockerfile", options.dockerfile.clone()),
        ("Context", options.context.clone()),
        ("Target", options.target.clone()),
        ("Arguments", args),
        ("Build tags", options.tags.as_ref().map(|tags| tags.join(", "))),
        ("Build images", options.images.as_ref().map(|images| image_words(images))),
        ("Base images", options.pull.filter(|on| *on).map(|_| "asked for at every build".to_owned())),
        ("Submodules", options.submodules.filter(|on| *on).map(|_| "fetched".to_owned())),
        ("LFS files", options.lfs.filter(|on| *on).map(|_| "fetched".to_owned())),
        ("Layer cache", options.no_cache.filter(|off| *off).map(|_| "off".to_owned())),
        ("Layers of all stages", project.cache_repository.clone()),
        ("Network of RUN", network),
        ("Timeout", options.timeout_secs.map(|secs| format!("{secs} s"))),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|value| (key, value)))
    .collect()
}
