//! `/queues`.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use slipway_runtime::problem::ApiError;

use crate::caller::Caller;
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

#[derive(Template)]
#[template(path = "queues.html")]
struct QueuesPage {
    chrome: Chrome,
    pools: Vec<PoolRow>,
}

struct PoolRow {
    pool: String,
    queued: i64,
    ready: i64,
    running: i64,
    builders: i64,
    free: i64,
    stuck: bool,
}

/// `GET /queues`.
pub async fn page(State(state): State<ApiState>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    caller.signed_in()?;
    let pools = state.db.pools().await.or_problem()?;
    render(&QueuesPage {
        chrome: Chrome::new(&state, caller, &headers, "/queues").refreshed(LIST_MS),
        pools: pools
            .into_iter()
            .map(|status| PoolRow {
                pool: status.pool.to_string(),
                queued: status.queued,
                ready: status.ready,
                running: status.running,
                builders: status.builders,
                free: status.free,
                stuck: status.builders == 0 && status.queued + status.ready > 0,
            })
            .collect(),
    })
}
