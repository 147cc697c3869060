//! The block of running steps at the bottom of a terminal, as rows of plain text that fit the window. Pure.

use chrono::{DateTime, Utc};
use unicode_width::UnicodeWidthChar as _;

use crate::client::progress::line::tenths;
use crate::client::terminal::on_one_line;
use crate::client::window::{Window, columns};

/// Most rows of the block, however high the window is.
const MAX_ROWS: usize = 12;
/// A narrower window gets no block.
const MIN_COLUMNS: usize = 24;
/// A narrower window tells nothing of transfers.
const MOVED_MIN_COLUMNS: usize = 60;

/// A step that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub step: i64,
    /// Its name.
    pub name: String,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// Bytes that it has moved so far, and of how many.
    pub moved: Option<(i64, Option<i64>)>,
}

/// How far the build is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The steps that run, by number.
    pub running: Vec<Running>,
    /// Steps that ended.
    pub ended: usize,
    /// All steps that are known so far.
    pub known: usize,
}

/// The block's rows, at most half the window and never as wide as it; none while nothing runs.
pub fn rows(standing: &Standing, now: DateTime<Utc>, window: Window) -> Vec<String> {
    let room = (window.rows / 2).min(MAX_ROWS);
    let running = &standing.running;
    if running.is_empty() || room < 2 || window.columns < MIN_COLUMNS {
        return Vec::new();
    }
    // A terminal may break the line after the last column.
    let width = window.columns - 1;
    let shown = if running.len() < room { running.len() } else { room - 2 };
    let mut rows = vec![cut(&format!("[+] {} of {} steps", standing.ended, standing.known), width)];
    rows.extend(running.iter().take(shown).map(|step| row(step, now, width)));
    if shown < running.len() {
        rows.push(cut(&format!("  … and {} more", running.len() - shown), width));
    }
    rows
}

fn row(step: &Running, now: DateTime<Utc>, width: usize) -> String {
    let took = step.started_at.map(|started| format!(" {}s", tenths(now - started))).unwrap_or_default();
    let moved = step.moved.map(|moved| format!(" {}", megabytes(moved))).unwrap_or_default();
    // The name comes first where there is room for one only.
    let moved = if width < MOVED_MIN_COLUMNS { String::new() } else { moved };
    let took = format!("{moved}{took}");
    let room = width.saturating_sub(took.len());
    let name = cut(&format!(" => #{} {}", step.step, on_one_line(&step.name)), room);
    let gap = " ".repeat(room.saturating_sub(columns(&name)));
    format!("{name}{gap}{took}")
}

/// `12.3 of 80.1 MB`, or `12.3 MB` where nobody knows of how many.
fn megabytes((moved, total): (i64, Option<i64>)) -> String {
    let tenths = |bytes: i64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
    match total.filter(|total| *total > moved) {
        Some(total) => format!("{} of {} MB", tenths(moved), tenths(total)),
        None => format!("{} MB", tenths(moved)),
    }
}

/// The text if it fits, or so much of it that it fits with an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| match room.checked_sub(c.width().unwrap_or(0)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn standing(names: &[&str]) -> Standing {
        let running = names.iter().zip(4..).map(|(name, step)| Running {
            step,
            name: (*name).to_owned(),
            started_at: Some(DateTime::UNIX_EPOCH),
            moved: (step == 4).then_some((12_345_678, Some(80_100_000))),
        });
        Standing { running: running.collect(), ended: 3, known: 9 }
    }

    #[test]
    fn running_steps_stand_in_a_block_that_fits() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(12_340);
        let window = |columns, rows| Window { columns, rows };
        let two = standing(&["[build 2/5] RUN make", "[test 1/2] RUN 测试测试测试测试"]);
        assert_eq!(
            rows(&two, now, window(34, 24)),
            ["[+] 3 of 9 steps", " => #4 [build 2/5] RUN make 12.3s", " => #5 [test 1/2] RUN 测试… 12.3s"]
        );
        assert_eq!(
            rows(&two, now, window(61, 24))[1],
            format!(" => #4 [build 2/5] RUN make{}12.3 of 80.1 MB 12.3s", " ".repeat(12))
        );
        let many = standing(&["a", "b", "c", "d", "e"]);
        let shown = rows(&many, now, window(30, 8));
        assert_eq!(shown.len(), 4);
        assert_eq!(shown[3], "  … and 3 more");
        assert!(rows(&many, now, window(20, 24)).is_empty() && rows(&many, now, window(80, 3)).is_empty());
        assert!(rows(&Standing::default(), now, window(80, 24)).is_empty());
    }

    proptest! {
        #[test]
        fn no_row_is_wider_and_no_block_higher_than_the_window(
            names in prop::collection::vec("\\PC{0,60}", 0..20),
            columns_of_window in 0usize..100,
            rows_of_window in 0usize..40,
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let window = Window { columns: columns_of_window, rows: rows_of_window };
            let shown = rows(&standing(&names), DateTime::UNIX_EPOCH, window);
            prop_assert!(shown.is_empty() || shown.len() < window.rows);
            for row in &shown {
                prop_assert!(columns(row) < window.columns && !row.contains(char::is_control), "{:?}", row);
            }
        }
    }
}
