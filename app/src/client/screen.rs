//! Where a command writes: results to standard output, messages to standard error, and whether either of
//! them is a terminal that shows colours.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::client::exit::Failed;
use crate::client::terminal::{TerminalFilter, printable};

/// The two outputs of a command.
pub struct Screen {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    json: bool,
    colour: bool,
    terminal: bool,
    /// The last byte of standard output was a line break, or nothing was written yet.
    line_ended: bool,
}

/// What the user sees of an output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// JSON is wanted instead of text.
    pub json: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Colours may be used there.
    pub colour: bool,
}

impl Screen {
    /// The outputs of this process.
    pub fn of_process(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour =
            wants_colour(terminal, std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref());
        let look = Look { json, terminal, colour };
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()), look)
    }

    /// Any outputs.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, look: Look) -> Self {
        let Look { json, terminal, colour } = look;
        Self { out, err, json, colour, terminal, line_ended: true }
    }

    /// True if the user wants JSON.
    pub fn wants_json(&self) -> bool {
        self.json
    }

    /// True if standard output shows colours.
    pub fn shows_colour(&self) -> bool {
        self.colour
    }

    /// What build output must pass before it is shown here.
    pub fn filter(&self) -> TerminalFilter {
        if self.colour {
            TerminalFilter::keep_colours()
        } else if self.terminal {
            TerminalFilter::plain_terminal()
        } else {
            TerminalFilter::plain()
        }
    }

    /// A line of the result.
    pub fn line(&mut self, text: &str) -> Result<(), Failed> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// The result as JSON, on one line.
    pub fn object(&mut self, value: &impl Serialize) -> Result<(), Failed> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failed::server(format!("The answer cannot be written as JSON: {error}.")))?;
        self.line(&text)
    }

    /// A piece of the result as it is, at once.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        if let Some(last) = bytes.last() {
            self.line_ended = *last == b'\n';
        }
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failed::NobodyListens,
            _ => Failed::server(format!("The output cannot be written: {error}.")),
        })
    }

    /// Build output that is not the result, to standard error.
    pub fn aside(&mut self, bytes: &[u8]) {
        // Nobody can be told that nobody can be told.
        let _ = self.err.write_all(bytes).and_then(|()| self.err.flush());
    }

    /// A message to the user.
    pub fn say(&mut self, text: &str) {
        if self.terminal && !self.line_ended && self.bytes(b"\n").is_err() {
            return;
        }
        // Nobody can be told that nobody can be told.
        let _ = writeln!(self.err, "{}", printable(text)).and_then(|()| self.err.flush());
    }
}

/// The rules of no-color.org, and no colours on a terminal that calls itself dumb.
fn wants_colour(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term != Some(OsStr::new("dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_they_are_wanted() {
        let some = |text| Some(OsStr::new(text));
        let cases = [
            ((true, None, some("xterm")), true),
            ((true, None, None), true),
            ((false, None, some("xterm")), false),
            ((true, some("1"), some("xterm")), false),
            ((true, some(""), some("xterm")), true),
            ((true, None, some("dumb")), false),
        ];
        for ((terminal, no_color, term), expected) in cases {
            assert_eq!(wants_colour(terminal, no_color, term), expected, "{terminal} {no_color:?} {term:?}");
        }
    }
}
