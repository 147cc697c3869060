//! Makes the one stream of an attempt out of the outputs of its steps: masks, keeps lines whole, adds our
//! own lines, counts and hashes, and hands out chunks to send. Bytes of a step are never changed
//! otherwise; where an unfinished line of one output would run into another's, a line break of ours
//! stands between them.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use chrono::{DateTime, Utc};

use crate::chunk::{Chunk, MAX_CHUNK_BYTES, MAX_CHUNK_SPANS, Span, Stream};
use crate::digest::StreamDigest;
use crate::line::LineAssembler;
use crate::mask::{Masker, Secrets};
use crate::text::whole_characters;

/// One output of one step.
type Source = (u32, Stream);

/// The stream of one attempt while it is written.
#[derive(Debug)]
pub struct Composer {
    secrets: Secrets,
    outputs: BTreeMap<Source, Output>,
    digest: StreamDigest,
    pending: BytesMut,
    spans: VecDeque<Span>,
    /// Whose line at the end of the stream has no break yet.
    unfinished: Option<Source>,
}

#[derive(Debug)]
struct Output {
    masker: Masker,
    lines: LineAssembler,
}

impl Composer {
    /// An empty stream.
    pub fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            outputs: BTreeMap::new(),
            digest: StreamDigest::default(),
            pending: BytesMut::new(),
            spans: VecDeque::new(),
            unfinished: None,
        }
    }

    /// Takes what a step wrote. `step` is the step's number, from 1.
    pub fn write(&mut self, step: u32, stream: Stream, at: DateTime<Utc>, bytes: &[u8]) {
        let source = (step, stream);
        let masker = || self.secrets.masker();
        let output =
            self.outputs.entry(source).or_insert_with(|| Output { masker: masker(), lines: LineAssembler::default() });
        let masked = output.masker.push(bytes);
        let lines = output.lines.push(at, &masked);
        self.append(source, at, &lines);
    }

    /// Adds a line of ours (or several) about a step, or about the attempt with step 0. The line break is
    /// added here.
    pub fn meta(&mut self, step: u32, at: DateTime<Utc>, line: &str) {
        let mut bytes = self.secrets.mask(line.as_bytes());
        bytes.push(b'\n');
        self.append((step, Stream::Meta), at, &bytes);
    }

    /// A step ended: what its outputs still hold is passed on.
    pub fn end_step(&mut self, step: u32, at: DateTime<Utc>) {
        let sources: Vec<Source> = self.outputs.keys().filter(|source| source.0 == step).copied().collect();
        for source in sources {
            if let Some(mut output) = self.outputs.remove(&source) {
                let mut rest = output.masker.finish();
                let mut lines = output.lines.push(at, &rest);
                rest = output.lines.flush();
                lines.append(&mut rest);
                self.append(source, at, &lines);
            }
        }
    }

    /// Passes on lines that wait for their end since before `before`, so that a progress line is seen.
    pub fn flush_waiting(&mut self, before: DateTime<Utc>, at: DateTime<Utc>) {
        let waiting = |output: &Output| output.lines.waiting_since().is_some_and(|since| since < before);
        let sources: Vec<Source> =
            self.outputs.iter().filter(|(_, output)| waiting(output)).map(|(source, _)| *source).collect();
        for source in sources {
            let Some(output) = self.outputs.get_mut(&source) else { continue };
            let rest = output.lines.flush();
            self.append(source, at, &rest);
        }
    }

    /// The attempt ended: nothing waits any more.
    pub fn finish(&mut self, at: DateTime<Utc>) {
        let steps: Vec<u32> = self.outputs.keys().map(|source| source.0).collect();
        for step in steps {
            self.end_step(step, at);
        }
    }

    /// The next chunk of at most `max_bytes`, cut behind a line if it can be. `None` if nothing is there.
    pub fn take_chunk(&mut self, max_bytes: usize) -> Option<Chunk> {
        if self.pending.is_empty() {
            return None;
        }
        let offset = self.digest.len() - self.pending.len() as i64;
        let cut = self.cut(max_bytes.clamp(1, MAX_CHUNK_BYTES));
        let bytes = self.pending.split_to(cut).freeze();
        let mut spans = Vec::new();
        let mut left = cut as u64;
        while left > 0
            && let Some(mut span) = self.spans.pop_front()
        {
            if u64::from(span.len) > left {
                let rest = Span { len: span.len - left as u32, ..span };
                self.spans.push_front(rest);
                span.len = left as u32;
            }
            left -= u64::from(span.len);
            spans.push(span);
        }
        Some(Chunk { offset, bytes, spans })
    }

    /// Length of the stream so far, bytes.
    pub fn end(&self) -> i64 {
        self.digest.len()
    }

    /// SHA-256 of the stream so far, lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        self.digest.hex()
    }

    fn cut(&self, max_bytes: usize) -> usize {
        let spanned: u64 = self.spans.iter().take(MAX_CHUNK_SPANS).map(|span| u64::from(span.len)).sum();
        let most = usize::try_from(spanned).unwrap_or(usize::MAX).min(max_bytes).min(self.pending.len());
        if most == self.pending.len() {
            return most;
        }
        let head = self.pending.get(..most).unwrap_or_default();
        match memchr::memrchr(b'\n', head) {
            Some(last) => last + 1,
            None => Some(whole_characters(head)).filter(|cut| *cut > 0).unwrap_or(most),
        }
    }

    fn append(&mut self, source: Source, at: DateTime<Utc>, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        if self.unfinished.is_some_and(|other| other != source) {
            self.add((0, Stream::Meta), at, b"\n");
        }
        self.add(source, at, bytes);
        self.unfinished = (*last != b'\n').then_some(source);
    }

    fn add(&mut self, (step, stream): Source, at: DateTime<Utc>, bytes: &[u8]) {
        self.digest.update(bytes);
        self.pending.extend_from_slice(bytes);
        // Spans count in u32: a larger piece becomes several.
        for part in bytes.chunks(MAX_CHUNK_BYTES) {
            let span = Span { len: part.len() as u32, step, stream, at };
            match self.spans.back_mut() {
                Some(back)
                    if (back.step, back.stream, back.at) == (step, stream, at)
                        && back.len as usize + part.len() <= MAX_CHUNK_BYTES =>
                {
                    back.len += span.len;
                }
                _ => self.spans.push_back(span),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).expect("in range")
    }

    fn drain(composer: &mut Composer, max_bytes: usize) -> (Vec<u8>, Vec<Span>) {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        while let Some(chunk) = composer.take_chunk(max_bytes) {
            assert_eq!(chunk.offset, bytes.len() as i64);
            assert!(Chunk::decode(&chunk.encode()).is_ok());
            bytes.extend_from_slice(&chunk.bytes);
            spans.extend(chunk.spans);
        }
        (bytes, spans)
    }

    #[test]
    fn parallel_steps_never_mix_inside_a_line() {
        let mut composer = Composer::new(Secrets::new(["hunter22"]).expect("small"));
        composer.meta(5, at(1), "#5 [build 2/3] RUN make");
        composer.write(5, Stream::Stdout, at(2), b"compi");
        composer.write(6, Stream::Stderr, at(3), b"warning: hunt");
        composer.write(5, Stream::Stdout, at(4), b"ling\n");
        composer.write(6, Stream::Stderr, at(5), b"er22\nno end");
        composer.end_step(6, at(6));
        composer.meta(6, at(7), "#6 DONE 1.2s");
        composer.finish(at(8));
        let (bytes, spans) = drain(&mut composer, 1000);
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text, "#5 [build 2/3] RUN make\ncompiling\nwarning: ***\nno end\n#6 DONE 1.2s\n");
        let own: Vec<(u32, Stream, u32)> = spans.iter().map(|span| (span.step, span.stream, span.len)).collect();
        let expected = [
            (5, Stream::Meta, 24),
            (5, Stream::Stdout, 10),
            (6, Stream::Stderr, 13),
            (6, Stream::Stderr, 6),
            (0, Stream::Meta, 1),
            (6, Stream::Meta, 13),
        ];
        assert_eq!(own, expected);
    }

    #[test]
    fn a_waiting_line_is_shown_and_goes_on() {
        let mut composer = Composer::new(Secrets::default());
        composer.write(1, Stream::Stdout, at(10), b"50%");
        composer.flush_waiting(at(10), at(11));
        assert_eq!(composer.end(), 0);
        composer.flush_waiting(at(11), at(11));
        assert_eq!(composer.end(), 3);
        composer.write(1, Stream::Stdout, at(12), b" 100%\n");
        assert_eq!(drain(&mut composer, 1000).0, b"50% 100%\n");
    }

    proptest! {
        #[test]
        fn each_output_reads_as_it_was_written(
            pieces in prop::collection::vec((1u32..4, any::<bool>(), prop::collection::vec(
                prop_oneof![Just(b'\n'), any::<u8>()], 0..30)), 0..40),
            max_bytes in 1usize..50,
        ) {
            let mut composer = Composer::new(Secrets::default());
            let mut written: BTreeMap<Source, Vec<u8>> = BTreeMap::new();
            for (time, (step, err, piece)) in pieces.iter().enumerate() {
                let stream = if *err { Stream::Stderr } else { Stream::Stdout };
                composer.write(*step, stream, at(time as i64), piece);
                written.entry((*step, stream)).or_default().extend(piece);
            }
            composer.finish(at(1_000));
            let (end, sha256) = (composer.end(), composer.sha256());
            let (bytes, spans) = drain(&mut composer, max_bytes);
            prop_assert_eq!(bytes.len() as i64, end);
            prop_assert_eq!(hex::encode(Sha256::digest(&bytes)), sha256);
            let mut read: BTreeMap<Source, Vec<u8>> = BTreeMap::new();
            let mut line_by: Option<Source> = None;
            let mut start = 0usize;
            for span in spans {
                let part = &bytes[start..start + span.len as usize];
                start += part.len();
                let source = (span.step, span.stream);
                if source == (0, Stream::Meta) {
                    line_by = None;
                    continue;
                }
                prop_assert!(line_by.is_none_or(|other| other == source), "a line has one writer");
                line_by = (!part.ends_with(b"\n")).then_some(source);
                read.entry(source).or_default().extend_from_slice(part);
            }
            written.retain(|_, bytes| !bytes.is_empty());
            prop_assert_eq!(read, written);
        }
    }
}
