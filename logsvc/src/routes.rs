//! Routes for people and their programs: a job's log as text, as a stream of events, line by line, and searched.

mod download;
pub(crate) mod lines;
mod outline;
mod range;
mod search;
mod stream;
mod text;

use axum::Router;
use axum::routing::get;
use serde::{Deserialize, Deserializer};

use crate::logs::Logs;

/// Routes for users.
pub(crate) fn router(logs: Logs) -> Router {
    Router::new()
        .route("/api/v1/jobs/{job}/log", get(text::log))
        .route("/api/v1/jobs/{job}/log.log", get(download::plain))
        .route("/api/v1/jobs/{job}/log.zst", get(download::packed))
        .route("/api/v1/jobs/{job}/log/stream", get(stream::stream))
        .route("/api/v1/jobs/{job}/log/lines", get(lines::lines))
        .route("/api/v1/jobs/{job}/log/outline", get(outline::outline))
        .route("/api/v1/jobs/{job}/log/search", get(search::search))
        .with_state(logs)
}

/// A switch in a query: `?ansi=1`, `?ansi=true` or just `?ansi`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("\"{other}\" is neither 1 nor 0"))),
    }
}
