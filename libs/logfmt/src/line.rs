//! Turns the pieces that one output of one step comes in into whole lines, so that parallel steps never
//! mix inside a line.

use chrono::{DateTime, Utc};

use crate::text::whole_characters;

/// A line longer than this is passed on in pieces.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Holds the line that has not ended yet.
#[derive(Debug, Clone, Default)]
pub struct LineAssembler {
    partial: Vec<u8>,
    since: Option<DateTime<Utc>>,
}

impl LineAssembler {
    /// Takes a piece and returns what is complete now: whole lines with their breaks, or a run of an
    /// over-long line. Empty if there is nothing yet.
    pub fn push(&mut self, at: DateTime<Utc>, piece: &[u8]) -> Vec<u8> {
        let mut out = match memchr::memrchr(b'\n', piece) {
            Some(last) => {
                let (whole, rest) = piece.split_at(last + 1);
                let mut out = std::mem::take(&mut self.partial);
                out.extend_from_slice(whole);
                self.since = None;
                self.hold(at, rest);
                out
            }
            None => {
                self.hold(at, piece);
                Vec::new()
            }
        };
        if self.partial.len() > MAX_LINE_BYTES {
            let rest = self.partial.split_off(whole_characters(&self.partial));
            out.append(&mut self.partial);
            self.partial = rest;
        }
        out
    }

    /// What is left, without a line break; empties it.
    pub fn flush(&mut self) -> Vec<u8> {
        self.since = None;
        std::mem::take(&mut self.partial)
    }

    /// Since when a line waits for its end; `None` if none does.
    pub fn waiting_since(&self) -> Option<DateTime<Utc>> {
        self.since
    }

    fn hold(&mut self, at: DateTime<Utc>, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.partial.extend_from_slice(bytes);
            self.since.get_or_insert(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    #[test]
    fn lines_come_out_whole() {
        let mut lines = LineAssembler::default();
        assert_eq!(lines.push(at(), b"one\ntw"), b"one\n");
        assert_eq!(lines.waiting_since(), Some(at()));
        assert_eq!(lines.push(at(), b"o\n"), b"two\n");
        assert_eq!(lines.waiting_since(), None);
        assert_eq!(lines.push(at(), b"rest"), b"");
        assert_eq!(lines.flush(), b"rest");
        assert_eq!(lines.flush(), b"");
    }

    #[test]
    fn an_over_long_line_is_passed_on_without_cutting_a_character() {
        let mut lines = LineAssembler::default();
        let mut long = vec![b'x'; MAX_LINE_BYTES];
        long.extend_from_slice(b"\xe2\x82");
        let out = lines.push(at(), &long);
        assert_eq!(out.len(), MAX_LINE_BYTES);
        assert_eq!(lines.push(at(), b"\xac\n"), "€\n".as_bytes());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_lines_are_whole(
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..20), 0..20),
        ) {
            let mut lines = LineAssembler::default();
            let mut out = Vec::new();
            for piece in &pieces {
                let whole = lines.push(at(), piece);
                prop_assert!(whole.is_empty() || whole.ends_with(b"\n"));
                out.extend(whole);
            }
            out.extend(lines.flush());
            prop_assert_eq!(out, pieces.concat());
        }
    }
}
