//! `GET /api/v1/jobs/{id}/log`: the log as text. Escape sequences are taken out unless `?ansi=1`; `Range`
//! and offsets count the bytes that are stored and are answered as stored. One dialect of the whole: what
//! is cut or damaged says so in a header, and in plain text also in its last line. What is followed ends cleanly only where
//! nothing will follow.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_logfmt::ansi::AnsiStripper;
use slipway_logfmt::chunk::Chunk;
use slipway_logfmt::text::count_lines;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::logs::{LogRow, LogState, LogView};

use crate::access::{self, Caller};
use crate::follow::{Follower, Start, Step, state_word};
use crate::hole::Hole;
use crate::index::{Index, index};
use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};
use crate::reader;
use crate::routes::flag;
use crate::routes::range::{self, Wanted};

const LOG_STATE: HeaderName = HeaderName::from_static("slipway-log-state");
const LOG_EPOCH: HeaderName = HeaderName::from_static("slipway-log-epoch");
const LOG_LENGTH: HeaderName = HeaderName::from_static("slipway-log-length");

/// What of the log is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct TextQuery {
    #[serde(default, deserialize_with = "flag")]
    ansi: bool,
    /// First line, from 1.
    from: Option<i64>,
    /// Last line.
    to: Option<i64>,
    /// So many lines from the end.
    tail: Option<u64>,
    #[serde(default, deserialize_with = "flag")]
    follow: bool,
    epoch: Option<i64>,
    /// Only what this step wrote; lines are counted among its own then.
    step: Option<u32>,
    /// Only what was written at this time or later.
    since: Option<DateTime<Utc>>,
    /// Only what was written before this time.
    until: Option<DateTime<Utc>>,
}

/// Bytes of one attempt's log: `[at, end)` of what is wanted, without the first `skip` lines and at most `lines` lines.
#[derive(Debug, Clone)]
struct Part {
    attempt: AttemptRef,
    at: i64,
    end: i64,
    skip: i64,
    lines: i64,
    only: Only,
}

/// Whose bytes, and when they were written.
#[derive(Debug, Clone, Default)]
struct Only {
    step: Option<u32>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    /// Where a step's bytes are.
    index: Option<Arc<Index>>,
    /// The next byte begins a line.
    begins: bool,
    /// The line of the next byte is the step's.
    own: bool,
}

pub(super) async fn log(
    State(logs): State<Logs>,
    PathOf(job): PathOf<JobId>,
    QueryOf(query): QueryOf<TextQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    check(&query)?;
    let caller = access::caller(&logs, &headers).await?;
    let view = logs.db().log_view(caller.scope(), job, query.epoch).await.map_err(store_problem)?;
    let Some(log) = &view.log else {
        let body =
            if query.follow { follow_from_nothing(&logs, caller, &view, job, query).await } else { Body::empty() };
        return Ok((text_headers("none", 0, 0), body).into_response());
    };
    let end = reader::readable_end(&logs, log);
    let head = text_headers(state_word(log), log.epoch, end);
    let narrowed = query.narrows();
    if !narrowed
        && may_be_ranged(&headers, None)
        && let Some(part) = ranged(&logs, log, &headers, end)
    {
        return Ok((head, part).into_response());
    }
    if query.follow {
        let at = first_byte(&logs, log, &query, end).await?;
        let start = Start { job, epoch: log.epoch, at, pinned: query.epoch.is_some() };
        let follower = Follower::new(&logs, caller, &view, start).await;
        let body = Body::from_stream(followed(logs, follower, query));
        return Ok((head, [(HeaderName::from_static("x-accel-buffering"), "no")], body).into_response());
    }
    let part = part(&logs, log, &query, end).await?;
    if query.ansi {
        let length = (!narrowed).then_some([(header::CONTENT_LENGTH, HeaderValue::from(end))]);
        let response = (head, Body::from_stream(raw(logs, part))).into_response();
        return Ok(match length {
            Some(length) => (length, response).into_response(),
            None => response,
        });
    }
    let notice = query.to.is_none().then(|| notice(log)).flatten();
    Ok((head, Body::from_stream(stripped(logs, part, notice))).into_response())
}

impl TextQuery {
    /// By whom, or when it was written.
    fn filters(&self) -> bool {
        self.step.is_some() || self.since.is_some() || self.until.is_some()
    }

    fn narrows(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.tail.is_some() || self.follow || self.filters()
    }
}

