//! The lines of a build's log in the form of BuildKit's plain progress, and how they are written. Whatever others
//! wrote, names and output, loses what could steer a terminal here.

use chrono::TimeDelta;

use crate::client::terminal::{TerminalFilter, on_one_line};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Between two blocks.
    Blank,
    /// A step's block begins: `#4 [build 2/5] RUN make`.
    Begin {
        /// The step.
        step: i64,
        /// Its name; `None` if nobody told.
        name: Option<String>,
    },
    /// The block of a step is left while the step goes on: `#4 ...`.
    Left {
        /// The step.
        step: i64,
    },
    /// Output: `#4 0.123 text`.
    Output {
        /// The step.
        step: i64,
        /// Since the step began; `None` if nobody told when this was.
        since: Option<TimeDelta>,
        /// As it was written, without its line break.
        text: String,
    },
    /// A line of Slipway's own that belongs to no step.
    Own {
        /// As it was written, without its line break.
        text: String,
    },
    /// What the engine warned of in a step: `#4 WARN: text`.
    Warning {
        /// The step.
        step: i64,
        /// The warning, without its line break.
        text: String,
    },
    /// How a step ended: `#4 DONE 1.2s`.
    End {
        /// The step.
        step: i64,
        /// The end.
        end: End,
    },
    /// Above and below what a failed step said last: `------`.
    Rule,
    /// Whose last lines follow: ` > [build 2/5] RUN make:`.
    Failed {
        /// The step's name.
        name: String,
    },
    /// One of them: `0.123 text`.
    Last {
        /// Since the step began; `None` if nobody told when this was.
        since: Option<TimeDelta>,
        /// As it was written, without its line break.
        text: String,
    },
    /// So many warnings follow: ` 2 warnings found:`.
    Warnings {
        /// Their number.
        count: usize,
    },
    /// One of them: ` - text`.
    Listed {
        /// The warning, without its line break.
        text: String,
    },
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing was to do.
    Cached,
    /// It succeeded, in this time if that is known.
    Done(Option<TimeDelta>),
    /// It failed, with this exit code if it had one.
    Failed(Option<i64>),
    /// It was stopped.
    Cancelled,
}

impl Line {
    /// The line as it may be written, with its line break.
    pub fn paint(&self, colours: bool) -> String {
        let dim = |text: &str| coloured("2", text, colours);
        match self {
            Self::Blank => "\n".to_owned(),
            Self::Begin { step, name: Some(name) } => {
                format!("{}\n", coloured("1", &format!("#{step} {}", on_one_line(name)), colours))
            }
            Self::Begin { step, name: None } => format!("{}\n", coloured("1", &format!("#{step}"), colours)),
            Self::Left { step } => format!("{}\n", dim(&format!("#{step} ..."))),
            Self::Output { step, since: Some(since), text } => {
                format!("{} {}\n", dim(&format!("#{step} {}", seconds(*since))), shown(text, colours))
            }
            Self::Output { step, since: None, text } => {
                format!("{} {}\n", dim(&format!("#{step}")), shown(text, colours))
            }
            Self::Own { text } | Self::Last { since: None, text } => format!("{}\n", shown(text, colours)),
            Self::Warning { step, text } => {
                format!("{}\n", coloured("33", &format!("#{step} WARN: {}", shown(text, false)), colours))
            }
            Self::End { step, end } => format!("{}\n", coloured(end.colour(), &format!("#{step} {end}"), colours)),
            Self::Rule => "------\n".to_owned(),
            Self::Failed { name } => format!(" > {}:\n", on_one_line(name)),
            Self::Last { since: Some(since), text } => {
                format!("{} {}\n", dim(&seconds(*since)), shown(text, colours))
            }
            Self::Warnings { count: 1 } => format!("{}\n", coloured("33", " 1 warning found:", colours)),
            Self::Warnings { count } => {
                format!("{}\n", coloured("33", &format!(" {count} warnings found:"), colours))
            }
            Self::Listed { text } => format!(" - {}\n", shown(text, false)),
        }
    }
}

impl End {
    fn colour(self) -> &'static str {
        match self {
            Self::Cached | Self::Done(_) => "32",
            Self::Failed(_) => "31",
            Self::Cancelled => "33",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cached => f.write_str("CACHED"),
            Self::Done(Some(took)) => write!(f, "DONE {}s", tenths(*took)),
            Self::Done(None) => f.write_str("DONE"),
            Self::Failed(Some(code)) => write!(f, "ERROR: exit code: {code}"),
            Self::Failed(None) => f.write_str("ERROR"),
            Self::Cancelled => f.write_str("CANCELED"),
        }
    }
}

