//! What the user sees of a followed log, whatever its form: pieces of the log and states of the steps go in, and
//! the screen shows them.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::client::cursor::{Piece, PieceSpan};
use crate::client::exit::Failed;
use crate::client::progress::Form;
use crate::client::progress::line::Line;
use crate::client::progress::live;
use crate::client::progress::transcript::{Part, Transcript};
use crate::client::screen::Screen;
use crate::client::shapes::Job;
use crate::client::terminal::TerminalFilter;

/// The stream of the lines that the builder wrote.
const OURS: &str = "meta";

/// Shows one log.
#[derive(Debug)]
pub enum View {
    /// The bytes as they are stored, less what could steer the terminal.
    Raw(TerminalFilter),
    /// JSON: each piece as an object.
    Objects,
    /// JSON, with an object of its own at the end: the bytes go to standard error.
    Aside(TerminalFilter),
    /// Lines with steps and times.
    Lines(Box<Lines>),
}

/// A transcript on its way to the screen.
#[derive(Debug)]
pub struct Lines {
    transcript: Transcript,
    /// The attempt that the transcript is of; 0 before the first.
    epoch: i64,
    is_live: bool,
}

impl View {
    /// A view of this form. With JSON, `ends_with_object` says that the command's one document is something else.
    pub fn new(form: Form, ends_with_object: bool, screen: &Screen) -> Self {
        match form {
            _ if screen.wants_json() && ends_with_object => Self::Aside(screen.filter()),
            _ if screen.wants_json() => Self::Objects,
            Form::Raw => Self::Raw(screen.filter()),
            Form::Plain => Self::Lines(Box::new(Lines::new(false))),
            Form::Live => Self::Lines(Box::new(Lines::new(true))),
        }
    }

    /// True if escape sequences are wanted in what the server sends: then text and offsets agree, and the view takes
    /// them out.
    pub fn wants_escapes(&self) -> bool {
        match self {
            Self::Raw(_) | Self::Lines(_) => true,
            Self::Objects | Self::Aside(_) => false,
        }
    }

    /// True if the states of the steps are shown, too.
    pub fn wants_steps(&self) -> bool {
        matches!(self, Self::Lines(_))
    }

    /// True while lines wait for the name of their step.
    pub fn misses_names(&self) -> bool {
        matches!(self, Self::Lines(lines) if lines.transcript.misses_names())
    }

    /// Shows a piece of the log.
    pub fn piece(&mut self, piece: &Piece, screen: &mut Screen) -> Result<(), Failed> {
        match self {
            Self::Objects => screen.object(piece)?,
            Self::Aside(filter) => {
                piece.spans.iter().for_each(|span| screen.aside(&filter.push(span.text.as_bytes())));
            }
            Self::Raw(filter) => {
                for span in &piece.spans {
                    screen.bytes(&filter.push(span.text.as_bytes()))?;
                }
            }
            Self::Lines(lines) => piece.spans.iter().for_each(|span| lines.span(span)),
        }
        Ok(())
    }

    /// Takes what the build's JSON tells of the job's steps, which are those of its newest attempt.
    pub fn job(&mut self, job: &Job) {
        if let Self::Lines(lines) = self {
            lines.job(job);
        }
    }

    /// The log goes on with another attempt, at the beginning of a line.
    pub fn attempt(&mut self, epoch: i64, screen: &mut Screen) -> Result<(), Failed> {
        if let Self::Lines(lines) = self {
            lines.attempt(epoch);
        }
        self.end_bytes(screen)
    }

    /// Bytes are missing here.
    pub fn tear(&mut self, screen: &mut Screen) -> Result<(), Failed> {
        if let Self::Lines(lines) = self {
            lines.transcript.tear();
        }
        self.end_bytes(screen)
    }

    /// Time passes while the log can come in.
    pub fn tick(&mut self, elapsed: Duration) {
        if let Self::Lines(lines) = self {
            lines.transcript.tick(elapsed);
        }
    }

    /// The log of the attempt is all here.
    pub fn end_log(&mut self) {
        if let Self::Lines(lines) = self {
            lines.transcript.end_log();
        }
    }

    /// Brings the screen up to date.
    pub fn paint(&mut self, now: DateTime<Utc>, screen: &mut Screen) -> Result<(), Failed> {
        match self {
            Self::Lines(lines) => lines.paint(now, screen),
            Self::Raw(_) | Self::Objects | Self::Aside(_) => Ok(()),
        }
    }

    /// Shows what still waits, and what failed; nothing comes any more. Gives the names of the steps whose last lines
    /// are told by now.
    pub fn finish(&mut self, screen: &mut Screen) -> Result<Vec<String>, Failed> {
        let mut told = Vec::new();
        if let Self::Lines(lines) = self {
            lines.transcript.finish();
            told = lines.transcript.conclude();
            let text = lines.text(screen.shows_colour());
            screen.frame(&text, Vec::new())?;
        }
        self.end_bytes(screen)?;
        Ok(told)
    }

    /// A sequence that is left open here must not swallow the text that comes next.
    fn end_bytes(&mut self, screen: &mut Screen) -> Result<(), Failed> {
        match self {
            Self::Raw(filter) => screen.bytes(&filter.finish()),
            Self::Aside(filter) => {
                screen.aside(&filter.finish());
                Ok(())
            }
            Self::Objects | Self::Lines(_) => Ok(()),
        }
    }
}

impl Lines {
    fn new(is_live: bool) -> Self {
        Self { transcript: Transcript::default(), epoch: 0, is_live }
    }

    fn span(&mut self, span: &PieceSpan) {
        // What has no number belongs to no step.
        let step = span.step.as_i64().unwrap_or(0);
        let at = span.at.as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
        let is_ours = span.stream.as_str() == Some(OURS);
        self.transcript.write(Part { step, at, is_ours, text: &span.text });
    }

    fn job(&mut self, job: &Job) {
        let newest = job.newest_epoch();
        // Steps of an attempt whose log is not shown yet wait for it.
        if newest > self.epoch && (self.epoch == 0 || self.transcript.is_complete()) {
            self.attempt(newest);
        }
        if newest == self.epoch {
            self.transcript.tell(&job.steps);
            let attempt = job.attempts.iter().find(|attempt| attempt.epoch == newest);
            attempt.into_iter().for_each(|attempt| self.transcript.remark(&attempt.remarks));
        }
    }

    fn attempt(&mut self, epoch: i64) {
        if epoch == self.epoch {
            return;
        }
        self.transcript.finish();
        self.transcript = Transcript::after(&mut self.transcript);
        self.epoch = epoch;
    }

    fn text(&mut self, colours: bool) -> String {
        self.transcript.take().iter().map(|line: &Line| line.paint(colours)).collect()
    }

    fn paint(&mut self, now: DateTime<Utc>, screen: &mut Screen) -> Result<(), Failed> {
        let text = self.text(screen.shows_colour());
        let window = if self.is_live { screen.window() } else { None };
        let rows = window.map(|window| live::rows(&self.transcript.standing(), now, window)).unwrap_or_default();
        screen.frame(&text, rows)
    }
}
