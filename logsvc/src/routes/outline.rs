//! `GET /api/v1/jobs/{id}/log/outline`: how many lines a log has, and which step wrote how many of them.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::JobId;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};

use crate::access;
use crate::follow::state_word;
use crate::index::{StepLines, index};
use crate::logs::Logs;
use crate::problem::store_problem;
use crate::reader;

/// Which attempt's.
#[derive(Debug, Deserialize)]
pub(super) struct OutlineQuery {
    epoch: Option<i64>,
}

/// A log at a glance.
#[derive(Debug, Default, Serialize)]
pub(super) struct OutlineAnswer {
    epoch: i64,
    /// The job's newest attempt.
    newest: i64,
    /// `live`, `complete`, `cut`, `damaged` or `none`.
    state: &'static str,
    /// Lines that have begun.
    lines: i64,
    /// Bytes so far; where the stream goes on.
    end: i64,
    /// In the order in which they came first.
    steps: Vec<StepLines>,
}

pub(super) async fn outline(
    State(logs): State<Logs>,
    PathOf(job): PathOf<JobId>,
    QueryOf(query): QueryOf<OutlineQuery>,
    headers: HeaderMap,
) -> Result<Json<OutlineAnswer>, ApiError> {
    let scope = access::scope(&logs, &headers).await?;
    let view = logs.db().log_view(&scope, job, query.epoch).await.map_err(store_problem)?;
    let newest = view.newest_epoch;
    let Some(log) = view.log else {
        return Ok(Json(OutlineAnswer { newest, state: "none", ..OutlineAnswer::default() }));
    };
    let end = reader::readable_end(&logs, &log);
    let index = index(&logs, &log, end).await?;
    Ok(Json(OutlineAnswer {
        epoch: log.epoch,
        newest,
        state: state_word(&log),
        lines: index.lines(),
        end: index.end(),
        steps: index.steps().to_vec(),
    }))
}
