//! Stored bytes that cannot be had any more: their object is gone, or is not what was stored. What the rows say of them is
//! shown in their place, with as many bytes and line breaks, so that all that stands behind keeps its offset and its line.

use chrono::{DateTime, Utc};
use serde::Serialize;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_store::logs::LogSegment;

/// A run of the log that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// Its first byte.
    pub from: i64,
    /// The byte after its last one.
    pub to: i64,
    /// The line in which it begins, from 1.
    pub line: i64,
    /// Line breaks in it.
    pub lines: i64,
    /// What happened.
    pub why: Why,
}

/// Why a run cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// There is no object.
    Missing,
    /// The object does not read, or is another one.
    Damaged,
}

impl Hole {
    /// In place of a stored run.
    pub fn of(row: &LogSegment, why: Why) -> Self {
        Self { from: row.start_offset, to: row.end_offset, line: row.first_line + 1, lines: row.lines, why }
    }

    /// In words, as a line of ours.
    pub fn words(&self) -> String {
        let what = match self.why {
            Why::Missing => "is missing in storage",
            Why::Damaged => "is damaged in storage",
        };
        let (bytes, last) = (self.to - self.from, self.line + self.lines);
        format!("[slipway] This part of the log {what}: {bytes} bytes, lines {} to {last}.", self.line)
    }

    /// Exactly as many bytes and line breaks, with the words among them as far as they fit.
    pub fn filled(&self, at: DateTime<Utc>) -> Chunk {
        let len = usize::try_from(self.to - self.from).unwrap_or(0);
        let breaks = usize::try_from(self.lines).unwrap_or(0).min(len);
        // It may begin inside of a line; with breaks to spare it gets one of its own.
        let before = usize::from(breaks > 1);
        let room = len - breaks;
        let words = self.words();
        let words = words.as_bytes().get(..words.len().min(room)).unwrap_or_default();
        let mut bytes = vec![b'\n'; before];
        bytes.extend_from_slice(words);
        bytes.resize(before + room, b' ');
        bytes.resize(len, b'\n');
        let span = Span { len: u32::try_from(len).unwrap_or(u32::MAX), step: 0, stream: Stream::Meta, at };
        Chunk { offset: self.from, bytes: bytes.into(), spans: vec![span] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slipway_logfmt::text::count_lines;

    use super::*;

    proptest! {
        #[test]
        fn what_stands_behind_keeps_its_place(len in 1i64..5000, lines in 0i64..5000, from in 0i64..1 << 40) {
            prop_assume!(lines <= len);
            let hole = Hole { from, to: from + len, line: 7, lines, why: Why::Missing };
            let chunk = hole.filled(DateTime::UNIX_EPOCH);
            prop_assert_eq!((chunk.offset, chunk.end()), (from, from + len));
            prop_assert_eq!(count_lines(&chunk.bytes), lines);
            prop_assert!(Chunk::decode(&chunk.encode()).is_ok());
            if len - lines > 100 {
                let text = String::from_utf8(chunk.bytes.to_vec()).expect("text");
                let named = text.lines().any(|line| line.starts_with("[slipway] This part of the log is missing"));
                prop_assert!(named, "{text:?}");
            }
        }
    }
}
