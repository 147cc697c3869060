//! What operators and their machines ask: is it alive, is it ready, how is it doing, which release is it.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
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
    let database = state.db.ping().await;
    if let Err(error) = &database {
        tracing::warn!(error = %error, "not ready: the database does not answer");
    }
    let stopping = state.life.is_stopping();
    let status = if database.is_ok() && !stopping { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verdict = if status == StatusCode::OK { "ok\n" } else { "not ready\n" };
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    if !verbose {
        return (status, verdict).into_response();
    }
    let mark = |ok: bool| if ok { "ok" } else { "failed" };
    let list = format!("database {}\nnot stopping {}\n{verdict}", mark(database.is_ok()), mark(!stopping));
    (status, list).into_response()
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
async fn metrics(State(state): State<ApiState>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.render()).into_response()
}

/// The release.
#[utoipa::path(get, path = "/version", tag = "operations", responses((status = 200, body = VersionJson)))]
async fn version() -> Json<VersionJson> {
    Json(VersionJson { name: "slipway", version: env!("CARGO_PKG_VERSION") })
}
