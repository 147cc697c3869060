//! Where a command writes: results to standard output, messages to standard error, and whether either of
//! them is a terminal that shows colours.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::client::exit::Failed;
use crate::client::terminal::{TerminalFilter, printable};
use crate::client::window::{Window, columns};

/// The cursor is hidden within one write only: however the process ends, it is there again.
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// The two outputs of a command.
pub struct Screen {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    json: bool,
    colour: bool,
    terminal: bool,
    /// The last byte of standard output was a line break, or nothing was written yet.
    line_ended: bool,
    /// Rows of the live block that stand above the cursor.
    rows: Vec<String>,
    measure: fn() -> Option<Window>,
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
        let term = std::env::var_os("TERM");
        let colour = wants_colour(terminal, std::env::var_os("NO_COLOR").as_deref(), term.as_deref());
        let look = Look { json, terminal, colour };
        let screen = Self::new(Box::new(io::stdout()), Box::new(io::stderr()), look);
        let moves_cursor = terminal && term.as_deref() != Some(OsStr::new("dumb"));
        Self { measure: if moves_cursor { Window::of_stdout } else { no_window }, ..screen }
    }

    /// Any outputs.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, look: Look) -> Self {
        let Look { json, terminal, colour } = look;
        Self { out, err, json, colour, terminal, line_ended: true, rows: Vec::new(), measure: no_window }
    }

    /// True if the user wants JSON.
    pub fn wants_json(&self) -> bool {
        self.json
    }

    /// True if standard output shows colours.
    pub fn shows_colour(&self) -> bool {
        self.colour
    }

    /// True if standard output is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The terminal's size as it is now; `None` if no block can be drawn there.
    pub fn window(&self) -> Option<Window> {
        (self.measure)()
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

    /// Whole lines of the result above a block that is drawn anew: all in one piece, so that nothing flickers. The
    /// rows are plain text that fits the window; the cursor stands behind them at the beginning of a line.
    pub fn frame(&mut self, text: &str, rows: Vec<String>) -> Result<(), Failed> {
        if text.is_empty() && rows == self.rows {
            return Ok(());
        }
        if rows.is_empty() {
            // What is written next takes the old block away.
            return self.bytes(text.as_bytes());
        }
        let (begin, end) = if self.colour { ("\x1b[36m", "\x1b[0m") } else { ("", "") };
        let block: String = rows.iter().map(|row| format!("{begin}{row}{end}\n")).collect();
        let frame = format!("{HIDE_CURSOR}{}{text}{block}{SHOW_CURSOR}", self.erasure());
        self.write(frame.as_bytes())?;
        (self.rows, self.line_ended) = (rows, true);
        Ok(())
    }

    /// A piece of the result as it is, at once.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let erasure = self.erasure();
        if erasure.is_empty() {
            return self.write(bytes);
        }
        self.write(&[erasure.as_bytes(), bytes].concat())?;
        self.rows.clear();
        self.line_ended = bytes.last().is_none_or(|last| *last == b'\n');
        Ok(())
    }

    /// What takes the block from the terminal. A window that became narrower has broken its rows.
    fn erasure(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let width = self.window().map_or(usize::MAX, |window| window.columns.max(1));
        let height: usize = self.rows.iter().map(|row| columns(row).div_ceil(width).max(1)).sum();
        format!("\r\x1b[{height}A\x1b[J")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
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
        if !self.rows.is_empty() && self.bytes(b"").is_err() {
            return;
        }
        if self.terminal && !self.line_ended && self.bytes(b"\n").is_err() {
            return;
        }
        // Nobody can be told that nobody can be told.
        let _ = writeln!(self.err, "{}", printable(text)).and_then(|()| self.err.flush());
    }
}

fn no_window() -> Option<Window> {
    None
}

/// The rules of no-color.org, and no colours on a terminal that calls itself dumb.
fn wants_colour(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term != Some(OsStr::new("dumb"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A terminal of 20 columns that knows what we use.
    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Shown>>);

    #[derive(Default)]
    struct Shown {
        rows: Vec<String>,
        row: usize,
        hidden: bool,
        writes: usize,
    }

    impl Shown {
        fn take(&mut self, text: &str) {
            let mut rest = text.chars();
            while let Some(c) = rest.next() {
                self.rows.resize(self.rows.len().max(self.row + 1), String::new());
                match c {
                    '\x1b' => {
                        let sequence: String = rest.by_ref().skip(1).take_while(|c| !c.is_alphabetic()).collect();
                        // take_while ate the final letter; ours are told apart by their parameters.
                        match sequence.as_str() {
                            "" => self.rows.truncate(self.row),
                            "?25" => self.hidden = !self.hidden,
                            up => self.row -= up.parse::<usize>().expect("rows"),
                        }
                    }
                    '\n' => self.row += 1,
                    '\r' => {}
                    c => self.rows[self.row].push(c),
                }
            }
        }
    }

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut shown = self.0.lock().expect("no panic");
            shown.take(std::str::from_utf8(bytes).expect("text"));
            shown.writes += 1;
            assert!(!shown.hidden, "the cursor is there after each write");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_block_stays_at_the_bottom_and_goes() {
        let terminal = Terminal::default();
        let look = Look { terminal: true, ..Look::default() };
        let mut screen = Screen::new(Box::new(terminal.clone()), Box::new(io::sink()), look);
        screen.measure = || Some(Window { columns: 20, rows: 10 });
        let seen = |rows: &[&str]| {
            let shown = terminal.0.lock().expect("no panic");
            let text: Vec<&str> = shown.rows.iter().map(String::as_str).filter(|row| !row.is_empty()).collect();
            assert_eq!(text, rows);
            shown.writes
        };
        let rows = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        screen.frame("one\n", rows(&["[+]", "step 1"])).expect("written");
        seen(&["one", "[+]", "step 1"]);
        screen.frame("two\nthree\n", rows(&["[+]"])).expect("written");
        assert_eq!(seen(&["one", "two", "three", "[+]"]), 2, "one write for each frame");
        screen.frame("", rows(&["[+]"])).expect("written");
        assert_eq!(seen(&["one", "two", "three", "[+]"]), 2, "nothing new, nothing written");
        screen.say("a message");
        seen(&["one", "two", "three"]);
        screen.frame("", rows(&["[+]"])).expect("written");
        screen.frame("four\n", Vec::new()).expect("written");
        seen(&["one", "two", "three", "four"]);
        screen.frame("", rows(&["a row of the block"])).expect("written");
        screen.measure = || Some(Window { columns: 10, rows: 10 });
        assert_eq!(screen.erasure(), "\r\x1b[2A\x1b[J", "the row takes two now");
    }

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
