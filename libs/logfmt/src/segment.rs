//! What lies in object storage: many chunks merged into one run of the stream, compressed. It is a run of zstd frames
//! (RFC 8878), so that any reader of zstd finds the bytes of the stream in it, and those of a whole log in its segments
//! one behind the other:
//!
//! 1. a frame that readers pass over: "SLWL", version byte, start, length, number of spans, the spans packed;
//! 2. the bytes, in one or more frames; those that came packed are stored as they came;
//! 3. a frame that readers pass over: a mark that tells whose it is, and the CRC-32 of all before it.
//!
//! Version 1 had its first parts in no frame and spans and bytes in one.

use std::ops::Range;

use bytes::Bytes;

use crate::chunk::{Chunk, DecodeError, LEVEL, MAX_CHUNK_BYTES, MAX_CHUNK_SPANS, Part, Span};
use crate::packing::unpack;
use crate::wire::{MAX_SPAN_BYTES, Reader, check_cover, put_spans, put_varint};

/// A segment is cut once it holds this many bytes.
pub const SEGMENT_BYTES: usize = 1 << 20;

/// A segment is over [`SEGMENT_BYTES`] by less than one chunk.
const MAX_BYTES: usize = SEGMENT_BYTES + MAX_CHUNK_BYTES;
const MAX_SPANS: usize = 2 * MAX_CHUNK_SPANS;
const MAGIC: &[u8] = b"SLWL";
const VERSION: u8 = 2;
const VERSION_1: u8 = 1;
/// Begin frames that zstd passes over (RFC 8878, 3.1.2); behind them stands the length of what is in it, 4 bytes.
const HEAD_FRAME: [u8; 4] = [0x5d, 0x2a, 0x4d, 0x18];
const MARK_FRAME: [u8; 4] = [0x5c, 0x2a, 0x4d, 0x18];
const CRC_BYTES: usize = 4;
const MARK_BYTES: usize = 8;
/// Bytes of the last frame.
const TRAILER_BYTES: usize = 4 + 4 + MARK_BYTES + CRC_BYTES;

/// The largest window of a frame that any reader of zstd has room for, 8 MiB (RFC 8878, 3.1.1.1.2), as its header has it.
const MAX_WINDOW: u8 = 13 << 3;

/// A run of the stream as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment(
    /// Bytes and spans of the whole run.
    pub Chunk,
);

