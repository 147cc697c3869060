//! Where the lines of a log are, by number, step and time. Stored runs have their outlines in the rows, which are kept in
//! memory between questions; of what is not stored yet the pieces here are counted each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use serde::Serialize;
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::groups::{Group, Marks};
use slipway_logfmt::outline::Outline;
use slipway_store::logs::LogRow;
use tokio::sync::Mutex;

use crate::logs::Logs;
use crate::problem::ReadError;
use crate::reader;

/// Logs that are remembered; one of 4 GiB takes about half a megabyte.
const LOGS: u64 = 64;
/// One that nobody asks for is forgotten after this time.
const IDLE: Duration = Duration::from_secs(120);
/// Rows of one read.
const ROWS: i64 = 128;

/// The indexes of logs that somebody reads, by attempt and the hash of its token: a database that was brought back from a
/// backup may give the epoch again.
pub(crate) type Indexes = Cache<(AttemptRef, Vec<u8>), Arc<Mutex<Index>>>;

pub(crate) fn indexes() -> Indexes {
    Cache::builder().max_capacity(LOGS).time_to_idle(IDLE).build()
}

/// The runs of a log from its first byte on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    runs: Vec<Arc<Run>>,
    steps: Vec<StepLines>,
    /// Where each step stands among them.
    places: HashMap<u32, usize>,
    end: i64,
    /// Line breaks so far.
    breaks: i64,
    open: bool,
    marks: Marks,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) start: i64,
    /// Line breaks before it.
    pub(crate) breaks: i64,
    /// It begins inside of a line.
    pub(crate) continues: bool,
    outline: Outline,
}

/// Lines of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StepLines {
    /// The step's number; 0 is the attempt itself.
    pub(crate) step: u32,
    /// Lines that it began.
    pub(crate) lines: i64,
    /// When the run was begun in which its first line is.
    pub(crate) first_at: DateTime<Utc>,
    /// When the run ended in which its last line is.
    pub(crate) last_at: DateTime<Utc>,
}

/// The index of a log up to `end`.
pub(crate) async fn index(logs: &Logs, log: &LogRow, end: i64) -> Result<Index, ReadError> {
    let attempt = log.attempt();
    let kept = logs.indexes().get_with((attempt, log.token_hash.clone()), Arc::default);
    let mut index = {
        let mut kept = kept.lock().await;
        kept.read_rows(logs, attempt).await?;
        kept.clone()
    };
    // What is behind the rows is in memory here, or not to be had yet.
    while index.end < end {
        let Some(piece) = reader::piece_at(logs, (attempt, log.durable), index.end).await? else { break };
        let Some(chunk) = piece.chunk.slice(index.end, end) else { break };
        let lines = memchr::memchr_iter(b'\n', &chunk.bytes).count() as i64;
        let Some(outline) = Outline::of(&chunk) else { break };
        if !index.push(chunk.offset, chunk.end(), lines, outline) {
            break;
        }
    }
    Ok(index)
}