/// Seconds with one decimal, rounded: `1.2`. A negative span, which skewed clocks make, is none.
pub fn tenths(span: TimeDelta) -> String {
    let tenths = (span.num_milliseconds().max(0) + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn seconds(span: TimeDelta) -> String {
    let millis = span.num_milliseconds().max(0);
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Of a line that was written over itself, as progress bars are, what stood there at last.
pub fn at_last(text: &str) -> &str {
    let text = text.trim_end_matches('\r');
    text.rsplit('\r').next().unwrap_or(text)
}

/// Output as it is shown.
fn shown(text: &str, colours: bool) -> String {
    let text = at_last(text);
    let mut filter = if colours { TerminalFilter::keep_colours() } else { TerminalFilter::plain_terminal() };
    let mut shown = String::from_utf8_lossy(&filter.push(text.as_bytes())).into_owned();
    if shown.contains('\x1b') {
        // The next line begins with text of ours.
        shown.push_str("\x1b[0m");
    }
    shown
}

fn coloured(code: &str, text: &str, colours: bool) -> String {
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output(text: &str) -> Line {
        Line::Output { step: 4, since: Some(TimeDelta::milliseconds(1234)), text: text.to_owned() }
    }

    fn end(end: End) -> Line {
        Line::End { step: 4, end }
    }

    #[test]
    fn lines_are_written_as_buildkit_writes_them() {
        let millis = TimeDelta::milliseconds;
        let cases = [
            (Line::Blank, "\n"),
            (Line::Begin { step: 4, name: Some("[build 2/5] RUN make".to_owned()) }, "#4 [build 2/5] RUN make\n"),
            (Line::Begin { step: 4, name: Some("RUN \x1b[2J\nx".to_owned()) }, "#4 RUN \u{fffd}[2J\u{fffd}x\n"),
            (Line::Begin { step: 4, name: None }, "#4\n"),
            (Line::Left { step: 4 }, "#4 ...\n"),
            (output("text"), "#4 1.234 text\n"),
            (output("\x1b[31mred\x1b[0m\x1b[2K\x1b[1A\x07"), "#4 1.234 red\n"),
            (output(" 10%\r 50%\r100%\r"), "#4 1.234 100%\n"),
            (output(""), "#4 1.234 \n"),
            (Line::Output { step: 4, since: Some(millis(-5)), text: "early".to_owned() }, "#4 0.000 early\n"),
            (Line::Output { step: 4, since: None, text: "when?".to_owned() }, "#4 when?\n"),
            (Line::Own { text: "Building team/app".to_owned() }, "Building team/app\n"),
            (end(End::Cached), "#4 CACHED\n"),
            (end(End::Done(Some(millis(1249)))), "#4 DONE 1.2s\n"),
            (end(End::Done(Some(millis(61_250)))), "#4 DONE 61.3s\n"),
            (end(End::Done(None)), "#4 DONE\n"),
            (end(End::Failed(Some(1))), "#4 ERROR: exit code: 1\n"),
            (end(End::Failed(None)), "#4 ERROR\n"),
            (end(End::Cancelled), "#4 CANCELED\n"),
            (Line::Warning { step: 4, text: "\x1b[1mold\x07".to_owned() }, "#4 WARN: old\n"),
            (Line::Rule, "------\n"),
            (Line::Failed { name: "RUN \x1b[2Jmake".to_owned() }, " > RUN \u{fffd}[2Jmake:\n"),
            (Line::Last { since: Some(millis(1234)), text: "10%\r\x1b[2K20%".to_owned() }, "1.234 20%\n"),
            (Line::Last { since: None, text: "when?".to_owned() }, "when?\n"),
            (Line::Warnings { count: 1 }, " 1 warning found:\n"),
            (Line::Warnings { count: 12 }, " 12 warnings found:\n"),
            (Line::Listed { text: "old \x1b[1m(Dockerfile:3)".to_owned() }, " - old (Dockerfile:3)\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(line.paint(false), expected, "{line:?}");
        }
        assert_eq!(output("\x1b[31mred\x1b[2J").paint(true), "\x1b[2m#4 1.234\x1b[0m \x1b[31mred\x1b[0m\n");
    }

    proptest! {
        #[test]
        fn nothing_but_colours_reaches_the_terminal(text in prop_oneof!["\\PC{0,20}", "[\\x00-\\x9f]{0,20}"]) {
            for (line, colours) in [
                (output(&text), true),
                (output(&text), false),
                (Line::Begin { step: 1, name: Some(text.clone()) }, true),
                (Line::Own { text: text.clone() }, false),
                (Line::Warning { step: 1, text: text.clone() }, true),
                (Line::Failed { name: text.clone() }, true),
                (Line::Last { since: None, text: text.clone() }, true),
                (Line::Listed { text: text.clone() }, true),
            ] {
                // A log's line holds no line break; a name may.
                if text.contains('\n') && !matches!(line, Line::Begin { .. } | Line::Failed { .. }) {
                    continue;
                }
                let painted = line.paint(colours);
                let plain = String::from_utf8(slipway_logfmt::ansi::strip_ansi(painted.as_bytes())).expect("text");
                let steers = |c: char| c.is_control() && c != '\t';
                prop_assert!(!plain.trim_end_matches('\n').chars().any(steers), "{:?}", painted);
                prop_assert_eq!(painted.matches('\n').count(), 1);
                let is_colour = |rest: &str| {
                    let rest = rest.strip_prefix('[').unwrap_or("!");
                    rest.trim_start_matches(|c: char| c.is_ascii_digit() || ";:".contains(c)).starts_with('m')
                };
                prop_assert!(painted.split('\x1b').skip(1).all(is_colour), "{:?}", painted);
            }
        }
    }
}
