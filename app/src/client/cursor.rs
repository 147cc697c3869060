//! How far a log has been shown: takes the pieces of a live log in whatever order and overlap the network
//! brings them, and lets every byte through once. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A piece of a live log, as the server sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The attempt.
    pub epoch: i64,
    /// Offset of its first byte in the attempt's stream.
    pub from: i64,
    /// Offset behind its last byte.
    pub to: i64,
    /// Its text by step and time.
    #[serde(default)]
    pub spans: Vec<PieceSpan>,
}

/// A part of a piece that one step wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PieceSpan {
    /// The step, as the server names it.
    #[serde(default)]
    pub step: Value,
    /// Which output.
    #[serde(default)]
    pub stream: Value,
    /// When.
    #[serde(default)]
    pub at: Value,
    /// What was written; bytes that are no text are already replaced.
    pub text: String,
}

/// The place in a job's log up to which everything has been shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    epoch: i64,
    end: i64,
    last_id: Option<String>,
}

/// What to do with a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Show what is left of it.
    Fresh {
        /// It is the first of another attempt.
        new_attempt: bool,
    },
    /// It was shown before.
    Old,
    /// Bytes before it have not come: ask again from the cursor.
    Gap {
        /// How many.
        missing_bytes: i64,
    },
}

impl Cursor {
    /// The newest attempt that was seen; 0 before the first.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// What to send as `Last-Event-ID`; `None` from the beginning.
    pub fn last_event_id(&self) -> Option<String> {
        match &self.last_id {
            Some(id) => Some(id.clone()),
            None if self.epoch > 0 => Some(format!("{}:{}", self.epoch, self.end)),
            None => None,
        }
    }

    /// Takes a piece: cuts off what was shown before and moves behind it. Nothing moves on a gap.
    pub fn take(&mut self, piece: &mut Piece, id: Option<&str>) -> Taken {
        if piece.epoch < self.epoch {
            return Taken::Old;
        }
        let new_attempt = piece.epoch > self.epoch;
        let end = if new_attempt { 0 } else { self.end };
        if piece.from > end {
            return Taken::Gap { missing_bytes: piece.from - end };
        }
        if piece.to <= end {
            return Taken::Old;
        }
        drop_front(piece, end);
        *self = Self { epoch: piece.epoch, end: piece.to, last_id: id.map(str::to_owned) };
        Taken::Fresh { new_attempt }
    }

    /// The server has moved to another attempt. True if that is news.
    pub fn begin_attempt(&mut self, epoch: i64, id: Option<&str>) -> bool {
        if epoch <= self.epoch {
            return false;
        }
        *self = Self { epoch, end: 0, last_id: id.map(str::to_owned) };
        true
    }

    /// Gives up on the bytes before a piece, which the server does not have.
    pub fn skip_to(&mut self, piece: &Piece) {
        *self = Self { epoch: piece.epoch, end: piece.from, last_id: None };
    }
}

/// Cuts off what lies before `end`. Exact as long as the piece's bytes were text; replaced bytes are longer
/// than what they stand for, and then a little may be shown twice, never lost.
fn drop_front(piece: &mut Piece, end: i64) {
    let mut skip = usize::try_from(end - piece.from).unwrap_or(0);
    piece.from = piece.from.max(end);
    for span in &mut piece.spans {
        let cut = (0..=skip.min(span.text.len())).rev().find(|at| span.text.is_char_boundary(*at)).unwrap_or(0);
        skip -= skip.min(span.text.len());
        span.text.drain(..cut);
    }
    piece.spans.retain(|span| !span.text.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(epoch: i64, from: usize, text: &str) -> Piece {
        let (front, back) = text.split_at(text.len() / 2);
        let span =
            |text: &str| PieceSpan { step: 1.into(), stream: Value::Null, at: Value::Null, text: text.to_owned() };
        let to = (from + text.len()) as i64;
        Piece { epoch, from: from as i64, to, spans: vec![span(front), span(back)] }
    }

    fn text(piece: &Piece) -> String {
        piece.spans.iter().map(|span| span.text.as_str()).collect()
    }

    #[test]
    fn pieces_are_taken_once() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.last_event_id(), None);
        assert_eq!(cursor.take(&mut piece(1, 0, "abcd"), Some("1:4")), Taken::Fresh { new_attempt: true });
        assert_eq!(cursor.take(&mut piece(1, 0, "abcd"), Some("1:4")), Taken::Old);
        assert_eq!(cursor.take(&mut piece(1, 5, "f"), Some("1:6")), Taken::Gap { missing_bytes: 1 });
        assert_eq!(cursor.last_event_id().as_deref(), Some("1:4"));
        let mut overlap = piece(1, 1, "bcdefg");
        assert_eq!(cursor.take(&mut overlap, None), Taken::Fresh { new_attempt: false });
        assert_eq!((text(&overlap).as_str(), overlap.from, overlap.to), ("efg", 4, 7));
        assert_eq!(cursor.last_event_id().as_deref(), Some("1:7"));
    }

    #[test]
    fn an_older_attempt_never_comes_back() {
        let mut cursor = Cursor::default();
        cursor.take(&mut piece(1, 0, "abc"), None);
        assert!(cursor.begin_attempt(2, None) && !cursor.begin_attempt(2, None) && !cursor.begin_attempt(1, None));
        assert_eq!(cursor.last_event_id().as_deref(), Some("2:0"));
        assert_eq!(cursor.take(&mut piece(1, 3, "def"), None), Taken::Old);
        assert_eq!(cursor.take(&mut piece(2, 0, "x"), None), Taken::Fresh { new_attempt: false });
        assert_eq!(cursor.take(&mut piece(4, 0, "y"), None), Taken::Fresh { new_attempt: true });
        assert_eq!(cursor.epoch(), 4);
    }

    #[test]
    fn missing_bytes_can_be_given_up() {
        let mut cursor = Cursor::default();
        let mut late = piece(1, 9, "late");
        assert_eq!(cursor.take(&mut late, None), Taken::Gap { missing_bytes: 9 });
        cursor.skip_to(&late);
        assert_eq!(cursor.take(&mut late, None), Taken::Fresh { new_attempt: false });
        assert_eq!(text(&late), "late");
    }

    proptest! {
        /// A server that sends the log in pieces of its own choice, over connections that break anywhere; after
        /// a break it goes on at the asked place or, if it is careless, at any earlier one.
        #[test]
        fn a_broken_connection_makes_no_gap_and_no_double(
            log in "[a-z\n]{1,80}",
            connections in prop::collection::vec((prop::collection::vec(1usize..20, 0..5), prop::option::of(0usize..80)), 0..8),
        ) {
            let (mut cursor, mut shown) = (Cursor::default(), String::new());
            let last = (vec![100], None);
            for (sizes, careless) in connections.into_iter().chain([last]) {
                let asked = cursor.last_event_id().map_or(0, |id| id.split_once(':').expect("ours").1.parse().expect("ours"));
                let mut at = careless.map_or(asked, |early| early.min(asked));
                for size in sizes {
                    let to = (at + size).min(log.len());
                    let mut piece = piece(1, at, &log[at..to]);
                    match cursor.take(&mut piece, Some(&format!("1:{to}"))) {
                        Taken::Fresh { .. } => shown.push_str(&text(&piece)),
                        Taken::Old => {}
                        Taken::Gap { .. } => prop_assert!(false, "nothing was skipped"),
                    }
                    at = to;
                }
            }
            prop_assert_eq!(shown, log);
        }
    }
}
