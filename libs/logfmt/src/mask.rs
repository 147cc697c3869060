//! Replaces secrets in a stream by `***`, whatever the borders of its pieces: the raw value, its base64 at
//! the three alignments (standard and URL alphabet), its URL-escaped and its JSON-escaped form, and every
//! line of a value of many lines. Overlapping finds become one mask. Only bytes that may be the beginning
//! of a secret wait for the next piece, so that a live log is not held up.

mod encodings;

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

pub use encodings::MIN_SECRET_BYTES;

/// What stands in the log instead of a secret.
pub const MASK: &[u8] = b"***";

/// The secrets of one attempt, ready to search for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets {
    patterns: Option<Arc<Patterns>>,
}

struct Patterns {
    automaton: AhoCorasick,
    /// Sorted, so that those with a given beginning stand together.
    sorted: Vec<Vec<u8>>,
    longest: usize,
}

/// The values are too many or too large to search for.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the secrets are too large to be searched for in the log")]
pub struct TooLarge;

/// Masks one output of one step.
#[derive(Clone, Default)]
pub struct Masker {
    secrets: Secrets,
    held: Vec<u8>,
    /// So many bytes at the front of `held` belong to a secret whose mask is already out.
    masked: usize,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker")
    }
}

impl Secrets {
    /// Prepares the search. White space around a value does not count; values shorter than
    /// [`MIN_SECRET_BYTES`] are left out, because masking them would shred every log.
    pub fn new<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Result<Self, TooLarge> {
        let mut sorted: Vec<Vec<u8>> = values.into_iter().flat_map(|value| encodings::forms(value.as_ref())).collect();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.is_empty() {
            return Ok(Self::default());
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&sorted).map_err(|_| TooLarge)?;
        let longest = sorted.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self { patterns: Some(Arc::new(Patterns { automaton, sorted, longest })) })
    }

    /// A masker at the beginning of an output.
    pub fn masker(&self) -> Masker {
        Masker { secrets: self.clone(), held: Vec::new(), masked: 0 }
    }

    /// A whole text, masked.
    pub fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masker = self.masker();
        let mut out = masker.push(bytes);
        out.extend(masker.finish());
        out
    }
}

impl Patterns {
    /// Length of the longest end of `bytes` that a secret begins with and does not end with.
    fn waiting(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.longest.saturating_sub(1));
        (1..=most).rev().find(|len| self.begins_one(bytes.get(bytes.len() - len..).unwrap_or_default())).unwrap_or(0)
    }

    fn begins_one(&self, end: &[u8]) -> bool {
        // The first pattern behind `end` in order is longer and begins with it, if any does.
        let place = self.sorted.partition_point(|pattern| pattern.as_slice() <= end);
        self.sorted.get(place).is_some_and(|pattern| pattern.starts_with(end))
    }

    /// Where secrets lie, overlapping ones joined, in order.
    fn finds(&self, bytes: &[u8], masked: usize) -> Vec<std::ops::Range<usize>> {
        let mut finds: Vec<_> = self.automaton.find_overlapping_iter(bytes).map(|find| find.range()).collect();
        finds.sort_unstable_by_key(|find| (find.start, find.end));
        let mut joined: Vec<std::ops::Range<usize>> = Vec::new();
        if masked > 0 {
            joined.push(0..masked);
        }
        for find in finds {
            match joined.last_mut() {
                Some(last) if find.start < last.end => last.end = last.end.max(find.end),
                _ => joined.push(find),
            }
        }
        joined
    }
}

impl Masker {
    /// Takes the next piece and returns what can be said now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(patterns) = self.secrets.patterns.clone() else { return piece.to_vec() };
        self.held.extend_from_slice(piece);
        let cut = self.held.len() - patterns.waiting(&self.held);
        self.emit(&patterns, cut)
    }

    /// The end of the output: what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let Some(patterns) = self.secrets.patterns.clone() else { return Vec::new() };
        self.emit(&patterns, self.held.len())
    }

    /// Says everything before `cut`. No secret begins before `cut` and ends after what is held: its
    /// beginning would be waiting. One that is known to reach over `cut` is masked now, and its rest is
    /// remembered as masked.
    fn emit(&mut self, patterns: &Patterns, cut: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(cut);
        let mut said = 0;
        let mut masked = 0;
        let already = self.masked;
        for find in patterns.finds(&self.held, already) {
            if find.start >= cut && !(already > 0 && find.start == 0) {
                break;
            }
            out.extend_from_slice(self.held.get(said..find.start).unwrap_or_default());
            if already == 0 || find.start > 0 {
                out.extend_from_slice(MASK);
            }
            said = find.end.min(cut);
            masked = find.end.saturating_sub(cut);
        }
        out.extend_from_slice(self.held.get(said..cut).unwrap_or_default());
        self.held.drain(..cut);
        self.masked = masked;
        out
    }
}

#[cfg(test)]
mod tests;
