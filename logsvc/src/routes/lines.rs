//! `GET /api/v1/jobs/{id}/log/lines`: a window of numbered lines with their step, output and time, for a
//! viewer that holds only what it shows.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::JobId;
use slipway_logfmt::ansi::strip_ansi;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_logfmt::terminal::{self, Run as TextRun};
use slipway_runtime::lifecycle::Task;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::logs::LogRow;
use tokio::sync::OwnedSemaphorePermit;

use crate::access;
use crate::follow::state_word;
use crate::hole::Hole;
use crate::index::{Index, Run, index};
use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};
use crate::reader::{self, NEAR_BYTES};
use crate::routes::flag;
use crate::tail::Piece;

/// Lines of an answer unless asked otherwise.
const COUNT: usize = 500;
/// Most lines of an answer.
const COUNT_MAX: usize = 5000;
/// Most bytes of one line; the rest of it is left out and said to be.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// Bytes of a line that are read before its end is looked for by the index.
const LINE_READ_BYTES: usize = 1 << 20;
/// An answer ends with the line that goes beyond so many bytes of the log.
const READ_MAX_BYTES: usize = 16 << 20;
/// What a run of text takes in an answer beside its text, about.
const RUN_BYTES: usize = 160;
/// Pieces of the log that are read for one answer about a step, which may have a line in each.
const STEP_READS: usize = 256;
/// Those that are read before they are asked for.
const STEP_AHEAD: usize = 4;
/// Lines of which a page is told without asking, and what terminals' sequences may move in them.
const NEWS_LINES: usize = 100;
const NEWS_CELLS: usize = 64 << 10;
/// An answer ends early beyond this.
const ANSWER_MAX_BYTES: usize = 4 << 20;

/// Which lines.
#[derive(Debug, Deserialize)]
pub(super) struct LinesQuery {
    /// First line, from 1; of the step, where one is given.
    from: Option<i64>,
    count: Option<usize>,
    epoch: Option<i64>,
    step: Option<u32>,
    #[serde(default, deserialize_with = "flag")]
    ansi: bool,
    #[serde(default, deserialize_with = "flag")]
    runs: bool,
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
    /// What of these lines cannot be had any more.
    holes: Vec<Hole>,
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    line: i64,
    /// Its number among those of its step, where only those were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_line: Option<i64>,
    /// Offset of its first byte.
    offset: i64,
    step: u32,
    stream: Stream,
    at: DateTime<Utc>,
    #[serde(flatten)]
    shown: Shown,
    /// True if it is longer than what is shown.
    clipped: bool,
}

/// How a line is told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Text { text: String },
    Runs { runs: Vec<TextRun>, width: usize },
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
    let (end, total) = reader::readable(&logs, &log).await?;
    let form = Form { ansi: query.ansi, runs: query.runs };
    let mut window = Window::new(from, query.count.unwrap_or(COUNT).min(COUNT_MAX), form);
    window.step = query.step;
    match query.step {
        None => window.read(&logs, &log, end).await?,
        Some(step) => window.read_step(&logs, &log, (step, end)).await?,
    }
    Ok(Json(LinesAnswer {
        epoch: log.epoch,
        state: state_word(&log),
        total,
        end,
        lines: window.lines,
        holes: window.holes,
    }))
}

/// How lines are wanted.
#[derive(Debug, Clone, Copy)]
struct Form {
    ansi: bool,
    runs: bool,
}

/// Collects lines until it is full.
struct Window {
    from: i64,
    left: usize,
    /// Only lines of this step.
    step: Option<u32>,
    form: Form,
    /// What the answer takes, or took to be made.
    bytes: usize,
    /// Bytes of the log that were read.
    read: usize,
    /// What terminals' sequences may still move, all lines together.
    cells_left: usize,
    /// The line of the next byte.
    line: i64,
    /// Lines of the step that have begun.
    step_line: i64,
    /// The next byte begins a line.
    begins: bool,
    /// A line that is collected.
    open: Option<Open>,
    lines: Vec<Line>,
    holes: Vec<Hole>,
}

/// A line that has begun: where, by whom, how it is shown so far, whether some of it is left out.
struct Open {
    offset: i64,
    span: Span,
    text: Vec<u8>,
    clipped: bool,
    /// Its bytes so far.
    read: usize,
    /// What is between them and its end is left out.
    passed: bool,
}

