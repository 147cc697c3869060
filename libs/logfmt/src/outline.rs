//! Which steps wrote the lines of a run of the stream, and when: what finds a step's lines without reading the others.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::chunk::Chunk;
use crate::groups::{self, Begin, Cut, Head, MAX_RUN_MARKS, Mark};

/// Steps of an outline that is written down; a run with more is read again instead.
const MAX_STEPS: usize = 1024;

/// The lines of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// Steps with the number of lines that begin here, in the order of their first bytes. A line belongs to whoever wrote
    /// its first byte; the first byte of the run counts as one.
    pub steps: Vec<(u32, i64)>,
    /// The last line goes on behind the run.
    pub open: bool,
    /// When the first byte was written.
    pub first_at: DateTime<Utc>,
    /// When the last one was.
    pub last_at: DateTime<Utc>,
    /// Lines that begin or end groups, the first [`MAX_RUN_MARKS`] of them. The first line of the run counts as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// How the run begins, for one that begins inside of a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// How its last line begins, if that may yet become a mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Cut>,
}

impl Outline {
    /// The outline of a chunk; `None` for an empty one.
    pub fn of(chunk: &Chunk) -> Option<Self> {
        let (first, last) = (chunk.spans.first()?, chunk.spans.last()?);
        let mut steps: Vec<(u32, i64)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        let (mut at, mut begins) = (0usize, true);
        let (mut marks, mut tail) = (Vec::new(), None);
        for span in &chunk.spans {
            let end = at + span.len as usize;
            let bytes = chunk.bytes.get(at..end)?;
            let place = *places.entry(span.step).or_insert_with(|| {
                steps.push((span.step, 0));
                steps.len() - 1
            });
            let lines = &mut steps.get_mut(place)?.1;
            // A break at the very end begins a line of whoever comes next.
            let after_breaks =
                memchr::memchr_iter(b'\n', bytes).map(|place| place + 1).filter(|place| *place < bytes.len());
            for start in begins.then_some(0).into_iter().chain(after_breaks) {
                match groups::begin(chunk.bytes.get(at + start..)?, span, *lines) {
                    Begin::Mark(mark) if marks.len() < MAX_RUN_MARKS => marks.push(mark),
                    Begin::Cut(cut) => tail = Some(cut),
                    Begin::Mark(_) | Begin::Line => {}
                }
                *lines += 1;
            }
            (at, begins) = (end, bytes.last() == Some(&b'\n'));
        }
        let head = Some(groups::head(&chunk.bytes));
        Some(Self { steps, open: !begins, first_at: first.at, last_at: last.at, marks, head, tail })
    }

    /// Whether it is worth writing down.
    pub fn is_small(&self) -> bool {
        self.steps.len() <= MAX_STEPS
    }

    /// The same for a run that is known to begin with a line.
    pub fn at_line_start(mut self) -> Self {
        self.head = None;
        self
    }

    /// The same for a run that begins inside of a line.
    pub fn after_open(mut self) -> Self {
        if let Some(first) = self.steps.first_mut() {
            first.1 -= 1;
        }
        self
    }

    /// Lines that begin here.
    pub fn lines(&self) -> i64 {
        self.steps.iter().map(|(_, lines)| lines).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::chunk::tests::chunk;

    /// Line by line, from the first byte of each.
    fn simply(chunk: &Chunk) -> BTreeMap<u32, i64> {
        let writers = chunk.spans.iter().flat_map(|span| std::iter::repeat_n(span.step, span.len as usize));
        let mut lines: BTreeMap<u32, i64> = chunk.spans.iter().map(|span| (span.step, 0)).collect();
        let mut begins = true;
        for (byte, step) in chunk.bytes.iter().zip(writers) {
            *lines.entry(step).or_default() += i64::from(begins);
            begins = *byte == b'\n';
        }
        lines
    }

    proptest! {
        #[test]
        fn lines_are_counted_by_who_begins_them(chunk in chunk(), cut in any::<prop::sample::Index>()) {
            prop_assume!(!chunk.bytes.is_empty());
            let bytes: Vec<u8> = chunk.bytes.iter().map(|byte| if byte % 3 == 0 { b'\n' } else { *byte }).collect();
            let chunk = Chunk { bytes: bytes.into(), ..chunk };
            let outline = Outline::of(&chunk).expect("few steps");
            let wanted = simply(&chunk);
            prop_assert_eq!(outline.lines(), wanted.values().sum::<i64>());
            prop_assert_eq!(outline.steps.iter().copied().collect::<BTreeMap<_, _>>(), wanted.clone());
            prop_assert_eq!(outline.open, !chunk.bytes.ends_with(b"\n"));
            // Cut in two, the halves have the same lines together.
            let middle = chunk.offset + cut.index(chunk.bytes.len() + 1) as i64;
            let mut both: BTreeMap<u32, i64> = BTreeMap::new();
            let mut open = false;
            for half in [chunk.slice(i64::MIN, middle), chunk.slice(middle, i64::MAX)].into_iter().flatten() {
                let outline = Outline::of(&half).expect("few steps");
                let outline = if open { outline.after_open() } else { outline };
                open = outline.open;
                for (step, lines) in outline.steps {
                    *both.entry(step).or_default() += lines;
                }
            }
            prop_assert_eq!(both, wanted);
        }
    }
}
