//! `/deliveries`.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{BuildId, DeliveryId, ProjectId};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::deliveries::{DeliveryFilter, DeliveryView};
use slipway_store::scope::Scope;

use crate::caller::Caller;
use crate::deliveries::replay_delivery;
use crate::page_of::{PageOf, rows_for};
use crate::pages::view::{Badge, Moment, delivery_badge, moment};
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Deliveries of one page.
const PER_PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    chrome: Chrome,
    deliveries: Vec<DeliveryRow>,
    may_replay: bool,
    next: Option<String>,
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

#[derive(Deserialize)]
pub struct DeliveriesQuery {
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
    let filter = DeliveryFilter { project: None, state: None, before: query.cursor, limit: rows_for(PER_PAGE) };
    let rows = state.db.list_deliveries(&caller.scope, &filter).await.or_problem()?;
    let names = project_names(&state, caller, &rows).await?;
    let now = state.clock.now();
    let row = |view: DeliveryView| DeliveryRow {
        id: view.delivery.id,
        badge: delivery_badge(view.delivery.state),
        project: view.delivery.project_id,
        project_name: names.get(&view.delivery.project_id).cloned().unwrap_or_default(),
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
    let chrome = Chrome::new(&state, caller, &headers, "/deliveries").refreshed(LIST_MS);
    render(&DeliveriesPage { chrome, deliveries: page.items, may_replay, next: page.next_cursor })
}

/// `POST /deliveries/{id}/replay`.
pub async fn replay(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<DeliveryId>,
) -> Result<Response, ApiError> {
    replay_delivery(&state, caller, id).await?;
    Ok(Redirect::to("/deliveries").into_response())
}

async fn project_names(
    state: &ApiState,
    caller: Caller,
    rows: &[DeliveryView],
) -> Result<BTreeMap<ProjectId, String>, ApiError> {
    let wanted: BTreeSet<ProjectId> = rows.iter().map(|view| view.delivery.project_id).collect();
    let mut names = BTreeMap::new();
    for id in wanted {
        names.insert(id, state.db.project(&caller.scope, id).await.or_problem()?.name);
    }
    Ok(names)
}
