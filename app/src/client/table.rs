//! Plain aligned tables and lists of fields, as wide as their text is on a terminal.

use unicode_width::UnicodeWidthStr;

use crate::client::terminal::on_one_line;

/// Between two columns.
const GAP: &str = "  ";

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    colour: Option<&'static str>,
}

impl Cell {
    /// A text; control characters in it are made visible. An empty one is shown as `-`.
    pub fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        Self { text: if text.is_empty() { "-".to_owned() } else { on_one_line(text) }, colour: None }
    }

    /// A text that may be missing.
    pub fn maybe(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(|| Self::text(""), Self::text)
    }

    /// The state of a build, job, step, project, builder or delivery, in its colour.
    pub fn state(state: &str) -> Self {
        Self { colour: colour_of(state), ..Self::text(state) }
    }

    fn shown(&self, colours: bool) -> String {
        match self.colour {
            Some(code) if colours => format!("\x1b[{code}m{}\x1b[0m", self.text),
            Some(_) | None => self.text.clone(),
        }
    }
}

/// Lines of a table with a head; the last column is not padded.
pub fn table(head: &[&str], rows: &[Vec<Cell>], colours: bool) -> String {
    let head: Vec<Cell> = head.iter().map(Cell::text).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.width()).max().unwrap_or(0)
        })
        .collect();
    std::iter::once(&head).chain(rows).map(|row| line(row, &widths, colours)).collect()
}

/// One `name  value` line per field.
pub fn fields(pairs: &[(&str, Cell)], colours: bool) -> String {
    let widths = [pairs.iter().map(|(name, _)| name.width()).max().unwrap_or(0)];
    pairs.iter().map(|(name, cell)| line(&[Cell::text(name), cell.clone()], &widths, colours)).collect()
}

fn line(cells: &[Cell], widths: &[usize], colours: bool) -> String {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        line.push_str(&cell.shown(colours));
        if index + 1 < cells.len() {
            let width = widths.get(index).copied().unwrap_or(0);
            line.push_str(&" ".repeat(width.saturating_sub(cell.text.width())));
            line.push_str(GAP);
        }
    }
    line.push('\n');
    line
}

fn colour_of(state: &str) -> Option<&'static str> {
    match state {
        "succeeded" | "online" | "active" | "done" => Some("32"),
        "failed" | "errored" | "timed_out" | "lost" | "infra" => Some("31"),
        "running" | "dispatched" | "received" | "cancelling" | "suspect" | "draining" | "paused" => Some("33"),
        "cancelled" | "superseded" | "skipped" | "offline" | "ignored" => Some("2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_the_letters_and_colours() {
        let rows = vec![
            vec![Cell::text("应用"), Cell::state("succeeded"), Cell::text("x")],
            vec![Cell::text("a"), Cell::state("failed"), Cell::text("")],
        ];
        let plain = table(&["NAME", "STATE", "REF"], &rows, false);
        assert_eq!(plain, "NAME  STATE      REF\n应用  succeeded  x\na     failed     -\n");
        let coloured = table(&["NAME", "STATE", "REF"], &rows, true);
        assert_eq!(coloured.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", ""), plain);
        assert!(coloured.contains("\x1b[31mfailed\x1b[0m"));
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(fields(&[("id", Cell::text("a\x1b[2J\nb"))], true), "id  a\u{fffd}[2J\u{fffd}b\n");
    }
}