/// Reads the runs of a step before they are asked for.
struct Ahead<'a> {
    logs: &'a Logs,
    log: &'a LogRow,
    index: &'a Index,
    step: u32,
    reading: VecDeque<Next>,
}

/// A run that is read: where it begins, and how many lines of the step are in it.
struct Next {
    start: i64,
    lines: i64,
    read: Task<Result<Option<Arc<Piece>>, ReadError>>,
    _leave: OwnedSemaphorePermit,
}

/// The lines of a chunk that holds whole ones, as a page shows them, numbered from 1; `None` where they are too much to
/// be told.
pub(crate) fn shown_lines(chunk: &Chunk) -> Option<Vec<Line>> {
    let lines = memchr::memchr_iter(b'\n', &chunk.bytes).count();
    if lines > NEWS_LINES {
        return None;
    }
    let mut window = Window::new(1, lines, Form { ansi: false, runs: true });
    window.cells_left = NEWS_CELLS;
    window.take(chunk);
    (window.lines.len() == lines && window.cells_left > 0).then_some(window.lines)
}

impl Window {
    fn new(from: i64, left: usize, form: Form) -> Self {
        Self {
            from,
            left,
            step: None,
            form,
            bytes: 0,
            read: 0,
            cells_left: terminal::MAX_BULK_CELLS,
            line: from,
            step_line: 0,
            begins: true,
            open: None,
            lines: Vec::new(),
            holes: Vec::new(),
        }
    }

    async fn read(&mut self, logs: &Logs, log: &LogRow, end: i64) -> Result<(), ReadError> {
        let mut at = reader::start_of_line(logs, log, self.line, end).await?;
        while at < end && self.left > 0 {
            let Some(piece) = reader::kept_piece_at(logs, log, at).await? else { break };
            let Some(chunk) = piece.chunk.slice(at, end) else { break };
            at = chunk.end();
            self.holes.extend(piece.hole);
            self.read += chunk.bytes.len();
            self.take(&chunk);
            if self.passes() {
                let near = reader::near_break(logs, log, self.line, (at, end)).await?;
                at = self.pass(at, near);
            }
        }
        self.close();
        Ok(())
    }

    /// Passes by what other steps wrote.
    async fn read_step(&mut self, logs: &Logs, log: &LogRow, (step, end): (u32, i64)) -> Result<(), ReadError> {
        let index = index(logs, log, end).await?;
        let Some((first, before)) = index.run_of_step_line(step, self.from) else { return Ok(()) };
        self.step_line = before;
        let mut at = self.go_to(first);
        let mut ahead = Ahead { logs, log, index: &index, step, reading: VecDeque::new() };
        let mut read = 0;
        while at < index.end() && self.left > 0 {
            // The first line is where the index says; the next ones may be far.
            if read >= STEP_READS && self.open.is_none() && !self.lines.is_empty() {
                break;
            }
            read += 1;
            let Some(piece) = ahead.piece(at, self.left).await? else { break };
            let Some(chunk) = piece.chunk.slice(at, index.end()) else { break };
            match piece.hole {
                None => self.take(&chunk),
                Some(hole) => {
                    self.close();
                    let lost = index.run_at(at).and_then(|run| run.lines_of(step)).unwrap_or(0);
                    self.step_line += lost;
                    self.holes.push(hole);
                }
            }
            at = chunk.end();
            if self.passes() {
                let near = index.run_of_break(self.line).map_or(index.end() - NEAR_BYTES, |run| run.start);
                at = self.pass(at, near);
            }
            let next = index.run_at(at).filter(|run| run.start == at);
            if self.open.is_none() && next.is_some_and(|run| !run.may_have(step)) || piece.hole.is_some() {
                let Some(next) = index.next_of_step(at - 1, step) else { break };
                at = self.go_to(next);
            }
        }
        self.close();
        Ok(())
    }

    /// Whether enough of a line is read, so that what is before its end is passed by.
    fn passes(&mut self) -> bool {
        let long = self.open.as_mut().filter(|open| open.clipped || open.read > LINE_READ_BYTES);
        long.is_some_and(|open| !std::mem::replace(&mut open.passed, true))
    }

    /// Goes on near the end of a line.
    fn pass(&mut self, at: i64, near: i64) -> i64 {
        if near > at
            && let Some(open) = &mut self.open
        {
            open.clipped = true;
        }
        at.max(near)
    }

