//! `/queues`: the pools, and what waits in them for what.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use slipway_domain::build::BuildState;
use slipway_runtime::problem::ApiError;
use slipway_store::builds::BuildFilter;

use crate::builds::json::WaitingJson;
use crate::caller::Caller;
use crate::pages::view::{BuildRow, build_row};
use crate::pages::waiting_words::waiting_words;
use crate::pages::{Chrome, LIST_MS, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;

/// Waiting builds that are shown, the newest ones.
const WAITING: i64 = 50;

#[derive(Template)]
#[template(path = "queues.html")]
struct QueuesPage {
    chrome: Chrome,
    pools: Vec<PoolRow>,
    waiting: Vec<WaitingRow>,
    /// There are more than these.
    more: bool,
}

/// A build that waits.
struct WaitingRow {
    row: BuildRow,
    pool: String,
    reason: String,
    place: String,
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
    let filter = BuildFilter { state: Some(BuildState::Pending), limit: WAITING + 1, ..BuildFilter::default() };
    let mut views = state.db.list_build_views(&caller.scope, &filter).await.or_problem()?;
    let more = views.len() > WAITING as usize;
    views.truncate(WAITING as usize);
    let texts = Texts::of(&headers);
    let (now, told) = (state.clock.now(), state.db.now(&state.clock).await.or_problem()?);
    let jobs: Vec<_> = views.iter().flat_map(|view| view.jobs.iter().map(|job| &job.job)).collect();
    let mut waiting = state.db.waiting_jobs(&jobs, told).await.or_problem()?;
    let rows = views.iter().filter_map(|view| {
        let (job, waiting) = view.jobs.iter().find_map(|job| Some((job, waiting.remove(&job.job.id)?)))?;
        let waiting = WaitingJson::new(waiting, caller.scope.covers(view.build.tenant_id));
        Some(WaitingRow {
            row: build_row(&view.build, &view.project_name, now, texts),
            pool: job.job.pool.to_string(),
            reason: waiting_words(&waiting.reason, texts),
            place: waiting.position.map(|place| place.to_string()).unwrap_or_default(),
        })
    });
    let rows = rows.collect();
    render(&QueuesPage {
        waiting: rows,
        more,
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