impl Segment {
    /// Merges chunks from the front until a segment is full; neighbours by the same writer at the same
    /// time become one span. Stops at a gap. `None` if there is nothing to merge.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Part, IntoIter: Clone>) -> Option<(Self, Frames)> {
        let mut parts = parts.into_iter().peekable();
        let start = parts.peek()?.chunk.offset;
        let sum: usize = parts.clone().map(|part| part.chunk.bytes.len()).sum();
        let (mut bytes, mut frames) = (Vec::with_capacity(sum.min(MAX_BYTES)), Frames::default());
        let mut spans: Vec<Span> = Vec::new();
        for Part { chunk, packed } in parts {
            let full = bytes.len() >= SEGMENT_BYTES || spans.len() >= MAX_CHUNK_SPANS;
            if full || chunk.offset != start + bytes.len() as i64 {
                break;
            }
            if let Some(packed) = packed {
                frames.0.push((bytes.len()..bytes.len() + chunk.bytes.len(), packed.clone()));
            }
            bytes.extend_from_slice(&chunk.bytes);
            for span in &chunk.spans {
                push_span(&mut spans, *span);
            }
        }
        (!bytes.is_empty()).then(|| (Self(Chunk { offset: start, bytes: bytes.into(), spans }), frames))
    }

    /// The stored form, with a mark that tells whose it is.
    pub fn encode(&self, frames: &Frames, mark: u64) -> std::io::Result<Bytes> {
        let Self(Chunk { offset, bytes, spans }) = self;
        let mut head = MAGIC.to_vec();
        head.push(VERSION);
        put_varint(&mut head, (*offset).max(0) as u64);
        put_varint(&mut head, bytes.len() as u64);
        put_varint(&mut head, spans.len() as u64);
        let mut plain = Vec::with_capacity(spans.len() * 8);
        put_spans(&mut plain, spans);
        head.extend(zstd::bulk::compress(&plain, LEVEL)?);

        let packed: usize = frames.0.iter().map(|(_, packed)| packed.len()).sum();
        let mut out = Vec::with_capacity(HEAD_FRAME.len() + 4 + head.len() + packed + TRAILER_BYTES);
        out.extend(HEAD_FRAME);
        out.extend((head.len() as u32).to_le_bytes());
        out.extend(head);
        let mut at = 0;
        let pack = |out: &mut Vec<u8>, from: usize, to: usize| {
            let plain = bytes.get(from..to).unwrap_or_default();
            if !plain.is_empty() {
                out.extend(zstd::bulk::compress(plain, LEVEL)?);
            }
            std::io::Result::Ok(())
        };
        for (place, packed) in &frames.0 {
            pack(&mut out, at, place.start)?;
            out.extend_from_slice(packed);
            at = place.end;
        }
        pack(&mut out, at, bytes.len())?;
        out.extend(MARK_FRAME);
        out.extend(((MARK_BYTES + CRC_BYTES) as u32).to_le_bytes());
        out.extend(mark.to_le_bytes());
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(out.into())
    }

    /// The mark of a stored form, if it has one.
    pub fn mark(stored: &[u8]) -> Option<u64> {
        let (body, _checksum) = stored.split_last_chunk::<CRC_BYTES>()?;
        let (body, mark) = body.split_last_chunk::<MARK_BYTES>()?;
        let (_, head) = body.split_last_chunk::<8>()?;
        let length =
            [MARK_BYTES + CRC_BYTES, MARK_BYTES].into_iter().any(|len| head.ends_with(&(len as u32).to_le_bytes()));
        (head.starts_with(&MARK_FRAME) && length).then(|| u64::from_le_bytes(*mark))
    }

    /// Whether a stored form may be part of an archive: nothing of it has changed, and it is nothing but frames.
    pub fn is_intact(stored: &[u8]) -> bool {
        stored.split_last_chunk::<CRC_BYTES>().is_some_and(|(body, checksum)| {
            body.starts_with(&HEAD_FRAME) && crc32fast::hash(body).to_le_bytes() == *checksum
        })
    }

    /// The run of an intact stored form of this version, with its bytes as frames that hold nothing else, which are not
    /// unpacked. `None` also where a builder packed them so that not every reader of zstd unpacks them.
    pub fn packed(stored: &Bytes) -> Option<(Range<i64>, Bytes)> {
        if !Self::is_intact(stored) {
            return None;
        }
        let (length, rest) = stored.get(HEAD_FRAME.len()..)?.split_first_chunk::<4>()?;
        let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let mut reader = Reader::new(head.strip_prefix(MAGIC)?);
        let version = reader.byte().ok()?;
        let start = reader.offset().ok()?;
        let end = start.checked_add(reader.length(MAX_BYTES).ok()? as i64)?;
        let frames = rest.get(..rest.len().checked_sub(TRAILER_BYTES)?)?;
        (version == VERSION && are_for_every_reader(frames)).then(|| (start..end, stored.slice_ref(frames)))
    }

    /// Reads the stored form. Never panics and never unpacks more than a segment may hold.
    pub fn decode(stored: &[u8]) -> Result<Self, DecodeError> {
        let (body, checksum) = stored.split_last_chunk::<CRC_BYTES>().ok_or(DecodeError::Short)?;
        let (head, frames) = match stored.strip_prefix(&HEAD_FRAME) {
            Some(rest) => {
                let (length, rest) = rest.split_first_chunk::<4>().ok_or(DecodeError::Short)?;
                let end = rest.len().checked_sub(TRAILER_BYTES).ok_or(DecodeError::Short)?;
                let rest = rest.get(..end).unwrap_or_default();
                rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(DecodeError::Short)?
            }
            None => (body, [].as_slice()),
        };
        let mut reader = Reader::new(head.strip_prefix(MAGIC).ok_or(DecodeError::Packed)?);
        let version = reader.byte()?;
        if !matches!((version, frames.is_empty()), (VERSION, false) | (VERSION_1, true)) {
            return Err(DecodeError::Version(version));
        }
        if crc32fast::hash(body).to_le_bytes() != *checksum {
            return Err(DecodeError::Checksum);
        }
        let offset = reader.offset()?;
        let len = reader.length(MAX_BYTES)?;
        let span_count = reader.length(MAX_SPANS)?;
        let (spans, bytes) = if version == VERSION {
            let plain = unpack(reader.rest(), span_count * MAX_SPAN_BYTES)?;
            let mut reader = Reader::new(&plain);
            let spans = reader.spans(span_count)?;
            if !reader.rest().is_empty() {
                return Err(DecodeError::Long);
            }
            (spans, Bytes::from(unpack(frames, len)?))
        } else {
            let plain = unpack(reader.rest(), len + span_count * MAX_SPAN_BYTES)?;
            let mut reader = Reader::new(&plain);
            let spans = reader.spans(span_count)?;
            let start = plain.len() - reader.rest().len();
            (spans, Bytes::from(plain).slice(start..))
        };
        // Nobody stores one that holds nothing.
        if bytes.is_empty() || bytes.len() != len || offset.checked_add(len as i64).is_none() {
            return Err(DecodeError::Cover);
        }
        check_cover(&spans, &bytes)?;
        Ok(Self(Chunk { offset, bytes, spans }))
    }
}

