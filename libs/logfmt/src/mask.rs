//! Replaces secrets in a stream by `***`, whatever the borders of its pieces: the raw value, its base64 at
//! the three alignments (standard and URL alphabet), its hexadecimal, its URL-escaped and its JSON-escaped form, and every
//! line of a value of many lines. Base64 and hexadecimal are found where a program broke them into lines as well, of any
//! lengths from three characters and with either line ending, as long as all values together are not larger than 16 KiB, else
//! those of the shorter ones; up to two characters may stay before the first break. What a program puts between such lines hides them: empty lines, indentation, times, offsets, escape sequences. Overlapping finds
//! become one mask in each line that they touch; line breaks stay. Only bytes that may be the beginning of a secret wait for
//! the next piece, so that a live log is not held up: fewer than the longest form has, and the line breaks between them.

mod encodings;
mod finder;
mod wraps;

use std::ops::Range;
use std::sync::Arc;

use encodings::Forms;
pub use encodings::MIN_SECRET_BYTES;
use finder::AnyFinder;
use wraps::Wraps;

/// What stands in the log instead of a secret.
pub const MASK: &[u8] = b"***";

/// The secrets of one attempt, ready to search for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets {
    patterns: Option<Arc<Patterns>>,
}

struct Patterns {
    forms: AnyFinder,
    wraps: Wraps,
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
    /// So many bytes at the front of `held` belong to a secret that began before them.
    masked: usize,
    /// Whether its mask in the line of these bytes is out.
    is_mask_out: bool,
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
        let mut forms = Forms::default();
        let mut values: Vec<T> = values.into_iter().collect();
        values.sort_by_key(|value| value.as_ref().len());
        values.iter().for_each(|value| forms.add(value.as_ref()));
        if forms.plain.is_empty() {
            return Ok(Self::default());
        }
        let encoded = distinct(forms.encoded);
        let wraps = Wraps::new(&encoded)?;
        let all = distinct([forms.plain, encoded].concat());
        Ok(Self { patterns: Some(Arc::new(Patterns { forms: AnyFinder::new(&all)?, wraps })) })
    }

    /// A masker at the beginning of an output.
    pub fn masker(&self) -> Masker {
        Masker { secrets: self.clone(), ..Masker::default() }
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
    /// Where secrets lie, in order, and how many bytes at the end may begin one.
    fn find(&self, bytes: &[u8]) -> (Vec<Range<usize>>, usize) {
        let mut finds = Vec::new();
        let waiting = self.forms.find(bytes, &mut finds).max(self.wraps.find(bytes, &mut finds));
        finds.sort_unstable_by_key(|find| (find.start, find.end));
        (finds, waiting)
    }
}

impl Masker {
    /// Takes the next piece and returns what can be said now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(patterns) = self.secrets.patterns.clone() else { return piece.to_vec() };
        self.held.extend_from_slice(piece);
        let (finds, waiting) = patterns.find(&self.held);
        self.emit(finds, self.held.len() - waiting)
    }

    /// The end of the output: what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let Some(patterns) = self.secrets.patterns.clone() else { return Vec::new() };
        let (finds, _) = patterns.find(&self.held);
        self.emit(finds, self.held.len())
    }

    /// Says everything before `cut`. No secret begins before `cut` and ends after what is held: its
    /// beginning would be waiting. Of one that is known to reach over `cut`, the rest is remembered as masked.
    fn emit(&mut self, finds: Vec<Range<usize>>, cut: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(cut);
        let mut said = 0;
        let masked = std::mem::take(&mut self.masked);
        for find in joined(masked, finds) {
            let goes_on = masked > 0 && find.start == 0;
            if find.start >= cut && !goes_on {
                break;
            }
            out.extend_from_slice(self.held.get(said..find.start).unwrap_or_default());
            self.is_mask_out &= goes_on;
            said = find.end.min(cut);
            self.say_masked(find.start..said, &mut out);
            self.masked = find.end - said;
        }
        out.extend_from_slice(self.held.get(said..cut).unwrap_or_default());
        self.held.drain(..cut);
        out
    }

    /// A mask in place of what stands in each line, and the line breaks.
    fn say_masked(&mut self, find: Range<usize>, out: &mut Vec<u8>) {
        for place in find {
            match self.held.get(place..) {
                Some([byte @ b'\n', ..] | [byte @ b'\r', b'\n', ..]) => {
                    out.push(*byte);
                    self.is_mask_out = false;
                }
                _ if !self.is_mask_out => {
                    out.extend_from_slice(MASK);
                    self.is_mask_out = true;
                }
                _ => {}
            }
        }
    }
}

fn distinct(mut forms: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Finds that overlap become one, also with the first `masked` bytes.
fn joined(masked: usize, finds: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
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

#[cfg(test)]
mod tests;
