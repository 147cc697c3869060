//! What builders send, with the token of their attempt: chunks and the announcement of the end. A chunk
//! may be sent again; a gap is refused with what is expected.
//!
//! Race: a proxy sends the writer now to one log service and now to another. What lies here may be old; the row says how far
//! the log is durable, and whoever has less goes on there. What another service took and did not store yet is asked for
//! again: the writer sends it here, or comes by there once more, where it is then stored at once. Both may hold the same
//! run, because only the attempt's own token writes, and always the same bytes; who loses its segment's name or its row
//! drops what the winner stored (`flush.rs`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use slipway_domain::agent::{LogAck, LogEnd};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_domain::plan::Limits;
use slipway_live::Topic;
use slipway_logfmt::chunk::{Chunk, MAX_ENCODED_BYTES, Part};
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, JsonBody, PathOf, bearer};
use slipway_store::StoreError;
use slipway_store::logs::{LogRow, LogState};
use tracing::warn;

use crate::logs::{Logs, OpenLog};
use crate::problem::store_problem;
use crate::tail::{ALL_MAX_BYTES, Appended, keep_bytes};

/// What is taken of a log, as a multiple of the bytes of steps' output that its plan allows, and bytes on top. Builders keep
/// to the plan themselves and add line breaks and words of their own; only one that does not meets this.
const PLAN_FACTOR: u64 = 4;
const BEYOND_PLAN_BYTES: u64 = 64 << 20;
/// Larger chunks are not sent to viewers; they are told to read.
const LIVE_MAX_BYTES: usize = 64 * 1024;
/// The answer to the end waits this long for what was received to become durable.
const END_WAIT: Duration = Duration::from_secs(5);
/// Seconds after which a refused builder tries again.
const RETRY_SECS: u32 = 1;

/// Routes for builders.
pub(crate) fn router(logs: Logs) -> Router {
    Router::new()
        .route("/agent/v1/attempts/{job}/{epoch}/log", post(append).layer(DefaultBodyLimit::max(MAX_ENCODED_BYTES)))
        .route("/agent/v1/attempts/{job}/{epoch}/log/end", post(end))
        .with_state(logs)
}

/// A log as the bearer of an attempt's token finds it.
enum Found {
    Open(Arc<OpenLog>),
    Closed(LogRow),
}

async fn append(
    State(logs): State<Logs>,
    PathOf((job, epoch)): PathOf<(JobId, i64)>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let attempt = AttemptRef { job, epoch };
    // Before the body is read: strangers make us hold nothing.
    let found = find(&logs, attempt, &headers).await?;
    let turn = match &found {
        Found::Open(_) => Some(logs.room().turn(|| logs.flush_wake().ring()).await.ok_or_else(full)?),
        Found::Closed(_) => None,
    };
    let body = Bytes::from_request(request, &()).await.map_err(|_| {
        ApiError::TooLarge(format!("A chunk has at most {MAX_ENCODED_BYTES} bytes; send smaller ones."))
    })?;
    let part = Part::decode(&body).map_err(|error| ApiError::BadRequest(format!("This is no chunk: {error}.")))?;
    let log = match found {
        Found::Open(log) => log,
        Found::Closed(row) => return known(&row, &part),
    };
    if part.chunk.end() > log.max_bytes {
        let max = log.max_bytes;
        return Err(ApiError::TooLarge(format!(
            "The log is far longer than its plan allows; nothing is taken beyond byte {max}."
        )));
    }
    let (mut appended, mut ack) = take(&logs, &log, &part);
    drop(turn);
    if appended == Appended::Gap {
        if let Some(row) = catch_up(&logs, &log).await? {
            return known(&row, &part);
        }
        (appended, ack) = take(&logs, &log, &part);
    }
    if logs.with_tail(&log, |tail| tail.hurries()) {
        logs.hurry(log);
    }
    match appended {
        Appended::Stored => {
            // One encoding for everybody: the builder's own.
            let message = match part.chunk.bytes.len() {
                ..=LIVE_MAX_BYTES if part.packed.is_none() => body,
                // Unpacked once, and not by every viewer.
                ..=LIVE_MAX_BYTES => part.chunk.encode(),
                _ => Chunk::empty(part.chunk.end()).encode(),
            };
            logs.live().publish(Topic::Log(attempt), message);
            Ok(Json(ack).into_response())
        }
        Appended::Known => Ok(Json(ack).into_response()),
        Appended::Gap => Ok((StatusCode::CONFLICT, Json(ack)).into_response()),
        Appended::Full => {
            logs.flush_wake().ring();
            Err(full())
        }
        Appended::BeyondEnd => {
            Err(ApiError::BadRequest("The chunk goes beyond the end that was announced.".to_owned()))
        }
    }
}

fn take(logs: &Logs, log: &OpenLog, part: &Part) -> (Appended, LogAck) {
    let room = logs.room().taken() + part.cost() <= ALL_MAX_BYTES;
    let now = logs.clock().monotonic();
    logs.with_tail(log, |tail| {
        let appended = if room { tail.append(part, now) } else { Appended::Full };
        (appended, tail.ack())
    })
}

/// Goes on behind what other services stored of a log. If one closed it, it is forgotten here, and this is its row.
async fn catch_up(logs: &Logs, log: &OpenLog) -> Result<Option<LogRow>, ApiError> {
    let row = logs.db().attempt_log(log.attempt).await.map_err(store_problem)?;
    if row.state != LogState::Open {
        logs.forget(log.attempt);
        return Ok(Some(row));
    }
    let (keep, now) = (keep_bytes(logs.room().taken()), logs.clock().monotonic());
    logs.with_tail(log, |tail| {
        // A database that was brought back from a backup may have given the epoch to another attempt.
        if row.durable > tail.ack().durable && row.token_hash == log.token_hash {
            tail.set_durable(row.durable, keep, now);
        }
    });
    Ok(None)
}

