//! What operators and their machines ask of every process: is it alive, is it ready, how is it doing, which
//! release is it. No token is needed.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use crate::health::{Health, is_ready, report};
use crate::lifecycle::Life;

/// What the answers are made of. Cheap to clone.
#[derive(Clone)]
pub struct Ops {
    /// What the process depends on.
    pub health: Health,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// A process that stops is not ready.
    pub life: Life,
}

/// The release.
#[derive(Debug, Serialize)]
pub struct Version {
    name: &'static str,
    version: &'static str,
}

impl Ops {
    /// `/livez`, `/readyz`, `/metrics` and `/version`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/version", get(|| async { Json(Version::own()) }))
            .with_state(self)
    }

    /// 200 or 503; `?verbose` tells of each dependency, and what else there is to say.
    pub async fn readiness(&self, query: Option<&str>) -> Response {
        let findings = self.health.examine().await;
        let stopping = self.life.is_stopping();
        let ready = is_ready(&findings) && !stopping;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let verdict = if ready { "ok\n" } else { "not ready\n" };
        let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
        if !verbose {
            return (status, verdict).into_response();
        }
        let stopping = if stopping { "not stopping failed\n" } else { "not stopping ok\n" };
        let remarks: String = self.health.remarks().into_iter().map(|remark| remark + "\n").collect();
        (status, format!("{}{remarks}{stopping}{verdict}", report(&findings))).into_response()
    }

    /// Prometheus' text format.
    pub fn exposition(&self) -> Response {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], self.metrics.render()).into_response()
    }
}

impl Version {
    /// This binary's.
    pub fn own() -> Self {
        Self { name: "slipway", version: env!("CARGO_PKG_VERSION") }
    }
}

async fn readyz(State(ops): State<Ops>, RawQuery(query): RawQuery) -> Response {
    ops.readiness(query.as_deref()).await
}

async fn metrics(State(ops): State<Ops>) -> Response {
    ops.exposition()
}
