//! A log as the searcher reads it: bytes without escape sequences, and lines of a bounded length.

use std::collections::HashMap;
use std::io::{self, Read};

use slipway_logfmt::ansi::AnsiStripper;
use slipway_logfmt::chunk::{Chunk, Span};
use slipway_logfmt::text::count_lines;

use super::{LINE_MAX_BYTES, Start, Writer, Writers, late};

/// Bytes that begin or end an escape sequence.
const ESCAPES: [u8; 3] = [0x1b, 0x18, 0x1a];
/// The searcher looks at so many bytes for a mark of their encoding before it looks at lines.
const MARK_BYTES: usize = 3;
/// Begins eight-bit controls in UTF-8.
const CONTROL: u8 = 0xc2;

pub(super) struct Plain<'a, I, G> {
    chunks: I,
    go_on: &'a G,
    writers: Writers,
    stripper: AnsiStripper,
    /// What is not read yet of it, from `at` on.
    ready: Vec<u8>,
    at: usize,
    /// The line that the next byte belongs to.
    line: i64,
    /// Where the chunk before this one began.
    last_line: i64,
    /// Who wrote that line is known.
    has_begun: bool,
    /// Lines that each step has begun, up to the last change of writers.
    of_steps: HashMap<u32, i64>,
    /// Bytes of that line so far, those that are left out included.
    length: usize,
    /// Lines up to this one are passed by.
    after: i64,
    cut_lines: i64,
    /// Lines before the first, and bytes that the searcher has got from there on.
    breaks: i64,
    got: usize,
}

impl<'a, I: Iterator<Item = Chunk>, G: Fn() -> bool> Plain<'a, I, G> {
    pub(super) fn new(chunks: I, writers: Writers, (start, after): (Start, i64), go_on: &'a G) -> Self {
        let (stripper, breaks, line) = (AnsiStripper::default(), start.breaks, start.breaks + 1);
        Self {
            chunks,
            go_on,
            writers,
            stripper,
            ready: Vec::new(),
            at: 0,
            line,
            last_line: line,
            has_begun: start.continues,
            of_steps: start.of_steps,
            length: 0,
            after,
            cut_lines: 0,
            breaks,
            got: 0,
        }
    }

    /// Lines of which not all was read.
    pub(super) fn cut_lines(&self) -> i64 {
        self.cut_lines
    }

    /// The last line that the searcher is through with when it asks for more.
    pub(super) fn passed(&self) -> i64 {
        if self.got < MARK_BYTES {
            return self.breaks;
        }
        self.line - 1 - count_lines(self.ready.get(self.at..).unwrap_or_default())
    }

    fn take(&mut self, chunk: &Chunk) {
        self.ready.clear();
        self.at = 0;
        self.forget();
        let mut start = 0;
        for span in &chunk.spans {
            let end = start + span.len as usize;
            self.add(span, chunk.bytes.get(start..end).unwrap_or_default());
            start = end;
        }
    }

    /// The searcher asks for more only when it is through with all lines that were whole.
    fn forget(&mut self) {
        let mut writers = self.writers.borrow_mut();
        while writers.get(1).is_some_and(|next| next.line <= self.last_line) {
            writers.pop_front();
        }
        self.last_line = self.line;
    }

    fn add(&mut self, span: &Span, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.wrote(span);
        let stripped;
        let is_plain = memchr::memchr3(ESCAPES[0], ESCAPES[1], ESCAPES[2], bytes).is_none()
            && memchr::memchr(CONTROL, bytes).is_none();
        let text = if self.stripper.is_ground() && is_plain {
            bytes
        } else {
            stripped = self.stripper.push(bytes);
            &stripped
        };
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            self.wrote(span);
            let shown = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LINE_MAX_BYTES.saturating_sub(self.length).min(shown.len());
            self.ready.extend_from_slice(shown.get(..room).unwrap_or_default());
            let is_cut = self.length <= LINE_MAX_BYTES && self.length + shown.len() > LINE_MAX_BYTES;
            self.cut_lines += i64::from(is_cut && self.line > self.after);
            self.length += shown.len();
            if shown.len() < part.len() {
                self.ready.push(b'\n');
                self.line += 1;
                self.length = 0;
                self.has_begun = false;
            }
        }
        if *last != b'\n' {
            // Also by what nobody sees.
            self.wrote(span);
        }
    }

    /// A line belongs to who begins it.
    fn wrote(&mut self, span: &Span) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let mut writers = self.writers.borrow_mut();
        let of = |span: &Span| (span.step, span.stream, span.at);
        if writers.back().is_none_or(|last| of(&last.span) != of(span)) {
            let last = writers.back().map(|last| (last.span.step, last.before + self.line - last.line));
            let before = match last {
                Some((step, lines)) if step == span.step => lines,
                Some((step, lines)) => {
                    self.of_steps.insert(step, lines);
                    self.of_steps.get(&span.step).copied().unwrap_or(0)
                }
                None => self.of_steps.get(&span.step).copied().unwrap_or(0),
            };
            writers.push_back(Writer { line: self.line, span: *span, before });
        }
    }
}

impl<I: Iterator<Item = Chunk>, G: Fn() -> bool> Read for Plain<'_, I, G> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !(self.go_on)() {
            return Err(late());
        }
        while self.at == self.ready.len() {
            let Some(chunk) = self.chunks.next() else {
                // Whoever reads them has no more time either.
                if !(self.go_on)() {
                    return Err(late());
                }
                let rest = self.stripper.finish();
                if rest.is_empty() {
                    return Ok(0);
                }
                (self.ready, self.at) = (rest.to_vec(), 0);
                break;
            };
            self.take(&chunk);
        }
        let rest = self.ready.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        let (now, into) = (rest.get(..count).unwrap_or_default(), buffer.get_mut(..count).unwrap_or_default());
        into.copy_from_slice(now);
        self.at += count;
        self.got = self.got.saturating_add(count);
        Ok(count)
    }
}
