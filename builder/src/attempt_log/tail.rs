//! The last lines that each step wrote, for its failure. They are taken from what goes into the log, so they are
//! masked, and whole lines as far as the log has such.

use std::collections::{BTreeMap, VecDeque};

use slipway_logfmt::ansi::strip_ansi;
use slipway_logfmt::chunk::{Chunk, Stream};

/// Most lines of one step.
const MAX_LINES: usize = 20;
/// Most bytes of them together.
const MAX_BYTES: usize = 4096;
/// A longer line is cut, bytes.
const MAX_LINE_BYTES: usize = 1000;
/// Of one piece only its end is looked at, bytes.
const LOOK_BYTES: usize = 64 * 1024;
/// Steps that are remembered, those that wrote last; more do not run at the same time.
const MAX_STEPS: usize = 64;

/// The ends of all steps' outputs.
#[derive(Debug, Default)]
pub(super) struct Tails {
    steps: BTreeMap<u32, Tail>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// A line that has no end yet, and who writes it.
    open: Option<(Stream, Vec<u8>)>,
    written: u64,
}

impl Tails {
    /// Takes what goes into the log.
    pub(super) fn take(&mut self, chunk: &Chunk) {
        let mut rest: &[u8] = &chunk.bytes;
        for span in &chunk.spans {
            let (bytes, after) = rest.split_at((span.len as usize).min(rest.len()));
            rest = after;
            self.clock += 1;
            if !self.steps.contains_key(&span.step) && self.steps.len() >= MAX_STEPS {
                let oldest = self.steps.iter().min_by_key(|(_, tail)| tail.written).map(|(step, _)| *step);
                oldest.map(|step| self.steps.remove(&step));
            }
            let tail = self.steps.entry(span.step).or_default();
            tail.written = self.clock;
            tail.push(span.stream, bytes);
        }
    }

    /// The last lines of a step as text, oldest first: no escape sequences, of lines that were drawn anew the last state.
    pub(super) fn of(&self, step: u32) -> Vec<String> {
        let Some(tail) = self.steps.get(&step) else { return Vec::new() };
        let open = tail.open.as_ref().map(|(_, line)| line);
        let lines = tail.lines.iter().chain(open).map(|line| as_text(line));
        let mut lines: VecDeque<String> = lines.collect();
        while lines.back().is_some_and(|line| line.trim().is_empty()) {
            lines.pop_back();
        }
        while lines.len() > MAX_LINES || lines.iter().map(|line| line.len() + 1).sum::<usize>() > MAX_BYTES {
            lines.pop_front();
        }
        lines.into()
    }
}

impl Tail {
    fn push(&mut self, stream: Stream, mut bytes: &[u8]) {
        if bytes.len() > LOOK_BYTES {
            bytes = &bytes[bytes.len() - LOOK_BYTES..];
            self.lines.clear();
            self.open = None;
        }
        if self.open.as_ref().is_some_and(|(other, _)| *other != stream) {
            self.end_line();
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = line.strip_suffix(b"\n").map_or((line, false), |text| (text, true));
            let (_, open) = self.open.get_or_insert_with(|| (stream, Vec::new()));
            let room = MAX_BYTES.saturating_sub(open.len());
            open.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let Some((_, line)) = self.open.take() else { return };
        self.lines.push_back(line);
        // Some may turn out to be empty.
        if self.lines.len() > 2 * MAX_LINES {
            self.lines.pop_front();
        }
    }
}

fn as_text(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(&strip_ansi(line)).into_owned();
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::new();
    for c in line.chars() {
        if text.len() > MAX_LINE_BYTES {
            text.push('…');
            break;
        }
        text.push(if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use proptest::prelude::*;
    use slipway_logfmt::chunk::Span;

    use super::*;

    fn chunk(parts: &[(u32, Stream, &[u8])]) -> Chunk {
        let at = DateTime::UNIX_EPOCH;
        let span = |(step, stream, bytes): &(u32, Stream, &[u8])| Span {
            len: u32::try_from(bytes.len()).expect("short"),
            step: *step,
            stream: *stream,
            at,
        };
        let bytes: Vec<u8> = parts.iter().flat_map(|(.., bytes)| bytes.to_vec()).collect();
        Chunk { offset: 0, bytes: Bytes::from(bytes), spans: parts.iter().map(span).collect() }
    }

    fn of(parts: &[(u32, Stream, &[u8])], step: u32) -> Vec<String> {
        let mut tails = Tails::default();
        tails.take(&chunk(parts));
        tails.of(step)
    }

    #[test]
    fn lines_are_kept_by_step_as_text() {
        use Stream::{Stderr, Stdout};
        let parts: [(u32, Stream, &[u8]); 5] = [
            (1, Stdout, b"\x1b[31mred\x1b[0m\r\nhal"),
            (2, Stdout, b"other\n"),
            (1, Stdout, b"f\n10 %\r55 %\r100 %\n"),
            (1, Stderr, b"bell\x07 \xff\topen"),
            (1, Stdout, b"next\n\n \n"),
        ];
        assert_eq!(of(&parts, 1), ["red", "half", "100 %", "bell\u{fffd} \u{fffd}\topen", "next"]);
        assert_eq!((of(&parts, 2), of(&parts, 3).len()), (vec!["other".to_owned()], 0));
    }

    #[test]
    fn only_the_last_lines_are_kept_and_long_ones_are_cut() {
        let many: String = (0..100).map(|at| format!("line {at}\n")).collect();
        let lines = of(&[(1, Stream::Stdout, many.as_bytes())], 1);
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 80", "line 99"));
        let long = vec![b'x'; 1 << 20];
        let lines = of(&[(1, Stream::Stdout, &long)], 1);
        assert_eq!((lines.len(), lines[0].chars().count()), (1, MAX_LINE_BYTES + 2));
        let wide = format!("{}\n", "x".repeat(900)).repeat(20);
        assert_eq!(of(&[(1, Stream::Stdout, wide.as_bytes())], 1).len(), 4);
    }

    #[test]
    fn of_many_steps_the_latest_are_remembered() {
        let mut tails = Tails::default();
        for step in 1..=1000 {
            tails.take(&chunk(&[(step, Stream::Stdout, b"x\n"), (7, Stream::Stdout, b"y\n")]));
        }
        assert_eq!((tails.steps.len(), tails.of(7).len(), tails.of(8).len(), tails.of(1000).len()), (64, 20, 0, 1));
    }

    proptest! {
        #[test]
        fn no_output_makes_it_long(
            pieces in proptest::collection::vec((1_u32..4, any::<bool>(), "[\\PC\\n\\r\x1b]{0,3000}"), 0..12)
        ) {
            let parts: Vec<(u32, Stream, &[u8])> = pieces
                .iter()
                .filter(|(.., text)| !text.is_empty())
                .map(|(step, out, text)| (*step, if *out { Stream::Stdout } else { Stream::Stderr }, text.as_bytes()))
                .collect();
            let lines = of(&parts, 1);
            prop_assert!(lines.len() <= MAX_LINES && lines.iter().map(String::len).sum::<usize>() <= MAX_BYTES);
            prop_assert!(lines.iter().all(|line| line.chars().all(|c| c == '\t' || !c.is_control())));
        }
    }
}