fn check(query: &TextQuery) -> Result<(), ApiError> {
    if query.filters() && query.follow {
        return Err(ApiError::BadRequest(
            "\"follow\" shows all steps; leave \"step\", \"since\" and \"until\" out.".to_owned(),
        ));
    }
    if (query.since.is_some() || query.until.is_some())
        && (query.from.is_some() || query.to.is_some() || query.tail.is_some() || query.step.is_some())
    {
        return Err(ApiError::BadRequest(
            "\"since\" and \"until\" stand alone; leave \"from\", \"to\", \"tail\" and \"step\" out.".to_owned(),
        ));
    }
    if query.from.is_some_and(|from| from < 1) || query.to.is_some_and(|to| to < 1) {
        return Err(ApiError::BadRequest("\"from\" and \"to\" are lines, counted from 1.".to_owned()));
    }
    if query.tail.is_some() && (query.from.is_some() || query.to.is_some()) {
        return Err(ApiError::BadRequest("Give either \"tail\" or \"from\" and \"to\".".to_owned()));
    }
    if query.follow && query.to.is_some() {
        return Err(ApiError::BadRequest("\"follow\" has no last line; leave \"to\" out.".to_owned()));
    }
    Ok(())
}

async fn first_byte(logs: &Logs, log: &LogRow, query: &TextQuery, end: i64) -> Result<i64, ReadError> {
    match (query.tail, query.from) {
        (Some(tail), _) => reader::start_of_tail(logs, log, tail, end).await,
        (None, Some(from)) => reader::start_of_line(logs, log, from, end).await,
        (None, None) => Ok(0),
    }
}

async fn part(logs: &Logs, log: &LogRow, query: &TextQuery, end: i64) -> Result<Part, ReadError> {
    let lines = query.to.map_or(i64::MAX, |to| (to - query.from.unwrap_or(1) + 1).max(0));
    let part = Part { attempt: log.attempt(), at: 0, end, skip: 0, lines, only: Only::default() };
    if !query.filters() {
        return Ok(Part { at: first_byte(logs, log, query, end).await?, ..part });
    }
    let index = Arc::new(index(logs, log, end).await?);
    let (step, since, until) = (query.step, query.since, query.until);
    let only = Only { step, since, until, index: Some(Arc::clone(&index)), ..Only::default() };
    let Some(step) = step else {
        let at = since.map_or(0, |since| index.since(since));
        return Ok(Part { at, end: until.map_or(end, |until| index.until(until)), only, ..part });
    };
    let own = index.lines_of(step);
    let from = match query.tail {
        Some(tail) => own.saturating_sub(i64::try_from(tail).unwrap_or(i64::MAX)).max(0) + 1,
        None => query.from.unwrap_or(1),
    };
    let (at, skip) = match index.run_of_step_line(step, from).filter(|_| from <= own) {
        Some((run, before)) => (run.start, from - 1 - before),
        None => (end, 0),
    };
    // What is left of a line that an earlier run began is none of them.
    let begins = index.run_at(at).is_none_or(|run| !run.continues);
    Ok(Part { at, skip, only: Only { begins, ..only }, ..part })
}

pub(super) fn text_headers(state: &'static str, epoch: i64, length: i64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(LOG_STATE, HeaderValue::from_static(state));
    headers.insert(LOG_EPOCH, HeaderValue::from(epoch));
    headers.insert(LOG_LENGTH, HeaderValue::from(length));
    headers
}

/// What a reader of plain text must know, as a last line of ours.
fn notice(log: &LogRow) -> Option<Bytes> {
    let text = match log.state {
        LogState::Open | LogState::Sealed => return None,
        LogState::Cut => format!(
            "[slipway] This log is cut at byte {}: its builder was gone before it had sent the rest.\n",
            log.durable
        ),
        LogState::Damaged => {
            "[slipway] This log is damaged: what is stored is not what the builder announced (SHA-256 differs).\n"
                .to_owned()
        }
    };
    Some(text.into())
}

/// Names the bytes of a log that never change any more.
pub(super) fn tag(log: &LogRow) -> Option<HeaderValue> {
    let sha256 = log.sha256.as_ref().filter(|_| log.state == LogState::Sealed)?;
    HeaderValue::from_str(&format!("\"{sha256}\"")).ok()
}

/// Whether `Range` counts: not for whoever has the beginning of something else (RFC 9110, 13.1.5).
pub(super) fn may_be_ranged(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|had| tag == Some(had))
}

