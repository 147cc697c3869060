//! `GET /api/v1/jobs/{id}/log/lines`: a window of numbered lines with their step, output and time, for a
//! viewer that holds only what it shows.

use axum::Json;
use axum::extract::State;
use bytes::BytesMut;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::JobId;
use slipway_logfmt::ansi::strip_ansi;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::logs::LogRow;

use crate::access;
use crate::follow::state_word;
use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};
use crate::reader;
use crate::routes::flag;

/// Lines of an answer unless asked otherwise.
const COUNT: usize = 500;
/// Most lines of an answer.
const COUNT_MAX: usize = 5000;
/// Most bytes of one line; the rest of it is left out and said to be.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// An answer ends early beyond this.
const ANSWER_MAX_BYTES: usize = 4 << 20;

/// Which lines.
#[derive(Debug, Deserialize)]
pub(super) struct LinesQuery {
    /// First line, from 1.
    from: Option<i64>,
    count: Option<usize>,
    epoch: Option<i64>,
    #[serde(default, deserialize_with = "flag")]
    ansi: bool,
}

/// A window of lines.
#[derive(Debug, Default, Serialize)]
pub(super) struct LinesAnswer {
    epoch: i64,
    /// `live`, `complete`, `cut`, `damaged` or `none`.
    state: &'static str,
    /// Lines that have ended so far.
    total: i64,
    /// Bytes so far; where the stream goes on.
    end: i64,
    lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    line: i64,
    /// Offset of its first byte.
    offset: i64,
    step: u32,
    stream: Stream,
    at: DateTime<Utc>,
    text: String,
    /// True if it is longer than what is shown.
    clipped: bool,
}

pub(super) async fn lines(
    State(logs): State<Logs>,
    PathOf(job): PathOf<JobId>,
    QueryOf(query): QueryOf<LinesQuery>,
    headers: HeaderMap,
) -> Result<Json<LinesAnswer>, ApiError> {
    let from = query.from.unwrap_or(1);
    if from < 1 {
        return Err(ApiError::BadRequest("\"from\" is a line, counted from 1.".to_owned()));
    }
    let scope = access::scope(&logs, &headers).await?;
    let view = logs.db().log_view(&scope, job, query.epoch).await.map_err(store_problem)?;
    let Some(log) = view.log else { return Ok(Json(LinesAnswer { state: "none", ..LinesAnswer::default() })) };
    let end = reader::readable_end(&logs, &log);
    let mut window = Window {
        next: from,
        left: query.count.unwrap_or(COUNT).min(COUNT_MAX),
        ansi: query.ansi,
        bytes: 0,
        open: None,
        lines: Vec::new(),
    };
    window.read(&logs, &log, end).await?;
    Ok(Json(LinesAnswer {
        epoch: log.epoch,
        state: state_word(&log),
        total: reader::readable_lines(&logs, &log),
        end,
        lines: window.lines,
    }))
}

/// Collects lines until it is full.
struct Window {
    next: i64,
    left: usize,
    ansi: bool,
    bytes: usize,
    /// The line that has begun: where, by whom, its bytes so far, whether some are left out.
    open: Option<(i64, Span, BytesMut, bool)>,
    lines: Vec<Line>,
}

impl Window {
    async fn read(&mut self, logs: &Logs, log: &LogRow, end: i64) -> Result<(), ReadError> {
        let mut at = reader::start_of_line(logs, log, self.next, end).await?;
        while at < end && self.left > 0 {
            let Some(piece) = reader::piece_at(logs, log.attempt(), at).await? else { break };
            let Some(chunk) = piece.chunk.slice(at, end) else { break };
            at = chunk.end();
            self.take(&chunk);
        }
        if self.left > 0 {
            self.close();
        }
        Ok(())
    }

    fn take(&mut self, chunk: &Chunk) {
        let mut start = 0usize;
        for span in &chunk.spans {
            let end = start + span.len as usize;
            let mut at = start;
            let bytes = chunk.bytes.get(start..end).unwrap_or_default();
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                if self.left == 0 {
                    return;
                }
                self.add(chunk.offset + at as i64, span, part);
                at += part.len();
            }
            start = end;
        }
    }

    fn add(&mut self, offset: i64, span: &Span, part: &[u8]) {
        let (_, _, text, clipped) = self.open.get_or_insert_with(|| (offset, *span, BytesMut::new(), false));
        let whole = part.strip_suffix(b"\n");
        let shown = whole.unwrap_or(part);
        let room = LINE_MAX_BYTES.saturating_sub(text.len()).min(shown.len());
        *clipped |= room < shown.len();
        text.extend_from_slice(shown.get(..room).unwrap_or_default());
        if whole.is_some() {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some((offset, span, text, clipped)) = self.open.take() else { return };
        let text = if self.ansi { text.to_vec() } else { strip_ansi(&text) };
        let text = String::from_utf8_lossy(&text).into_owned();
        self.bytes += text.len();
        self.left = if self.bytes > ANSWER_MAX_BYTES { 0 } else { self.left - 1 };
        self.lines.push(Line {
            line: self.next,
            offset,
            step: span.step,
            stream: span.stream,
            at: span.at,
            text,
            clipped,
        });
        self.next += 1;
    }
}
