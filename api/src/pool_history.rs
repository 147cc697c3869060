//! How full the pools were over the last hours: slots against demand.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_domain::placement::Pool;
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_store::fleet_samples::{FleetSample, KEPT, SampleFilter, minute_of};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::openapi::ProblemDoc;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Hours that are shown unless the caller says otherwise.
pub const USUAL_HOURS: i64 = 6;
/// Points of a pool at most; of more minutes some become one.
const MOST_POINTS: i64 = 180;

/// Which part of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Only this pool, `region/class/platform`.
    pool: Option<String>,
    /// 1 to 168; 6 unless set.
    hours: Option<i64>,
}

/// A pool over time.
#[derive(Debug, Serialize, ToSchema)]
struct PoolHistoryJson {
    /// `region/class/platform`.
    pool: String,
    /// The oldest first; minutes in which there were neither jobs nor builders, or nobody looked, are left out.
    points: Vec<PointJson>,
}

/// Some minutes of a pool: the fewest slots and the most jobs of them.
#[derive(Debug, Serialize, ToSchema)]
struct PointJson {
    /// When they began.
    at: DateTime<Utc>,
    /// How many they are.
    minutes: i64,
    /// Jobs that its builders could run at once; those that drain do not count.
    slots: i64,
    /// Jobs on a builder.
    running: i64,
    /// Jobs on a builder, and those that waited for one.
    wanted: i64,
}

/// A part of the past, for pages too.
#[derive(Debug)]
pub struct History {
    /// The first minute, counted since 1970; a multiple of `step`.
    pub since: i64,
    /// The last one.
    pub until: i64,
    /// Minutes of one sample.
    pub step: i64,
    /// By pool and time.
    pub samples: Vec<FleetSample>,
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Slots against demand of every pool over the last hours, as far as it is kept: a week.
#[utoipa::path(get, path = "/api/v1/pools/history", tag = "builders", params(HistoryQuery), responses(
    (status = 200, body = PageOf<PoolHistoryJson>),
    (status = 422, body = ProblemDoc),
))]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<HistoryQuery>,
) -> Result<Json<PageOf<PoolHistoryJson>>, ApiError> {
    let pool = query.pool.map(|pool| pool.parse::<Pool>()).transpose();
    let pool = pool.map_err(|error| ApiError::Invalid(format!("pool: {error}.")))?;
    let history = history(&state, caller, pool, query.hours).await?;
    let mut pools: Vec<PoolHistoryJson> = Vec::new();
    for sample in &history.samples {
        let pool = sample.pool.to_string();
        let point = PointJson {
            at: DateTime::from_timestamp(sample.minute.saturating_mul(60), 0).unwrap_or_default(),
            minutes: history.step,
            slots: sample.slots,
            running: sample.running,
            wanted: sample.wanted,
        };
        match pools.last_mut().filter(|last| last.pool == pool) {
            Some(last) => last.points.push(point),
            None => pools.push(PoolHistoryJson { pool, points: vec![point] }),
        }
    }
    Ok(Json(PageOf::whole(pools)))
}

/// What is kept of the last hours; shared with the pages.
pub async fn history(
    state: &ApiState,
    caller: Caller,
    pool: Option<Pool>,
    hours: Option<i64>,
) -> Result<History, ApiError> {
    caller.signed_in()?;
    let hours = hours.unwrap_or(USUAL_HOURS);
    if !(1..=KEPT.num_hours()).contains(&hours) {
        return Err(ApiError::Invalid(format!("hours must be 1 to {}; it is {hours}.", KEPT.num_hours())));
    }
    let until = minute_of(state.db.now(&state.clock).await.or_problem()?);
    let step = (hours * 60 + MOST_POINTS - 1) / MOST_POINTS;
    let since = (until - hours * 60) / step * step;
    let samples = state.db.fleet_samples(&SampleFilter { pool, since, step }).await.or_problem()?;
    Ok(History { since, until, step, samples })
}