/// Whether no frame asks for a window that readers refuse.
fn are_for_every_reader(mut frames: &[u8]) -> bool {
    const IS_ONE_SEGMENT: u8 = 1 << 5;
    while let Some((descriptor, window)) = frames.get(4).zip(frames.get(5)) {
        let Ok(bytes) = zstd::zstd_safe::find_frame_compressed_size(frames) else { return false };
        if descriptor & IS_ONE_SEGMENT == 0 && *window > MAX_WINDOW {
            return false;
        }
        frames = frames.get(bytes..).unwrap_or_default();
    }
    frames.is_empty()
}

/// Which bytes of a segment came packed, in order, and how.
#[derive(Debug, Clone, Default)]
pub struct Frames(Vec<(Range<usize>, Bytes)>);

/// Appends a span, joined with the last one if only their lengths differ.
pub(crate) fn push_span(spans: &mut Vec<Span>, span: Span) {
    if let Some(last) = spans.last_mut()
        && (last.step, last.stream, last.at) == (span.step, span.stream, span.at)
        && let Some(len) = last.len.checked_add(span.len)
    {
        last.len = len;
    } else {
        spans.push(span);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::tests::chunk;

    proptest! {
        #[test]
        fn a_segment_holds_the_bytes_of_its_chunks(
            chunks in prop::collection::vec(chunk(), 1..6),
            packed in any::<u8>(),
            mark in any::<u64>(),
        ) {
            let mut offset = 7;
            let chunks: Vec<Chunk> = chunks.into_iter().map(|mut chunk| {
                chunk.offset = offset;
                offset = chunk.end();
                chunk
            }).collect();
            let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
            let parts: Vec<Part> = chunks.into_iter().enumerate().map(|(place, chunk)| {
                let is_packed = packed >> place & 1 == 1 && !chunk.bytes.is_empty();
                let packed = is_packed.then(|| zstd::bulk::compress(&chunk.bytes, LEVEL).expect("it packs").into());
                Part { chunk, packed }
            }).collect();
            match Segment::merge(&parts) {
                None => prop_assert!(bytes.is_empty()),
                Some((segment, frames)) => {
                    prop_assert_eq!(&segment.0.bytes[..], &bytes[..]);
                    prop_assert_eq!(segment.0.offset, 7);
                    prop_assert_eq!(segment.0.end(), offset);
                    let stored = segment.encode(&frames, mark).expect("it packs");
                    prop_assert_eq!(Segment::mark(&stored), Some(mark));
                    prop_assert!(Segment::is_intact(&stored));
                    let twice = [&stored[..], &stored[..]].concat();
                    prop_assert_eq!(zstd::stream::decode_all(&twice[..]).expect("any reader of zstd"), bytes.repeat(2));
                    let (run, frames) = Segment::packed(&stored).expect("it is intact");
                    prop_assert_eq!(run, 7..offset);
                    prop_assert_eq!(zstd::bulk::decompress(&frames, bytes.len()).expect("frames"), bytes);
                    prop_assert!(frames.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "no frame that readers pass over");
                    prop_assert_eq!(Segment::decode(&stored), Ok(segment));
                }
            }
        }

        #[test]
        fn decode_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            fix in any::<bool>(),
            head in 0u8..60,
        ) {
            let mut stored = match (fix, head) {
                (false, _) => bytes,
                (true, 0) => [MAGIC, &[VERSION_1], &bytes].concat(),
                (true, head) => [&HEAD_FRAME, &[head, 0, 0, 0], MAGIC, &[VERSION], &bytes].concat(),
            };
            if fix {
                // A right head and checksum lead deeper into the reader.
                stored.extend(crc32fast::hash(&stored).to_le_bytes());
            }
            prop_assert!(Segment::decode(&stored).is_err());
            let _ = Segment::packed(&stored.into());
        }

        #[test]
        fn a_changed_byte_is_noticed(chunk in chunk(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
            prop_assume!(!chunk.bytes.is_empty());
            let (segment, frames) = Segment::merge([&chunk.into()]).expect("it has bytes");
            let mut stored = segment.encode(&frames, 7).expect("it packs").to_vec();
            let place = place.index(stored.len());
            stored[place] ^= 1 << bit;
            prop_assert!(!Segment::is_intact(&stored));
            prop_assert!(Segment::decode(&stored).is_err());
        }
    }

    #[test]
    fn frames_that_ask_for_much_memory_are_no_packed_run() {
        let bytes = vec![b'x'; 100_000];
        let span =
            Span { len: 100_000, step: 1, stream: crate::chunk::Stream::Stdout, at: chrono::DateTime::UNIX_EPOCH };
        let small = zstd::bulk::compress(&bytes, LEVEL).expect("it packs");
        // The same with a header of its own: a window, and the length in 4 bytes.
        let content = zstd::zstd_safe::get_frame_content_size(&small).expect("a frame").expect("a length") as u32;
        assert_eq!(small[4] & 0b1110_0000, 0b1010_0000, "one segment, the length in 4 bytes");
        let wide =
            |window: u8| [&small[..4], &[small[4] & !(1 << 5), window], &content.to_le_bytes(), &small[9..]].concat();
        for (packed, passes) in
            [(small.clone(), true), (wide(MAX_WINDOW), true), (wide(MAX_WINDOW + 1), false), (wide(21 << 3), false)]
        {
            assert_eq!(zstd::bulk::decompress(&packed, bytes.len()).expect("it unpacks"), bytes);
            let chunk = Chunk { offset: 0, bytes: bytes.clone().into(), spans: vec![span] };
            let part = Part { chunk, packed: Some(packed.into()) };
            let (segment, frames) = Segment::merge([&part]).expect("it has bytes");
            let stored = segment.encode(&frames, 7).expect("it packs");
            assert_eq!(Segment::packed(&stored).is_some(), passes);
            assert_eq!(Segment::decode(&stored), Ok(segment));
        }
    }

    #[test]
    fn merging_stops_when_full_and_at_a_gap() {
        let at = chrono::DateTime::UNIX_EPOCH;
        let piece = |offset: i64, len: usize| {
            Part::from(Chunk {
                offset,
                bytes: vec![b'x'; len].into(),
                spans: vec![Span { len: len as u32, step: 1, stream: crate::chunk::Stream::Stdout, at }],
            })
        };
        let half = SEGMENT_BYTES / 2;
        let chunks = [piece(0, half), piece(half as i64, half), piece(2 * half as i64, half)];
        let (segment, _) = Segment::merge(&chunks).expect("it has bytes");
        assert_eq!(segment.0.bytes.len(), SEGMENT_BYTES);
        assert_eq!(segment.0.spans.len(), 1, "one writer at one time is one span");
        let gap = [piece(0, 4), piece(5, 4)];
        assert_eq!(Segment::merge(&gap).map(|(segment, _)| segment.0.bytes.len()), Some(4));
        assert!(Segment::merge(&[]).is_none());
    }
}
