//! `/deliveries`: all of them, or those of a project or in a state.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{BuildId, DeliveryId, ProjectId};
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::deliveries::{DeliveryFilter, DeliveryView};
use slipway_store::scope::Scope;

use crate::caller::Caller;
use crate::deliveries::project_names;
use crate::page_of::{PageOf, rows_for};
use crate::pages::filters::unless_empty;
use crate::pages::view::{Badge, Moment, delivery_badge, moment};
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;

/// Deliveries of one page.
const PER_PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    chrome: Chrome,
    deliveries: Vec<DeliveryRow>,
    may_replay: bool,
    is_filtered: bool,
    states: Vec<FilterLink>,
    projects: Vec<FilterLink>,
    older: Option<String>,
}

struct DeliveryRow {
    id: DeliveryId,
    badge: Badge,
    project: ProjectId,
    project_name: String,
    event: String,
    received: Option<Moment>,
    reason: String,
    builds: Vec<BuildId>,
    can_replay: bool,
}

struct FilterLink {
    word: String,
    href: String,
    /// It leads to what is shown.
    here: bool,
}

/// Which ones; what is empty is not asked for.
#[derive(Clone, Copy, Deserialize)]
pub struct DeliveriesQuery {
    #[serde(default, deserialize_with = "unless_empty")]
    project: Option<ProjectId>,
    #[serde(default, deserialize_with = "unless_empty")]
    state: Option<DeliveryState>,
    #[serde(default, deserialize_with = "unless_empty")]
    cursor: Option<DeliveryId>,
}

/// `GET /deliveries`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    QueryOf(query): QueryOf<DeliveriesQuery>,
) -> Result<Response, ApiError> {
    caller.signed_in()?;
    let filter =
        DeliveryFilter { project: query.project, state: query.state, before: query.cursor, limit: rows_for(PER_PAGE) };
    let rows = state.db.list_deliveries(&caller.scope, &filter).await.or_problem()?;
    let mut names = project_names(&state, caller, &rows).await;
    if let Some(id) = query.project {
        names = BTreeMap::from([(id, state.db.project(&caller.scope, id).await.or_problem()?.name)]);
    }
    let (now, texts) = (state.clock.now(), Texts::of(&headers));
    let row = |view: DeliveryView| DeliveryRow {
        id: view.delivery.id,
        badge: delivery_badge(view.delivery.state),
        project: view.delivery.project_id,
        project_name: names
            .get(&view.delivery.project_id)
            .cloned()
            .unwrap_or_else(|| texts.t("deliveries-unreadable").to_string()),
        event: view.delivery.event,
        received: moment(Some(view.delivery.received_at), now),
        reason: view.delivery.reason.unwrap_or_default(),
        builds: view.builds,
        can_replay: view.delivery.state != DeliveryState::Received,
    };
    let page = PageOf::cut(rows, PER_PAGE, |view: &DeliveryView| view.delivery.id.to_string(), row);
    let may_replay = match caller.scope {
        Scope::Operator => true,
        Scope::Member { tenant, .. } => caller.scope.may_write(tenant),
        Scope::Public => false,
    };
    render(&DeliveriesPage {
        chrome: Chrome::new(&state, caller, &headers, "/deliveries").refreshed(LIST_MS),
        deliveries: page.items,
        may_replay,
        is_filtered: query.project.is_some() || query.state.is_some() || query.cursor.is_some(),
        states: query.by_state(texts),
        projects: query.by_project(&names, texts),
        older: page.next_cursor.map(|cursor| query.href(Some(cursor))),
    })
}

impl DeliveriesQuery {
    /// Where these deliveries are shown, from a cursor on.
    fn href(self, cursor: Option<String>) -> String {
        let parts = [
            ("project", self.project.map(|id| id.to_string())),
            ("state", self.state.map(|state| state.to_string())),
            ("cursor", cursor),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let query = parts.collect::<Vec<_>>().join("&");
        if query.is_empty() { "/deliveries".to_owned() } else { format!("/deliveries?{query}") }
    }

    fn by_state(self, texts: Texts) -> Vec<FilterLink> {
        let all = std::iter::once(None).chain(DeliveryState::ALL.iter().copied().map(Some));
        let link = |state: Option<DeliveryState>| FilterLink {
            word: texts.t(state.map_or("deliveries-all", |state| delivery_badge(state).key)).to_string(),
            href: Self { state, ..self }.href(None),
            here: state == self.state,
        };
        all.map(link).collect()
    }

    fn by_project(self, names: &BTreeMap<ProjectId, String>, texts: Texts) -> Vec<FilterLink> {
        let mut named: Vec<(Option<ProjectId>, &str)> =
            names.iter().map(|(id, name)| (Some(*id), name.as_str())).collect();
        named.sort_by_key(|(_, name)| *name);
        let link = |(project, name): (Option<ProjectId>, &str)| FilterLink {
            word: name.to_owned(),
            href: Self { project, ..self }.href(None),
            here: project == self.project,
        };
        let all = texts.t("deliveries-all").to_string();
        std::iter::once((None, all.as_str())).chain(named).map(link).collect()
    }
}
