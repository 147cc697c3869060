//! `GET /api/v1/jobs/{id}/log/outline`: how many lines a log has, and which step wrote how many of them.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::JobId;
use slipway_logfmt::groups::Group;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};

use crate::access;
use crate::follow::state_word;
use crate::index::{StepLines, index};
use crate::logs::Logs;
use crate::problem::store_problem;
use crate::reader;
use crate::routes::flag;

/// Which attempt's.
#[derive(Debug, Deserialize)]
pub(super) struct OutlineQuery {
    epoch: Option<i64>,
    /// With the groups of lines.
    #[serde(default, deserialize_with = "flag")]
    groups: bool,
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
    /// Lines that begin or end groups; where there are more than before, the groups are others.
    marks: usize,
    /// Where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<StepGroups>>,
}

/// The groups of a step's lines.
#[derive(Debug, Serialize)]
pub(super) struct StepGroups {
    step: u32,
    /// In the order of their titles.
    groups: Vec<Group>,
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
        marks: index.marks(),
        groups: query
            .groups
            .then(|| index.groups().into_iter().map(|(step, groups)| StepGroups { step, groups }).collect()),
    }))
}
