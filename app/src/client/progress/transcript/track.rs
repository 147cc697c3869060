//! What is known of one step, and its lines that wait to be shown.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::attempt::StepState;

use crate::client::progress::line::End;
use crate::client::shapes::Step;

/// A longer line is shown in parts.
const MAX_LINE_BYTES: usize = 1 << 20;

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
    /// A line without its end.
    part: Option<(Written, String)>,
    first_at: Option<DateTime<Utc>>,
}

/// When a line was written, and when it came here in the transcript's time.
#[derive(Debug, Clone, Copy)]
pub struct Written {
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
                (false, Some(End::Done(step.finished_at.zip(step.started_at).map(|(to, from)| to - from))))
            }
            Ok(StepState::Failed) => (false, Some(End::Failed(step.exit_code))),
            Ok(StepState::Cancelled) => (false, Some(End::Cancelled)),
        };
        if (running, end) != (self.running, self.end) {
            (self.running, self.end, self.quiet) = (running, end, Duration::ZERO);
        }
    }

    /// Takes text of it.
    pub fn write(&mut self, text: &str, written: Written) {
        self.first_at = self.first_at.or(written.at);
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
    pub fn take_lines(&mut self) -> impl Iterator<Item = (Option<TimeDelta>, String)> + use<> {
        let began = self.started_at.or(self.first_at);
        let lines = std::mem::take(&mut self.lines);
        lines.into_iter().map(move |(written, text)| (written.at.zip(began).map(|(at, began)| at - began), text))
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
}
