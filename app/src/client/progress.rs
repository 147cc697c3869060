//! In what form a log is shown: the bytes as they are stored, lines as BuildKit's plain progress writes them, or
//! those lines above a block of running steps that is drawn anew.

pub mod line;
pub mod live;
pub mod transcript;
pub mod view;

use clap::ValueEnum;

use crate::client::exit::Failed;
use crate::client::screen::Screen;

/// How a log is shown.
#[derive(Debug, Default, clap::Args)]
pub struct ProgressArgs {
    /// Form of the log: `plain` is one line per output with its step and time, as BuildKit writes it, `tty` adds
    /// the running steps at the bottom of a terminal
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    progress: Progress,
    /// Print the log as it is stored, without steps and times
    #[arg(long, conflicts_with = "progress")]
    raw: bool,
}

/// What the user may ask for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// What suits the output: `tty` on a terminal that follows; elsewhere `plain`, but for `logs` the log as stored
    #[default]
    Auto,
    /// Lines with steps and times
    Plain,
    /// The same, and the running steps at the bottom of the terminal
    Tty,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The log as it is stored.
    Raw,
    /// Lines with steps and times.
    Plain,
    /// The same above a live block.
    Live,
}

impl ProgressArgs {
    /// The form for this output; `auto` means `at_terminal` on a terminal and `elsewhere` in a file or a pipe.
    /// JSON is made of the raw log.
    pub fn form(&self, at_terminal: Form, elsewhere: Form, screen: &Screen) -> Result<Form, Failed> {
        if screen.wants_json() || self.raw {
            return Ok(Form::Raw);
        }
        match self.progress {
            Progress::Plain => Ok(Form::Plain),
            Progress::Auto if screen.is_terminal() => Ok(at_terminal),
            Progress::Auto => Ok(elsewhere),
            Progress::Tty if screen.is_terminal() => Ok(Form::Live),
            Progress::Tty => {
                Err(Failed::usage("Standard output is no terminal, which --progress tty needs; use --progress plain."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::screen::Look;

    #[test]
    fn the_form_follows_the_wish_and_the_output() {
        let (auto, plain, tty) = (Progress::Auto, Progress::Plain, Progress::Tty);
        let cases = [
            ((auto, false), (true, false), Some(Form::Live)),
            ((auto, false), (false, false), Some(Form::Plain)),
            ((auto, false), (false, true), Some(Form::Raw)),
            ((plain, false), (true, false), Some(Form::Plain)),
            ((tty, false), (true, false), Some(Form::Live)),
            ((tty, false), (false, false), None),
            ((auto, true), (true, false), Some(Form::Raw)),
            ((plain, false), (true, true), Some(Form::Raw)),
        ];
        for ((progress, raw), (terminal, json), expected) in cases {
            let look = Look { terminal, json, colour: terminal };
            let screen = Screen::new(Box::new(Vec::new()), Box::new(Vec::new()), look);
            let form = ProgressArgs { progress, raw }.form(Form::Live, Form::Plain, &screen);
            assert_eq!(form.ok(), expected, "{progress:?} {raw} {look:?}");
        }
    }
}
