//! Finds encodings that are broken into lines of any lengths. Bytes are looked at only from a line on whose last characters
//! stand in an encoding, for as long as one goes on behind the line's break.

use std::ops::Range;

use aho_corasick::nfa::contiguous::NFA;
use memchr::{memchr_iter, memrchr};

use super::TooLarge;
use super::encodings::MIN_LINE_CHARS;
use super::finder::Finder;

/// Of a filter that is asked once a line: it fits into the fastest cache.
const TAIL_BITS: u32 = 15;

/// Encodings, ready to be found over line breaks.
pub(super) struct Wraps {
    finder: Finder<NFA>,
    longest: usize,
    tails: Tails,
}

/// The last characters of lines that may end inside an encoding. Lets through a few others.
struct Tails(Vec<u64>);

/// What was read, line breaks left out.
#[derive(Default)]
struct Walk {
    /// Where each character stands.
    places: Vec<usize>,
    /// How many characters stood before each line but the first.
    lines: Vec<usize>,
}

impl Wraps {
    pub(super) fn new(encodings: &[Vec<u8>]) -> Result<Self, TooLarge> {
        let longest = encodings.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self { finder: Finder::graph(encodings)?, longest, tails: Tails::new(encodings) })
    }

    /// Adds where encodings lie that have line breaks in them, and returns how many bytes at the end may begin one and have
    /// a line break already.
    pub(super) fn find(&self, bytes: &[u8], finds: &mut Vec<Range<usize>>) -> usize {
        // The other half of the last break may be on its way.
        let half = bytes.last().filter(|last| **last == b'\r').map(|_| bytes.len() - 1);
        let (mut walked, mut waiting) = (0, 0);
        for place in memchr_iter(b'\n', bytes).chain(half) {
            let line = bytes.get(..place).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if place >= walked && self.tails.may_have(line) {
                (walked, waiting) = self.walk(bytes, line.len(), finds);
            }
        }
        waiting
    }

    /// Reads from the line that ends at `line_end`; where that was over, and how many bytes may begin an encoding.
    fn walk(&self, bytes: &[u8], line_end: usize, finds: &mut Vec<Range<usize>>) -> (usize, usize) {
        let line = bytes.get(..line_end).unwrap_or_default();
        let begin = memrchr(b'\n', line).map_or(0, |last| last + 1);
        let mut at = begin.max(line_end.saturating_sub(self.longest));
        let mut walk = Walk::default();
        let mut state = self.finder.start();
        while let Some(byte) = bytes.get(at) {
            let break_bytes = line_break(bytes.get(at..).unwrap_or_default());
            if break_bytes > 0 {
                at += break_bytes;
                // An empty line ends an encoding.
                if !walk.end_line() || self.finder.waiting(state) < MIN_LINE_CHARS {
                    return (at, 0);
                }
                continue;
            }
            state = self.finder.step(state, *byte);
            walk.places.push(at);
            at += 1;
            finds.extend(self.finder.ending(state).filter_map(|length| walk.broken(length)).map(|start| start..at));
            if walk.has_all_in_line(self.finder.waiting(state)) {
                return (at, 0);
            }
        }
        (at, walk.start(self.finder.waiting(state)).map_or(0, |start| bytes.len().saturating_sub(start)))
    }
}

impl Walk {
    /// Ends a line; false if it is empty.
    fn end_line(&mut self) -> bool {
        let chars = self.places.len();
        let is_empty = self.lines.last().copied().unwrap_or(0) == chars;
        self.lines.push(chars);
        !is_empty
    }

    /// Where the last so many characters begin.
    fn start(&self, length: usize) -> Option<usize> {
        self.places.get(self.places.len().checked_sub(length)?).copied()
    }

    /// The same if they have a line break in them and enough of them stand before it.
    fn broken(&self, length: usize) -> Option<usize> {
        let first = self.places.len().checked_sub(length)?;
        let next_line = self.lines.get(self.lines.partition_point(|line| *line <= first))?;
        (next_line - first >= MIN_LINE_CHARS).then(|| self.start(length)).flatten()
    }

    /// True for the last so many characters if they all stand in one line, which is not the first.
    fn has_all_in_line(&self, length: usize) -> bool {
        self.lines.last().is_some_and(|line| self.places.len().saturating_sub(length) >= *line)
    }
}

impl Tails {
    fn new(encodings: &[Vec<u8>]) -> Self {
        let mut tails = Self(vec![0; 1 << (TAIL_BITS - u64::BITS.trailing_zeros())]);
        for (word, bit) in encodings.iter().flat_map(|encoding| encoding.windows(MIN_LINE_CHARS)).filter_map(place) {
            if let Some(word) = tails.0.get_mut(word) {
                *word |= bit;
            }
        }
        tails
    }

    fn may_have(&self, line: &[u8]) -> bool {
        place(line).is_some_and(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// The word and the bit of it that stand for the last characters.
fn place(line: &[u8]) -> Option<(usize, u64)> {
    let tail: &[u8; MIN_LINE_CHARS] = line.last_chunk()?;
    let key = tail.iter().fold(0_u32, |key, byte| (key << 8) | u32::from(*byte));
    // Multiplication by the golden ratio spreads keys over the upper bits.
    let hash = key.wrapping_mul(0x9e37_79b1) >> (u32::BITS - TAIL_BITS);
    Some((hash as usize / u64::BITS as usize, 1 << (hash % u64::BITS)))
}

/// Length of the line break that the bytes begin with; a last `\r` may become one.
fn line_break(bytes: &[u8]) -> usize {
    match bytes {
        [b'\n', ..] | [b'\r'] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
