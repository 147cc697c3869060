//! Pools and their queues.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use slipway_runtime::problem::ApiError;
use slipway_store::queues::PoolStatus;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::page_of::PageOf;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// A pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolJson {
    /// `region/class/platform`.
    pool: String,
    region: String,
    class: String,
    platform: String,
    /// Jobs that wait for the scheduler.
    queued: i64,
    /// Jobs that are admitted and wait for a builder.
    ready: i64,
    /// Jobs on a builder.
    running: i64,
    /// Builders with an open session.
    builders: i64,
    /// Jobs that these would take now.
    free: i64,
}

impl From<PoolStatus> for PoolJson {
    fn from(status: PoolStatus) -> Self {
        Self {
            pool: status.pool.to_string(),
            region: status.pool.region,
            class: status.pool.class,
            platform: status.pool.platform,
            queued: status.queued,
            ready: status.ready,
            running: status.running,
            builders: status.builders,
            free: status.free,
        }
    }
}

/// The routes of this noun.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Every pool that has jobs or builders.
#[utoipa::path(get, path = "/api/v1/pools", tag = "builders", responses((status = 200, body = PageOf<PoolJson>)))]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<PageOf<PoolJson>>, ApiError> {
    caller.signed_in()?;
    let pools = state.db.pools().await.or_problem()?;
    Ok(Json(PageOf::whole(pools.into_iter().map(PoolJson::from).collect())))
}