/// The part of the stored bytes that is asked for, or that there is none; `None` where all are.
pub(super) fn ranged(logs: &Logs, log: &LogRow, headers: &HeaderMap, end: i64) -> Option<Response> {
    let (from, to) = match range::parse(headers.get(header::RANGE)?.to_str().ok()?, end) {
        Wanted::All => return None,
        Wanted::Part(from, to) => (from, to),
        Wanted::Nothing => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{end}"))];
            return Some((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    // The length of a log that still grows is not known.
    let total = if log.state == LogState::Open { "*".to_owned() } else { end.to_string() };
    let range = [(header::CONTENT_RANGE, format!("bytes {from}-{}/{total}", to - 1))];
    let length = [(header::CONTENT_LENGTH, HeaderValue::from(to - from))];
    let body = Body::from_stream(bytes(logs.clone(), log.attempt(), from, to));
    Some((StatusCode::PARTIAL_CONTENT, range, length, body).into_response())
}

/// The bytes in `[from, to)` of a log as they are stored.
pub(super) fn bytes(
    logs: Logs,
    attempt: AttemptRef,
    from: i64,
    to: i64,
) -> impl Stream<Item = Result<Bytes, ReadError>> {
    let (mut at, pieces) = (from, reader::pieces_of(logs, attempt, from, to));
    pieces.map_ok(move |piece| {
        let chunk = piece.chunk.slice(at, to);
        at = at.max(piece.chunk.end());
        chunk.map(|chunk| chunk.bytes).unwrap_or_default()
    })
}

/// The bytes of some lines as they are stored.
fn raw(logs: Logs, mut part: Part) -> impl Stream<Item = Result<Bytes, ReadError>> {
    async_stream::try_stream! {
        while part.at < part.end && part.lines > 0 {
            let Some(piece) = reader::piece_at(&logs, (part.attempt, part.end), part.at).await? else { break };
            let Some(chunk) = piece.chunk.slice(part.at, part.end) else { break };
            part.at = chunk.end();
            let bytes = match piece.hole {
                Some(hole) if part.only.step.is_some() => part.pass(hole),
                _ => without_lines(part.only.of(chunk), &mut part.skip),
            };
            yield first_lines(bytes, &mut part.lines);
            part.at = part.only.next(part.at);
        }
    }
}

/// The bytes without escape sequences, with a last line of ours if there is something to say.
fn stripped(logs: Logs, part: Part, notice: Option<Bytes>) -> impl Stream<Item = Result<Bytes, ReadError>> {
    async_stream::try_stream! {
        let mut stripper = AnsiStripper::default();
        let mut ends_line = true;
        for await bytes in raw(logs, part) {
            let text = stripper.push(&bytes?);
            ends_line = text.last().map_or(ends_line, |last| *last == b'\n');
            yield Bytes::from(text);
        }
        let rest = stripper.finish();
        ends_line &= rest.is_empty();
        yield Bytes::from_static(rest);
        if let Some(notice) = notice {
            if !ends_line {
                yield Bytes::from_static(b"\n");
            }
            yield notice;
        }
    }
}

impl Only {
    fn of(&mut self, chunk: Chunk) -> Bytes {
        if self.step.is_none() && self.since.is_none() && self.until.is_none() {
            return chunk.bytes;
        }
        let mut wanted = BytesMut::new();
        let mut at = 0usize;
        for span in &chunk.spans {
            let end = at + span.len as usize;
            let bytes = chunk.bytes.get(at..end).unwrap_or_default();
            let in_time =
                self.since.is_none_or(|since| span.at >= since) && self.until.is_none_or(|until| span.at < until);
            match self.step {
                None if in_time => wanted.extend_from_slice(bytes),
                None => {}
                Some(step) => {
                    // A line is whose it began, also the break that ends it.
                    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                        if self.begins {
                            self.own = span.step == step;
                        }
                        if self.own {
                            wanted.extend_from_slice(part);
                        }
                        self.begins = part.ends_with(b"\n");
                    }
                }
            }
            at = end;
        }
        wanted.freeze()
    }

    /// Where reading goes on: behind what has nothing of the step.
    fn next(&mut self, at: i64) -> i64 {
        let Some((step, index)) = self.step.zip(self.index.clone()) else { return at };
        if self.own && !self.begins {
            // The break that ends its line may be another's.
            return at;
        }
        match index.run_at(at).filter(|run| run.start == at && !run.may_have(step)) {
            Some(_) => match index.next_of_step(at, step) {
                Some(run) => {
                    (self.begins, self.own) = (!run.continues, false);
                    run.start
                }
                None => index.end(),
            },
            None => at,
        }
    }
}

impl Part {
    /// A part of the log is lost: the step's lines in it count, and one line of ours stands for them.
    fn pass(&mut self, hole: Hole) -> Bytes {
        let index = self.only.index.clone();
        let lost = self.only.step.zip(index.as_ref()).and_then(|(step, index)| index.run_at(hole.from)?.lines_of(step));
        let next = index.as_ref().and_then(|index| index.run_at(hole.to));
        // Its line that had begun ends here.
        let cut = if self.only.own && !self.only.begins { Bytes::from_static(b"\n") } else { Bytes::new() };
        let cut = without_lines(cut, &mut self.skip);
        (self.only.begins, self.only.own) = (next.is_none_or(|run| !run.continues), false);
        let Some(lost) = lost.filter(|lost| *lost > 0) else { return cut };
        let skipped = self.skip.min(lost);
        self.skip -= skipped;
        if skipped == lost || self.lines <= cut.len() as i64 {
            return cut;
        }
        // All but one of them; that one is counted as what is told.
        self.lines = (self.lines - (lost - skipped - 1)).max(1 + cut.len() as i64);
        let words = [&cut[..], hole.words().as_bytes(), b"\n"].concat();
        Bytes::from(words)
    }
}

/// What is behind as many lines as are left to skip; counts them down.
fn without_lines(bytes: Bytes, left: &mut i64) -> Bytes {
    if *left <= 0 {
        return bytes;
    }
    let last = usize::try_from(*left - 1).ok().and_then(|nth| memchr::memchr_iter(b'\n', &bytes).nth(nth));
    *left -= count_lines(&bytes).min(*left);
    last.map_or(Bytes::new(), |last| bytes.slice(last + 1..))
}

/// As many lines from the front as are left; counts them down.
fn first_lines(bytes: Bytes, left: &mut i64) -> Bytes {
    let breaks = count_lines(&bytes);
    if breaks < *left {
        *left -= breaks;
        return bytes;
    }
    let last = usize::try_from(*left - 1).ok().and_then(|nth| memchr::memchr_iter(b'\n', &bytes).nth(nth));
    *left = 0;
    last.map_or(Bytes::new(), |last| bytes.slice(..=last))
}

async fn follow_from_nothing(logs: &Logs, caller: Caller, view: &LogView, job: JobId, query: TextQuery) -> Body {
    let start = Start { job, epoch: 0, at: 0, pinned: false };
    let follower = Follower::new(logs, caller, view, start).await;
    Body::from_stream(followed(logs.clone(), follower, query))
}

/// The log as it grows, attempt after attempt.
fn followed(logs: Logs, mut follower: Follower, query: TextQuery) -> impl Stream<Item = Result<Bytes, ReadError>> {
    async_stream::try_stream! {
        let mut stripper = AnsiStripper::default();
        let mut ends_line = true;
        loop {
            match follower.next().await? {
                Step::Piece { piece, from } => {
                    let Some(news) = piece.chunk.slice(from, i64::MAX) else { continue };
                    ends_line = news.bytes.ends_with(b"\n");
                    yield if query.ansi { news.bytes } else { stripper.push(&news.bytes).into() };
                }
                Step::Attempt(epoch) if epoch > 1 => {
                    yield Bytes::from_static(stripper.finish());
                    stripper = AnsiStripper::default();
                    let lead = if ends_line { "" } else { "\n" };
                    yield Bytes::from(format!("{lead}[slipway] The job is tried again: attempt {epoch}.\n"));
                    ends_line = true;
                }
                Step::Attempt(_) => {}
                Step::End(_) => {
                    yield Bytes::from_static(stripper.finish());
                    let words = ending(&logs, &follower).await?;
                    if words.is_some() && !ends_line {
                        yield Bytes::from_static(b"\n");
                    }
                    yield words.unwrap_or_default();
                    break;
                }
                // No clean end: what is shown is not all.
                Step::Stopped => Err(ReadError::Stopping)?,
            }
        }
    }
}

/// What whoever followed must know of the end of a log, as a last line of ours.
async fn ending(logs: &Logs, follower: &Follower) -> Result<Option<Bytes>, ReadError> {
    if follower.epoch() == 0 {
        return Ok(None);
    }
    let log = logs.db().attempt_log(follower.attempt()).await?;
    let end = match log.state {
        LogState::Open => log.end_offset,
        LogState::Sealed => Some(log.durable),
        LogState::Cut | LogState::Damaged => return Ok(notice(&log)),
    };
    let whole = end.is_some_and(|end| follower.at() >= end);
    Ok((!whole).then(|| {
        let at = follower.at();
        format!("[slipway] This log is shown up to byte {at}: its builder was gone before it had sent the rest.\n")
            .into()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_down() {
        let text = Bytes::from_static(b"one\ntwo\nthree");
        for (lines, expected, left) in [(1, "one\n", 0), (2, "one\ntwo\n", 0), (3, "one\ntwo\nthree", 1)] {
            let mut count = lines;
            assert_eq!(first_lines(text.clone(), &mut count), expected);
            assert_eq!(count, left);
        }
    }
}