    fn go_to(&mut self, run: &Run) -> i64 {
        (self.line, self.begins) = (run.breaks + 1, !run.continues);
        run.start
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
        if self.begins && self.step.is_none_or(|step| step == span.step) {
            self.step_line += 1;
            if self.step.is_none() || self.step_line >= self.from {
                self.open =
                    Some(Open { offset, span: *span, text: Vec::new(), clipped: false, read: 0, passed: false });
            }
        }
        let whole = part.strip_suffix(b"\n");
        if let Some(open) = &mut self.open {
            open.add(whole.unwrap_or(part));
        }
        self.begins = whole.is_some();
        if self.begins {
            self.close();
            self.line += 1;
        }
    }

    fn close(&mut self) {
        let Some(Open { offset, span, text, clipped, .. }) = self.open.take() else { return };
        let (shown, bytes) = self.form.shown(&text, &mut self.cells_left);
        self.bytes += bytes.max(text.len());
        if self.cells_left == 0 && !self.lines.is_empty() {
            // Not all of it could be moved to its place: the next answer begins with it.
            self.left = 0;
            return;
        }
        let is_full = self.bytes > ANSWER_MAX_BYTES || self.read > READ_MAX_BYTES;
        self.left = if is_full { 0 } else { self.left.saturating_sub(1) };
        self.lines.push(Line {
            line: self.line,
            step_line: self.step.map(|_| self.step_line),
            offset,
            step: span.step,
            stream: span.stream,
            at: span.at,
            shown,
            clipped,
        });
    }
}

impl Ahead<'_> {
    /// The piece that holds a byte. As many of the step's next runs are read with it as `left` lines are in.
    async fn piece(&mut self, at: i64, left: usize) -> Result<Option<Arc<Piece>>, ReadError> {
        while self.reading.pop_front_if(|next| next.start < at).is_some() {}
        let lines = |run: &Run| run.lines_of(self.step).unwrap_or(0);
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let mut planned =
            self.index.run_at(at).map_or(0, lines) + self.reading.iter().map(|next| next.lines).sum::<i64>();
        let mut last = self.reading.back().map_or(at, |next| next.start);
        while planned < left && self.reading.len() < STEP_AHEAD {
            let Some((run, leave)) = self.index.next_of_step(last, self.step).zip(self.logs.read_ahead()) else {
                break;
            };
            let (start, lines, logs, log) = (run.start, lines(run), self.logs.clone(), self.log.clone());
            (last, planned) = (start, planned + lines);
            let read = async move { reader::kept_piece_at(&logs, &log, start).await };
            let read = self.logs.life().task("read log segment", read);
            self.reading.push_back(Next { start, lines, read, _leave: leave });
        }
        match self.reading.pop_front_if(|next| next.start == at) {
            Some(next) => next.read.join().await.map_err(|_| ReadError::Unpacking)?,
            None => reader::kept_piece_at(self.logs, self.log, at).await,
        }
    }
}

impl Open {
    /// Keeps the front of a line that is too long; of one that is written over again and again, such as a progress bar, what
    /// was written last.
    fn add(&mut self, part: &[u8]) {
        self.read += part.len();
        let room = if self.clipped { 0 } else { LINE_MAX_BYTES.saturating_sub(self.text.len()) };
        if part.len() > room
            && let Some(last) = memchr::memrchr(b'\r', part.strip_suffix(b"\r").unwrap_or(part))
        {
            self.text.clear();
            let rest = part.get(last + 1..).unwrap_or_default();
            self.clipped = rest.len() > LINE_MAX_BYTES;
            self.text.extend_from_slice(rest.get(..rest.len().min(LINE_MAX_BYTES)).unwrap_or_default());
            return;
        }
        self.clipped |= part.len() > room;
        self.text.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
    }
}

impl Form {
    /// The line, and about how many bytes it takes.
    fn shown(self, line: &[u8], cells_left: &mut usize) -> (Shown, usize) {
        if self.runs {
            let terminal::Shown { runs, width } = terminal::shown_within(line, cells_left);
            let link = |run: &TextRun| run.link.as_ref().map_or(0, |link| link.len());
            let bytes = runs.iter().map(|run| run.text.len() + link(run) + RUN_BYTES).sum();
            return (Shown::Runs { runs, width }, bytes);
        }
        let text = if self.ansi { line.to_vec() } else { strip_ansi(line) };
        let text = String::from_utf8_lossy(&text).into_owned();
        let bytes = text.len();
        (Shown::Text { text }, bytes)
    }
}