impl Index {
    async fn read_rows(&mut self, logs: &Logs, attempt: AttemptRef) -> Result<(), ReadError> {
        loop {
            let rows = logs.db().log_outlines(attempt, self.end, ROWS).await?;
            let read = rows.len();
            for row in rows {
                let written = row.outline.and_then(|json| serde_json::from_value(json.0).ok());
                let outline = match written {
                    Some(outline) => Some(outline),
                    // An older release stored it, or it has too many steps for a row.
                    None => {
                        let piece = reader::stored_piece_at(logs, attempt, row.start_offset).await?;
                        piece.and_then(|piece| Outline::of(&piece.chunk))
                    }
                };
                let Some(outline) = outline else { return Ok(()) };
                if !self.push(row.start_offset, row.end_offset, row.lines, outline) {
                    return Ok(());
                }
            }
            if read < usize::try_from(ROWS).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }

    /// False where the run is not the next one.
    pub(crate) fn push(&mut self, start: i64, end: i64, breaks: i64, outline: Outline) -> bool {
        if start != self.end {
            return false;
        }
        let open = outline.open;
        let mut marks = std::mem::take(&mut self.marks);
        marks.push(&outline, self.open, |step| self.lines_of(step));
        self.marks = marks;
        let outline = Outline { marks: Vec::new(), head: None, tail: None, ..outline };
        let outline = if self.open { outline.after_open() } else { outline };
        for &(step, lines) in &outline.steps {
            let place = *self.places.entry(step).or_insert_with(|| {
                self.steps.push(StepLines { step, lines: 0, first_at: outline.first_at, last_at: outline.last_at });
                self.steps.len() - 1
            });
            if let Some(known) = self.steps.get_mut(place) {
                known.lines += lines;
                known.last_at = outline.last_at;
            }
        }
        self.runs.push(Arc::new(Run { start, breaks: self.breaks, continues: self.open, outline }));
        (self.end, self.breaks, self.open) = (end, self.breaks + breaks, open);
        true
    }

    /// The byte after the last one.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Lines that have begun.
    pub(crate) fn lines(&self) -> i64 {
        self.breaks + i64::from(self.open)
    }

    /// The steps in the order in which they came first.
    pub(crate) fn steps(&self) -> &[StepLines] {
        &self.steps
    }

    /// Lines that begin or end groups; they only become more.
    pub(crate) fn marks(&self) -> usize {
        self.marks.count()
    }

    /// The groups of the steps that have some.
    pub(crate) fn groups(&self) -> Vec<(u32, Vec<Group>)> {
        self.marks.groups()
    }

    /// Lines that a step has begun.
    pub(crate) fn lines_of(&self, step: u32) -> i64 {
        self.places.get(&step).and_then(|place| self.steps.get(*place)).map_or(0, |known| known.lines)
    }

    /// The run in which a step's line begins, from 1, with the number of its lines before it. The last run where it has
    /// fewer.
    pub(crate) fn run_of_step_line(&self, step: u32, line: i64) -> Option<(&Run, i64)> {
        let mut before = 0;
        let mut last = None;
        for run in &self.runs {
            let Some(lines) = run.lines_of(step) else { continue };
            if before + lines >= line {
                return Some((run.as_ref(), before));
            }
            last = Some((run.as_ref(), before));
            before += lines;
        }
        last
    }

    /// The run in which a line begins, from 1. The last run where there are fewer.
    pub(crate) fn run_of_line(&self, line: i64) -> Option<&Run> {
        let begun = |run: &Arc<Run>| run.breaks + 1 < line || run.breaks + 1 == line && !run.continues;
        let behind = self.runs.partition_point(begun);
        self.runs.get(behind.checked_sub(1)?).map(Arc::as_ref)
    }

    /// Lines that each step has begun before a run.
    pub(crate) fn lines_before(&self, run: &Run) -> HashMap<u32, i64> {
        let mut lines = HashMap::new();
        for (step, begun) in
            self.runs.iter().take_while(|before| before.start < run.start).flat_map(|run| &run.outline.steps)
        {
            *lines.entry(*step).or_default() += begun;
        }
        lines
    }

    /// The run that holds a line break, counted from 1; `None` where it is not there yet.
    pub(crate) fn run_of_break(&self, line_break: i64) -> Option<&Run> {
        let behind = self.runs.partition_point(|run| run.breaks < line_break);
        self.runs.get(behind.checked_sub(1)?).map(Arc::as_ref).filter(|_| line_break <= self.breaks)
    }

    /// The run that holds a byte.
    pub(crate) fn run_at(&self, offset: i64) -> Option<&Run> {
        let behind = self.runs.partition_point(|run| run.start <= offset);
        self.runs.get(behind.checked_sub(1)?).map(Arc::as_ref)
    }

    /// The next run behind a byte in which a step wrote something.
    pub(crate) fn next_of_step(&self, offset: i64, step: u32) -> Option<&Run> {
        let behind = self.runs.partition_point(|run| run.start <= offset);
        self.runs.get(behind..)?.iter().map(Arc::as_ref).find(|run| run.may_have(step))
    }

    /// The byte after the last run that had begun before that time.
    pub(crate) fn until(&self, at: DateTime<Utc>) -> i64 {
        let last = self.runs.iter().rposition(|run| run.outline.first_at < at);
        let next = last.map_or(0, |last| last + 1);
        self.runs.get(next).map_or(self.end, |run| run.start)
    }

    /// The first byte of the first run that was not over at that time.
    pub(crate) fn since(&self, at: DateTime<Utc>) -> i64 {
        self.runs.iter().find(|run| run.outline.last_at >= at).map_or(self.end, |run| run.start)
    }
}

impl Run {
    /// Whether a step wrote something here.
    pub(crate) fn may_have(&self, step: u32) -> bool {
        self.lines_of(step).is_some()
    }

    /// Lines that a step begins here; `None` where it wrote nothing here.
    pub(crate) fn lines_of(&self, step: u32) -> Option<i64> {
        let mut own = self.outline.steps.iter().filter(|(known, _)| *known == step).map(|(_, lines)| *lines).peekable();
        own.peek()?;
        Some(own.sum())
    }
}
