//! What is known of one step, and its lines that wait to be shown.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::attempt::StepState;

use crate::client::progress::line::{End, at_last};
use crate::client::shapes::Step;

/// When it was written, counted from the step's begin, and what.
type LastLine = (Option<TimeDelta>, String);

/// A longer line is shown in parts.
const MAX_LINE_BYTES: usize = 1 << 20;
/// So many of its last lines are kept for the case that it fails, as BuildKit keeps them.
const MAX_LAST_LINES: usize = 10;
/// A longer one of those is cut, characters.
const MAX_LAST_CHARS: usize = 1000;
/// How the log's lines of ours begin that say what the engine warned of.
const WARNING: &str = "Warning: ";

/// One step.
#[derive(Debug, Default)]
pub struct Track {
    /// Its name, once it is told.
    pub name: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Bytes that it has moved so far, and of how many.
    pub moved: Option<(i64, Option<i64>)>,
    /// How it ended.
    pub end: Option<End>,
    /// For how long the log has been silent since the step's state changed.
    pub quiet: Duration,
    /// Its name has been shown.
    pub begun: bool,
    /// Its end has been shown, and no line of it came since.
    pub end_shown: bool,
    running: bool,
    lines: VecDeque<(Written, String)>,
    /// The last lines that were shown, unless it ended well.
    last: VecDeque<LastLine>,
    /// A line without its end.
    part: Option<(Written, String)>,
    first_at: Option<DateTime<Utc>>,
}

/// What is shown of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Output.
    Line {
        /// Since the step began; `None` if nobody told when this was.
        since: Option<TimeDelta>,
        /// As it was written, without its line break.
        text: String,
    },
    /// What the engine warned of.
    Warning {
        /// In its words.
        text: String,
    },
}

/// When a line was written and by whom, and when it came here in the transcript's time.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// By the builder, not by the step.
    pub is_ours: bool,
    /// By the builder's clock.
    pub at: Option<DateTime<Utc>>,
    /// In the transcript's time.
    pub arrived: Duration,
}

impl Track {
    /// Takes its state as the build's JSON tells it.
    pub fn tell(&mut self, step: &Step) {
        self.name = Some(step.name.clone());
        (self.started_at, self.finished_at) = (step.started_at, step.finished_at);
        self.moved = step.moved_bytes.map(|moved| (moved, step.total_bytes));
        let (running, end) = match step.state.parse::<StepState>() {
            // A word of a newer server is no end.
            Ok(StepState::Pending) | Err(_) => (false, None),
            Ok(StepState::Running) => (true, None),
            Ok(StepState::Succeeded) if step.cached => (false, Some(End::Cached)),
            Ok(StepState::Succeeded) => {
                (false, Some(End::Done(step.finished_at.zip(step.ran_since()).map(|(to, from)| to - from))))
            }
            Ok(StepState::Failed) => (false, Some(End::Failed(step.exit_code))),
            Ok(StepState::Cancelled) => (false, Some(End::Cancelled)),
        };
        if (running, end) != (self.running, self.end) {
            (self.running, self.end, self.quiet) = (running, end, Duration::ZERO);
        }
        if !self.may_fail() {
            self.last = VecDeque::new();
        }
    }

    /// Takes text of it.
    pub fn write(&mut self, text: &str, written: Written) {
        self.first_at = self.first_at.or(written.at);
        if self.part.as_ref().is_some_and(|(part, _)| part.is_ours != written.is_ours) {
            self.tear();
        }
        for piece in text.split_inclusive('\n') {
            let (since, mut line) = self.part.take().unwrap_or((written, String::new()));
            line.push_str(piece);
            if line.ends_with('\n') {
                line.pop();
                self.push(since, line);
            } else if line.len() > MAX_LINE_BYTES {
                self.push(since, line);
            } else {
                self.part = Some((since, line));
            }
        }
    }

    /// A line that was begun is one.
    pub fn tear(&mut self) {
        if let Some((written, line)) = self.part.take() {
            self.push(written, line);
        }
    }

    /// The lines that wait, with the time since the step began.
    pub fn take_lines(&mut self) -> Vec<Said> {
        let began = self.started_at.or(self.first_at);
        let lines = std::mem::take(&mut self.lines).into_iter();
        let lines: Vec<Said> = lines.map(|(written, text)| said(written, text, began)).collect();
        if self.may_fail() {
            self.remember(&lines);
        }
        lines
    }

    /// The warnings among the lines that wait.
    pub fn take_warnings(&mut self) -> Vec<String> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let lines = std::mem::take(&mut self.lines).into_iter();
        let (warnings, lines): (VecDeque<_>, _) = lines.partition(|(written, text)| warning(*written, text).is_some());
        self.lines = lines;
        warnings.iter().filter_map(|(written, text)| warning(*written, text).map(str::to_owned)).collect()
    }

    /// If it failed, its name and its last lines.
    pub fn last_words(&self) -> Option<(&str, &VecDeque<LastLine>)> {
        matches!(self.end, Some(End::Failed(_))).then_some((self.name.as_deref()?, &self.last))
    }

    /// True if lines wait.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// True once its name is told.
    pub fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// True while it runs.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// True if it runs and has not been shown.
    pub fn begin_is_due(&self) -> bool {
        self.running && !self.begun
    }

    /// True if it ended and this has not been shown behind its last line.
    pub fn end_is_due(&self) -> bool {
        self.end.is_some() && !self.end_shown
    }

    /// Since when it has something to show, in the transcript's time.
    pub fn waits_since(&self) -> Duration {
        self.lines.front().map_or(Duration::MAX, |(written, _)| written.arrived)
    }

    fn push(&mut self, written: Written, line: String) {
        self.lines.push_back((written, line));
        self.end_shown = false;
    }

    fn may_fail(&self) -> bool {
        match self.end {
            None | Some(End::Failed(_)) => true,
            Some(End::Cached | End::Done(_) | End::Cancelled) => false,
        }
    }

    fn remember(&mut self, lines: &[Said]) {
        let output = |said: &Said| match said {
            Said::Line { since, text } => Some((*since, shortened(at_last(text)))),
            Said::Warning { .. } => None,
        };
        let newest: Vec<_> = lines.iter().rev().filter_map(output).take(MAX_LAST_LINES).collect();
        self.last.extend(newest.into_iter().rev());
        self.last.drain(..self.last.len().saturating_sub(MAX_LAST_LINES));
    }
}

fn said(written: Written, text: String, began: Option<DateTime<Utc>>) -> Said {
    match warning(written, &text) {
        Some(text) => Said::Warning { text: text.to_owned() },
        None => Said::Line { since: written.at.zip(began).map(|(at, began)| at - began), text },
    }
}

/// What the engine warned of, if the line says that.
fn warning(written: Written, text: &str) -> Option<&str> {
    text.strip_prefix(WARNING).filter(|_| written.is_ours)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_LAST_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
