//! `/builders`.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::builder::{BuilderState, Load};
use slipway_domain::ids::BuilderId;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::builders::BuilderView;

use crate::builders::{drain_builder, visible_builders};
use crate::caller::Caller;
use crate::pages::filters::unless_empty;
use crate::pages::fleet::Fleet;
use crate::pages::view::{Badge, Moment, builder_badge, moment};
use crate::pages::{Chrome, LIST_MS, render};
use crate::pool_history::history;
use crate::state::ApiState;
use crate::texts::Texts;
use slipway_domain::size::bytes;

#[derive(Template)]
#[template(path = "builders.html")]
struct BuildersPage {
    chrome: Chrome,
    builders: Vec<BuilderRow>,
    fleet: Fleet,
    may_drain: bool,
    public_url: String,
}

struct BuilderRow {
    id: BuilderId,
    badge: Badge,
    name: String,
    /// For operators only.
    release: Option<String>,
    pool: String,
    busy: i64,
    slots: i64,
    cpu: String,
    memory: String,
    disk_free: String,
    cache: String,
    not_taking: Option<String>,
    seen: Option<Moment>,
    can_drain: bool,
    drained: bool,
}

/// How far back the pictures go.
#[derive(Deserialize)]
pub struct BuildersQuery {
    #[serde(default, deserialize_with = "unless_empty")]
    hours: Option<i64>,
}

/// `GET /builders`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    QueryOf(query): QueryOf<BuildersQuery>,
) -> Result<Response, ApiError> {
    let builders = visible_builders(&state, caller).await?;
    let history = history(&state, caller, None, query.hours).await?;
    let (now, operator) = (state.clock.now(), caller.scope.is_operator());
    let texts = Texts::of(&headers);
    render(&BuildersPage {
        chrome: Chrome::new(&state, caller, &headers, "/builders").refreshed(LIST_MS),
        builders: builders.into_iter().map(|view| BuilderRow::new(view, operator, (now, texts))).collect(),
        fleet: Fleet::new(&history, query.hours, texts),
        may_drain: operator,
        public_url: state.config.url("/"),
    })
}

/// `POST /builders/{id}/drain`.
pub async fn drain(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuilderId>,
) -> Result<Response, ApiError> {
    drain_builder(&state, caller, id, true).await?;
    Ok(Redirect::to("/builders").into_response())
}

/// `POST /builders/{id}/resume`.
pub async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<BuilderId>,
) -> Result<Response, ApiError> {
    drain_builder(&state, caller, id, false).await?;
    Ok(Redirect::to("/builders").into_response())
}

impl BuilderRow {
    fn new(view: BuilderView, to_operator: bool, (now, texts): (DateTime<Utc>, Texts)) -> Self {
        let there = match view.state {
            BuilderState::Online | BuilderState::Draining | BuilderState::Suspect => true,
            BuilderState::Lost | BuilderState::Offline => false,
        };
        // What an absent builder said last is no news, and how a host does is for its operator.
        let shows_load = there && to_operator;
        let takes_nothing = shows_load && view.state == BuilderState::Online && view.load.not_taking.is_some();
        let load = |text: String| if shows_load { text } else { String::new() };
        Self {
            id: view.id,
            badge: match builder_badge(view.state) {
                // Green would say that all is well.
                online if takes_nothing => Badge { tone: "ours", ..online },
                badge => badge,
            },
            release: to_operator.then_some(view.release),
            name: view.name,
            pool: view.pool.to_string(),
            busy: view.busy,
            slots: view.slots,
            cpu: load(texts.t("builders-cpu-load").with("load", format!("{:.1}", view.load.cpu)).to_string()),
            memory: load(format!("{:.0} %", view.load.memory * 100.0)),
            disk_free: load(bytes(view.load.disk_free_bytes)),
            cache: load(cache(&view.load, texts)),
            not_taking: view.load.not_taking.filter(|_| shows_load),
            seen: moment(view.last_seen_at, now),
            can_drain: view.state == BuilderState::Online,
            drained: view.drained,
        }
    }
}

/// What its engine's cache knows, as far as it was told.
fn cache(load: &Load, texts: Texts) -> String {
    let projects =
        load.cached_projects.map(|count| texts.t("builders-cached-projects").with("count", count).to_string());
    let size = load.cache_bytes.map(bytes);
    projects.into_iter().chain(size).collect::<Vec<_>>().join(", ")
}
