//! The web pages: HTML from templates, the same store calls as the API, forms instead of scripts.

mod about;
mod build;
mod builders;
pub(crate) mod chart;
mod choice;
mod comparison;
mod deliveries;
mod delivery;
mod escape;
mod event_words;
mod failure_words;
mod filters;
mod fleet;
mod github_apps;
mod home;
mod language;
mod layers;
mod log_frame;
mod login;
mod problem;
mod project;
mod queues;
mod remarks;
mod theme;
mod timeline;
mod trend;
mod view;
mod waiting_words;

use askama::Template;
use axum::Router;
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::HeaderMap;
use slipway_runtime::problem::ApiError;
use slipway_runtime::web_session::{PLAIN_COOKIE, web_session};

use crate::caller::{self, Caller};
use crate::pages::theme::Theme;
use crate::state::ApiState;
use crate::texts::{Text, Texts};
use crate::words::Ago;

/// How often a page that shows running work fetches itself.
const LIVE_MS: u32 = 1500;
/// How often a list does.
const LIST_MS: u32 = 5000;

/// What every page's frame needs.
#[derive(Debug, Clone)]
pub struct Chrome {
    signed_in: bool,
    unsafe_cookie: bool,
    here: &'static str,
    refresh_ms: u32,
    version: &'static str,
    texts: Texts,
    theme: Theme,
    /// Where the choice of a language or a theme leads, if not back to this page.
    return_to: Option<String>,
}

impl Chrome {
    fn new(state: &ApiState, caller: Caller, headers: &HeaderMap, here: &'static str) -> Self {
        let secure = caller::is_secure(headers, &state.config.public_url);
        let plain_session = web_session(headers).is_some() && headers_name_plain_cookie(headers);
        Self {
            signed_in: caller.signed_in().is_ok(),
            unsafe_cookie: !secure && (plain_session || here == "/login"),
            here,
            refresh_ms: 0,
            version: env!("CARGO_PKG_VERSION"),
            texts: Texts::of(headers),
            theme: Theme::of(headers),
            return_to: None,
        }
    }

    /// The text with this key, in the reader's language.
    fn t<'a>(&self, key: &'a str) -> Text<'a> {
        self.texts.t(key)
    }

    /// How long ago, in words.
    fn ago(&self, ago: &Ago) -> String {
        ago.told(self.texts)
    }

    fn refreshed(mut self, every_ms: u32) -> Self {
        self.refresh_ms = every_ms;
        self
    }
}

fn headers_name_plain_cookie(headers: &HeaderMap) -> bool {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(PLAIN_COOKIE))
}

/// All pages. Problems are shown as pages too.
pub fn routes(state: &ApiState) -> Router<ApiState> {
    Router::new()
        .route("/", get(home::page))
        .route("/login", get(login::page).post(login::submit))
        .route("/logout", post(login::logout))
        .route("/projects/{id}", get(project::page))
        .route("/projects/{id}/build", post(project::build))
        .route("/projects/{id}/webhook", post(project::webhook))
        .route("/projects/{id}/pause", post(project::pause))
        .route("/projects/{id}/resume", post(project::resume))
        .route("/builds/{id}", get(build::page))
        .route("/builds/{id}/approve", post(build::approve))
        .route("/builds/{id}/cancel", post(build::cancel))
        .route("/builds/{id}/retry", post(build::retry))
        .route("/builders", get(builders::page))
        .route("/builders/{id}/drain", post(builders::drain))
        .route("/builders/{id}/resume", post(builders::resume))
        .route("/github-apps", get(github_apps::page))
        .route("/github-apps/new", get(github_apps::new))
        .route("/github-apps/made", get(github_apps::made))
        .route("/github-apps/installed/{id}", get(github_apps::installed))
        .route("/language", post(language::submit))
        .route("/theme", post(theme::submit))
        .route("/queues", get(queues::page))
        .route("/deliveries", get(deliveries::page))
        .route("/deliveries/{id}", get(delivery::page))
        .route("/deliveries/{id}/replay", post(delivery::replay))
        .layer(middleware::from_fn_with_state(state.clone(), caller::identify))
        .layer(middleware::from_fn_with_state(state.clone(), problem::as_page))
}

fn render(page: &impl Template) -> Result<Response, ApiError> {
    let html = page.render().map_err(ApiError::internal)?;
    Ok(Html(html).into_response())
}
