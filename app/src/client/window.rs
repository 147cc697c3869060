//! The size of a terminal, and what a text takes of it.

use std::io;

use unicode_width::UnicodeWidthChar as _;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its width.
    pub columns: usize,
    /// Its height.
    pub rows: usize,
}

impl Window {
    /// The size of the terminal that is standard output, as it is now; `None` if that is no terminal or does not tell.
    pub fn of_stdout() -> Option<Self> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let window = Self { columns: size.ws_col.into(), rows: size.ws_row.into() };
        (window.columns > 0 && window.rows > 0).then_some(window)
    }
}

/// Columns that a text takes at most: terminals that join characters need fewer.
pub fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}
