//! What operators and their machines ask: is it alive, is it ready, how is it doing, which release is it.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::ApiState;

/// The release.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionJson {
    name: &'static str,
    version: &'static str,
}

/// The routes. None of them needs a token.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(version))
}

/// The process answers. Says nothing about what it depends on, so that nobody restarts it for that.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, body = String)))]
async fn livez() -> &'static str {
    "ok\n"
}

/// It can do its work. `?verbose` lists the checks.
#[utoipa::path(get, path = "/readyz", tag = "operations",
    params(("verbose" = Option<String>, Query, description = "List the checks")),
    responses((status = 200, body = String), (status = 503, body = String)))]
async fn readyz(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Response {
    state.ops().readiness(query.as_deref()).await
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
async fn metrics(State(state): State<ApiState>) -> Response {
    state.ops().exposition()
}

/// The release.
#[utoipa::path(get, path = "/version", tag = "operations", responses((status = 200, body = VersionJson)))]
async fn version() -> Json<VersionJson> {
    Json(VersionJson { name: "slipway", version: env!("CARGO_PKG_VERSION") })
}
