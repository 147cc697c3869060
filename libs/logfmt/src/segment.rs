//! What lies in object storage: many chunks merged into one run of the stream, compressed. Version byte,
//! start, length, number of spans, a zstd frame of spans and bytes, one with a mark, CRC-32 of all before it.

use bytes::Bytes;

use crate::chunk::{Chunk, DecodeError, MAX_CHUNK_BYTES, MAX_CHUNK_SPANS, Span};
use crate::wire::{MAX_SPAN_BYTES, Reader, check_cover, put_spans, put_varint};

/// A segment is cut once it holds this many bytes.
pub const SEGMENT_BYTES: usize = 1 << 20;

/// A segment is over [`SEGMENT_BYTES`] by less than one chunk.
const MAX_BYTES: usize = SEGMENT_BYTES + MAX_CHUNK_BYTES;
const MAX_SPANS: usize = 2 * MAX_CHUNK_SPANS;
const MAGIC: &[u8] = b"SLWL";
const VERSION: u8 = 1;
/// zstd's own default: logs shrink about threefold at a fraction of a core.
const LEVEL: i32 = 3;
/// Begins a frame that zstd passes over (RFC 8878, 3.1.2), with the length of what is in it: a mark.
const MARK_HEAD: [u8; 8] = [0x5c, 0x2a, 0x4d, 0x18, 8, 0, 0, 0];

/// A run of the stream as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment(
    /// Bytes and spans of the whole run.
    pub Chunk,
);

impl Segment {
    /// Merges chunks from the front until a segment is full; neighbours by the same writer at the same
    /// time become one span. Stops at a gap. `None` if there is nothing to merge.
    pub fn merge<'a>(chunks: impl IntoIterator<Item = &'a Chunk>) -> Option<Self> {
        let mut chunks = chunks.into_iter().peekable();
        let start = chunks.peek()?.offset;
        let mut bytes = Vec::new();
        let mut spans: Vec<Span> = Vec::new();
        for chunk in chunks {
            let full = bytes.len() >= SEGMENT_BYTES || spans.len() >= MAX_CHUNK_SPANS;
            if full || chunk.offset != start + bytes.len() as i64 {
                break;
            }
            bytes.extend_from_slice(&chunk.bytes);
            for span in &chunk.spans {
                push_span(&mut spans, *span);
            }
        }
        (!bytes.is_empty()).then(|| Self(Chunk { offset: start, bytes: bytes.into(), spans }))
    }

    /// The stored form, with a mark that tells whose it is; readers that know nothing of marks pass over it.
    pub fn encode(&self, mark: u64) -> std::io::Result<Bytes> {
        let Self(chunk) = self;
        let mut packed = Vec::with_capacity(chunk.spans.len() * 8 + chunk.bytes.len());
        put_spans(&mut packed, &chunk.spans);
        packed.extend_from_slice(&chunk.bytes);
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        put_varint(&mut out, chunk.offset.max(0) as u64);
        put_varint(&mut out, chunk.bytes.len() as u64);
        put_varint(&mut out, chunk.spans.len() as u64);
        out.extend(zstd::bulk::compress(&packed, LEVEL)?);
        out.extend(MARK_HEAD);
        out.extend(mark.to_le_bytes());
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(out.into())
    }

    /// The mark of a stored form, if it has one.
    pub fn mark(stored: &[u8]) -> Option<u64> {
        let (body, _checksum) = stored.split_last_chunk::<4>()?;
        let (head, mark) = body.split_last_chunk::<8>()?;
        head.ends_with(&MARK_HEAD).then(|| u64::from_le_bytes(*mark))
    }

    /// Reads the stored form. Never panics and never unpacks more than a segment may hold.
    pub fn decode(stored: &[u8]) -> Result<Self, DecodeError> {
        let (body, checksum) = stored.split_last_chunk::<4>().ok_or(DecodeError::Short)?;
        let rest = body.strip_prefix(MAGIC).ok_or(DecodeError::Packed)?;
        let mut reader = Reader::new(rest);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        if crc32fast::hash(body).to_le_bytes() != *checksum {
            return Err(DecodeError::Checksum);
        }
        let offset = reader.offset()?;
        let len = reader.length(MAX_BYTES)?;
        let span_count = reader.length(MAX_SPANS)?;
        let limit = len + span_count * MAX_SPAN_BYTES;
        let packed = zstd::bulk::decompress(reader.rest(), limit).map_err(|_| DecodeError::Packed)?;
        let mut reader = Reader::new(&packed);
        let spans = reader.spans(span_count)?;
        let start = packed.len() - reader.rest().len();
        if packed.len() - start != len || offset.checked_add(len as i64).is_none() {
            return Err(DecodeError::Cover);
        }
        let bytes = Bytes::from(packed).slice(start..);
        check_cover(&spans, &bytes)?;
        Ok(Self(Chunk { offset, bytes, spans }))
    }
}

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
        fn a_segment_holds_the_bytes_of_its_chunks(chunks in prop::collection::vec(chunk(), 1..6), mark in any::<u64>()) {
            let mut offset = 7;
            let chunks: Vec<Chunk> = chunks.into_iter().map(|mut chunk| {
                chunk.offset = offset;
                offset = chunk.end();
                chunk
            }).collect();
            let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
            match Segment::merge(&chunks) {
                None => prop_assert!(bytes.is_empty()),
                Some(segment) => {
                    prop_assert_eq!(&segment.0.bytes[..], &bytes[..]);
                    prop_assert_eq!(segment.0.offset, 7);
                    prop_assert_eq!(segment.0.end(), offset);
                    let stored = segment.encode(mark).expect("it packs");
                    prop_assert_eq!(Segment::mark(&stored), Some(mark));
                    prop_assert_eq!(Segment::decode(&stored), Ok(segment));
                }
            }
        }

        #[test]
        fn decode_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), fix in any::<bool>()) {
            let mut stored = if fix { [MAGIC, &[VERSION], &bytes].concat() } else { bytes };
            if fix {
                // A right head and checksum lead deeper into the reader.
                stored.extend(crc32fast::hash(&stored).to_le_bytes());
            }
            prop_assert!(Segment::decode(&stored).is_err());
        }

        #[test]
        fn a_changed_byte_is_noticed(chunk in chunk(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
            prop_assume!(!chunk.bytes.is_empty());
            let segment = Segment::merge([&chunk]).expect("it has bytes");
            let mut stored = segment.encode(7).expect("it packs").to_vec();
            let place = place.index(stored.len());
            stored[place] ^= 1 << bit;
            prop_assert!(Segment::decode(&stored).is_err());
        }
    }

    #[test]
    fn merging_stops_when_full_and_at_a_gap() {
        let at = chrono::DateTime::UNIX_EPOCH;
        let piece = |offset: i64, len: usize| Chunk {
            offset,
            bytes: vec![b'x'; len].into(),
            spans: vec![Span { len: len as u32, step: 1, stream: crate::chunk::Stream::Stdout, at }],
        };
        let half = SEGMENT_BYTES / 2;
        let chunks = [piece(0, half), piece(half as i64, half), piece(2 * half as i64, half)];
        let segment = Segment::merge(&chunks).expect("it has bytes");
        assert_eq!(segment.0.bytes.len(), SEGMENT_BYTES);
        assert_eq!(segment.0.spans.len(), 1, "one writer at one time is one span");
        let gap = [piece(0, 4), piece(5, 4)];
        assert_eq!(Segment::merge(&gap).map(|segment| segment.0.bytes.len()), Some(4));
        assert_eq!(Segment::merge(&[]), None);
    }
}
