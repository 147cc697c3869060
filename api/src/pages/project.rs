//! `/projects/{id}`: builds, how to set up the webhook, settings.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::build::BuildState;
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
use crate::pages::filters::{Choice, build_states, href, unless_empty};
use crate::pages::trend::{TrendChart, trend};
use crate::pages::view::{BuildRow, build_row, forge_word};
use crate::pages::{Chrome, LIST_MS, render};
use crate::projects::webhook::ensure_webhook;
use crate::projects::{hook_urls, set_state};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;
use crate::words::searched;

/// Builds of one page.
const PER_PAGE: i64 = 25;

#[derive(Template)]
#[template(path = "project.html")]
struct ProjectPage {
    chrome: Chrome,
    project: ProjectFacts,
    builds: Vec<BuildRow>,
    filters: Filters,
    trend: Vec<TrendChart>,
    /// Where older builds are.
    older: Option<String>,
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
    /// The same as people call it.
    forge_name: &'static str,
    clone_url: String,
    /// Each with its stage and its tags, where they are not the usual ones.
    images: Vec<(String, Option<String>, Option<String>)>,
    public: bool,
    paused: bool,
    paused_reason: Option<String>,
    look_error: Option<String>,
    /// The key of what is set, and how.
    options: Vec<(&'static str, String)>,
}

/// The form above the builds.
struct Filters {
    ref_name: String,
    states: Vec<Choice>,
    /// Something is looked for.
    set: bool,
}

/// What is looked for; what is empty is not.
#[derive(Deserialize)]
pub struct ProjectQuery {
    #[serde(rename = "ref")]
    ref_name: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    state: Option<BuildState>,
    #[serde(default, deserialize_with = "unless_empty")]
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
    let query = ProjectQuery { ref_name: searched("ref", query.ref_name)?, ..query };
    let filter = BuildFilter {
        project: Some(id),
        state: query.state,
        ref_name: query.ref_name.clone(),
        before: query.cursor,
        limit: rows_for(PER_PAGE),
    };
    let rows = state.db.list_builds(&caller.scope, &filter).await.or_problem()?;
    let trend_builds = state.db.project_trend(id, query.ref_name.as_deref()).await.or_problem()?;
    let (now, texts) = (state.clock.now(), Texts::of(&headers));
    let page = PageOf::cut(
        rows,
        PER_PAGE,
        |build: &Build| build.id.to_string(),
        |build| build_row(&build, &project.name, now, texts),
    );
    let hooks = hook_urls(&state, caller, &project).await?;
    let setting_up = setting_up(&state, caller, &project).await?;
    let shows_options = caller.scope.covers(project.tenant_id);
    let look = if shows_options { state.db.look_view(id).await.or_problem()? } else { None };
    let look_error = look.and_then(|look| look.last_error);
    render(&ProjectPage {
        chrome: Chrome::new(&state, caller, &headers, "").refreshed(LIST_MS),
        may_build: caller.scope.may_write(project.tenant_id),
        project: ProjectFacts { look_error, ..ProjectFacts::new(project, shows_options, texts) },
        builds: page.items,
        filters: Filters {
            states: build_states(query.state, texts),
            set: query.ref_name.is_some() || query.state.is_some(),
            ref_name: query.ref_name.clone().unwrap_or_default(),
        },
        trend: trend(&trend_builds, now, texts),
        older: page.next_cursor.map(|cursor| query.href(id, &cursor)),
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

impl ProjectQuery {
    /// Where the same is looked for, from a cursor on.
    fn href(&self, project: ProjectId, cursor: &str) -> String {
        let state = self.state.map(BuildState::as_str);
        let fields = [("ref", self.ref_name.as_deref()), ("state", state), ("cursor", Some(cursor))];
        href(&format!("/projects/{project}"), &fields)
    }
}

impl ProjectFacts {
    fn new(project: Project, shows_options: bool, texts: Texts) -> Self {
        let images = project.images().into_iter().map(|ProjectImage { repository, tags, target }| {
            let tags = tags.filter(|tags| !tags.is_empty()).map(|tags| tags.join(", "));
            (repository, target, tags)
        });
        let images = images.collect();
        let options = if shows_options { option_words(&project, texts) } else { Vec::new() };
        Self {
            id: project.id,
            repo_path: project.repo_path,
            forge: project.forge.as_str(),
            forge_name: forge_word(project.forge),
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
        let target = target.as_ref().map(|target| format!(" [{target}]")).unwrap_or_default();
        let tags = tags.as_ref().map(|tags| format!(": {}", tags.join(", "))).unwrap_or_default();
        format!("{repository}{target}{tags}")
    });
    words.collect::<Vec<_>>().join("; ")
}

fn option_words(project: &Project, texts: Texts) -> Vec<(&'static str, String)> {
    let options: &BuildOptions = &project.options.0;
    let args = options
        .args
        .as_ref()
        .map(|args| args.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
    let network = options.network.map(|network| match network {
        NetworkMode::Default => texts.t("project-network-default").to_string(),
        NetworkMode::None => texts.t("project-network-none").to_string(),
    });
    let fetched = texts.t("project-fetched").to_string();
    [
        ("word-dockerfile", options.dockerfile.clone()),
        ("project-context", options.context.clone()),
        ("project-target", options.target.clone()),
        ("project-arguments", args),
        ("project-build-tags", options.tags.as_ref().map(|tags| tags.join(", "))),
        ("project-build-images", options.images.as_ref().map(|images| image_words(images))),
        ("project-bases", options.pull.filter(|on| *on).map(|_| texts.t("project-bases-asked").to_string())),
        ("project-submodules", options.submodules.filter(|on| *on).map(|_| fetched.clone())),
        ("project-lfs", options.lfs.filter(|on| *on).map(|_| fetched)),
        ("project-layer-cache", options.no_cache.filter(|off| *off).map(|_| texts.t("project-off").to_string())),
        ("project-all-stages", project.cache_repository.clone()),
        ("project-network", network),
        ("project-timeout", options.timeout_secs.map(|secs| format!("{secs} s"))),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|value| (key, value)))
    .collect()
}