async fn end(
    State(logs): State<Logs>,
    PathOf((job, epoch)): PathOf<(JobId, i64)>,
    headers: HeaderMap,
    JsonBody(end): JsonBody<LogEnd>,
) -> Result<Json<LogAck>, ApiError> {
    let attempt = AttemptRef { job, epoch };
    let log = match find(&logs, attempt, &headers).await? {
        Found::Open(log) => log,
        Found::Closed(row) => return known_end(&row, &end),
    };
    check_end(&end)?;
    if logs.with_tail(&log, |tail| tail.ack().received) < end.end
        && let Some(row) = catch_up(&logs, &log).await?
    {
        return known_end(&row, &end);
    }
    if logs.with_tail(&log, |tail| tail.ack().received) > end.end {
        return Err(ApiError::BadRequest("More bytes were received than the announced end.".to_owned()));
    }
    let known = logs.ends().ask((attempt, end.clone())).await?.map_err(store_problem)?;
    let known = known.ok_or_else(|| store_problem(StoreError::Stale("log")))?;
    if known != end {
        return Err(ApiError::Conflict(format!("The end was announced before, at {}.", known.end)));
    }
    log.announce_end(&end);
    let ack = logs.with_tail(&log, |tail| tail.ack());
    let received = ack.received;
    if ack.durable >= end.end {
        logs.seal_wake().ring();
    } else {
        logs.hurry(Arc::clone(&log));
    }
    Ok(Json(wait_for_durable(&log, received).await))
}

/// What was received is made durable before the answer, if storage answers in time.
async fn wait_for_durable(log: &OpenLog, received: i64) -> LogAck {
    let mut acks = log.acks();
    let durable = tokio::time::timeout(END_WAIT, acks.wait_for(|ack| ack.durable >= received)).await;
    if let Ok(Ok(ack)) = durable {
        return *ack;
    }
    drop(durable);
    *acks.borrow()
}

fn check_end(end: &LogEnd) -> Result<(), ApiError> {
    let hex = end.sha256.len() == 64 && end.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if end.end < 0 || !hex {
        let detail = "\"end\" is a length and \"sha256\" 64 lower-case hexadecimal digits.";
        return Err(ApiError::Invalid(detail.to_owned()));
    }
    Ok(())
}

/// What a closed log says to a chunk.
fn known(row: &LogRow, part: &Part) -> Result<Response, ApiError> {
    if part.chunk.end() > row.durable {
        return Err(closed(row));
    }
    Ok(Json(LogAck { received: row.durable, durable: row.durable }).into_response())
}

/// What it says to an end.
fn known_end(row: &LogRow, end: &LogEnd) -> Result<Json<LogAck>, ApiError> {
    if row.announced().as_ref() != Some(end) {
        return Err(closed(row));
    }
    Ok(Json(LogAck { received: row.durable, durable: row.durable }))
}

fn full() -> ApiError {
    ApiError::Busy("More log waits to be stored than fits; send it again.".to_owned(), RETRY_SECS)
}

fn closed(row: &LogRow) -> ApiError {
    ApiError::Gone(format!("The log is closed at byte {}; nothing more is taken.", row.durable))
}

/// The log of an attempt, for the bearer of its token.
async fn find(logs: &Logs, attempt: AttemptRef, headers: &HeaderMap) -> Result<Found, ApiError> {
    let refused = || ApiError::Unauthorized("Send the attempt's token as \"Authorization: Bearer …\".".to_owned());
    let hash = token_hash(bearer(headers).ok_or_else(refused)?);
    if let Some(log) = logs.open_log(attempt) {
        return if log.token_hash == hash { Ok(Found::Open(log)) } else { Err(refused()) };
    }
    let row = match logs.db().attempt_log(attempt).await {
        // To strangers an attempt that is not there looks like one that is.
        Err(StoreError::NotFound(_)) => return Err(refused()),
        other => other.map_err(store_problem)?,
    };
    if row.token_hash != hash {
        return Err(refused());
    }
    match row.state {
        LogState::Open => Ok(Found::Open(logs.resume(&row, max_bytes(logs, attempt.job).await?))),
        LogState::Sealed | LogState::Cut | LogState::Damaged => Ok(Found::Closed(row)),
    }
}

/// How long a log of the job may become here. Asked for when a log begins to grow here, never for a chunk.
async fn max_bytes(logs: &Logs, job: JobId) -> Result<i64, ApiError> {
    let limits = match logs.db().job_spec(job).await {
        Ok(spec) => spec.limits,
        Err(StoreError::NotFound(_)) => Limits::default(),
        // A newer release wrote it; that stops no log.
        Err(error) if !error.is_unreachable() => {
            warn!(job.id = %job, %error, "the spec of a job does not read; its log has no limit here");
            return Ok(i64::MAX);
        }
        Err(error) => return Err(store_problem(error)),
    };
    Ok(beyond(&limits))
}

fn beyond(limits: &Limits) -> i64 {
    let bytes = limits.log_bytes.saturating_mul(PLAN_FACTOR).saturating_add(BEYOND_PLAN_BYTES);
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use slipway_domain::plan::Plans;

    use super::*;

    #[test]
    fn every_plan_ends_before_the_log_service_refuses() {
        let none = Limits { log_bytes: 0, ..Limits::default() };
        for limits in Plans::default().iter().map(|(_, limits)| limits).chain([none]) {
            assert!(beyond(&limits) as u64 >= 2 * limits.log_bytes + BEYOND_PLAN_BYTES);
        }
        assert_eq!(beyond(&Limits { log_bytes: u64::MAX, ..Limits::default() }), i64::MAX);
    }
}
