//! What a builder sends: a piece of the stream with its offset and its spans. Binary, because log bytes
//! are no text: version byte, offset, lengths, spans, bytes, CRC-32 of all before it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::wire::{MAX_SPAN_BYTES, Reader, check_cover, put_spans, put_varint};

/// Most stream bytes in one chunk.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;
/// Most spans in one chunk.
pub const MAX_CHUNK_SPANS: usize = 16 * 1024;
/// Most bytes of an encoded chunk; the limit of the receiving route's body.
pub const MAX_ENCODED_BYTES: usize = 1 + 10 + 5 + 5 + MAX_CHUNK_SPANS * MAX_SPAN_BYTES + MAX_CHUNK_BYTES + 4;

const VERSION: u8 = 1;

/// Which output of a step, or a line of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Ours: step headers, progress of fetch and push.
    Meta,
}

/// Who wrote the next `len` bytes of the stream, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Bytes, never 0.
    pub len: u32,
    /// The step's number; 0 is the attempt itself.
    pub step: u32,
    /// Which output.
    pub stream: Stream,
    /// When, to the microsecond.
    pub at: DateTime<Utc>,
}

/// A piece of the stream. Its spans cover its bytes exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where in the stream its first byte lies.
    pub offset: i64,
    /// The bytes.
    pub bytes: Bytes,
    /// Who wrote them.
    pub spans: Vec<Span>,
}

/// Why bytes are no chunk or no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("it ends too early")]
    Short,
    /// It goes on after its end.
    #[error("it goes on after its end")]
    Long,
    /// It is of a version that this release does not read.
    #[error("version {0} is not known here")]
    Version(u8),
    /// A length is over the limit.
    #[error("a length is over the limit")]
    TooLarge,
    /// A number is out of range.
    #[error("a number is out of range")]
    Number,
    /// A stream is none of stdout, stderr, meta.
    #[error("a stream is none of stdout, stderr, meta")]
    Stream,
    /// The spans do not cover the bytes exactly.
    #[error("the spans do not cover the bytes exactly")]
    Cover,
    /// The checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
    /// The compressed part does not unpack.
    #[error("the compressed part does not unpack")]
    Packed,
}

impl Chunk {
    /// No bytes at this offset: a doorbell that says how far the stream goes.
    pub fn empty(offset: i64) -> Self {
        Self { offset, bytes: Bytes::new(), spans: Vec::new() }
    }

    /// Offset of the byte after the last one.
    pub fn end(&self) -> i64 {
        self.offset.saturating_add(self.bytes.len() as i64)
    }

    /// What it takes in memory, roughly.
    pub fn cost(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>() + size_of::<Self>()
    }

    /// The part of it in `[from, to)`, sharing the bytes. `None` if nothing of it lies there.
    pub fn slice(&self, from: i64, to: i64) -> Option<Chunk> {
        let (from, to) = (from.max(self.offset), to.min(self.end()));
        if from >= to {
            return None;
        }
        let range = (from - self.offset) as usize..(to - self.offset) as usize;
        let mut spans = Vec::new();
        let mut start = 0usize;
        for span in &self.spans {
            let end = start + span.len as usize;
            let (low, high) = (start.max(range.start), end.min(range.end));
            if low < high {
                spans.push(Span { len: (high - low) as u32, ..*span });
            }
            start = end;
        }
        Some(Chunk { offset: from, bytes: self.bytes.slice(range), spans })
    }

    /// The compact form. Callers keep within [`MAX_CHUNK_BYTES`] and [`MAX_CHUNK_SPANS`], or the other
    /// side refuses it.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len() + self.spans.len() * 8 + 32);
        out.push(VERSION);
        put_varint(&mut out, self.offset.max(0) as u64);
        put_varint(&mut out, self.bytes.len() as u64);
        put_varint(&mut out, self.spans.len() as u64);
        put_spans(&mut out, &self.spans);
        out.extend_from_slice(&self.bytes);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.into()
    }

    /// Reads what [`Chunk::encode`] wrote, sharing the bytes. Never panics, whatever it is given.
    pub fn decode(encoded: &Bytes) -> Result<Self, DecodeError> {
        let Some(body_len) = encoded.len().checked_sub(4) else { return Err(DecodeError::Short) };
        let (body, checksum) = encoded.split_at(body_len);
        let mut reader = Reader::new(body);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        if crc32fast::hash(body).to_le_bytes() != checksum {
            return Err(DecodeError::Checksum);
        }
        let offset = reader.offset()?;
        let len = reader.length(MAX_CHUNK_BYTES)?;
        let span_count = reader.length(MAX_CHUNK_SPANS)?;
        let spans = reader.spans(span_count)?;
        if reader.rest().len() != len {
            return Err(if reader.rest().len() < len { DecodeError::Short } else { DecodeError::Long });
        }
        if offset.checked_add(len as i64).is_none() {
            return Err(DecodeError::Number);
        }
        let bytes = encoded.slice(body_len - len..body_len);
        check_cover(&spans, &bytes)?;
        Ok(Self { offset, bytes, spans })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).expect("in range")
    }

    fn stream() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr), Just(Stream::Meta)]
    }

    pub(crate) fn chunk() -> impl Strategy<Value = Chunk> {
        let piece = (prop::collection::vec(any::<u8>(), 1..40), any::<u32>(), stream(), -1i64 << 50..1i64 << 50);
        (0..i64::MAX / 2, prop::collection::vec(piece, 0..12)).prop_map(|(offset, pieces)| {
            let mut bytes = Vec::new();
            let mut spans = Vec::new();
            for (piece, step, stream, micros) in pieces {
                spans.push(Span { len: piece.len() as u32, step, stream, at: at(micros) });
                bytes.extend(piece);
            }
            Chunk { offset, bytes: bytes.into(), spans }
        })
    }

    proptest! {
        #[test]
        fn a_chunk_survives_its_compact_form(chunk in chunk()) {
            prop_assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk));
        }

        #[test]
        fn decode_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), fix in any::<bool>()) {
            let mut bytes = bytes;
            if fix {
                // A right version and checksum lead deeper into the reader.
                if let Some(first) = bytes.first_mut() { *first = VERSION; }
                let checksum = crc32fast::hash(&bytes);
                bytes.extend(checksum.to_le_bytes());
            }
            let _ = Chunk::decode(&bytes.into());
        }

        #[test]
        fn a_changed_byte_is_noticed(chunk in chunk(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut encoded = chunk.encode().to_vec();
            let place = place.index(encoded.len());
            encoded[place] ^= 1 << bit;
            prop_assert!(Chunk::decode(&encoded.into()).is_err());
        }

        #[test]
        fn slices_put_together_are_the_chunk(chunk in chunk(), cut in any::<prop::sample::Index>()) {
            let middle = chunk.offset + cut.index(chunk.bytes.len() + 1) as i64;
            let mut bytes = Vec::new();
            let mut covered = 0u64;
            for part in [chunk.slice(i64::MIN, middle), chunk.slice(middle, i64::MAX)].into_iter().flatten() {
                prop_assert_eq!(part.offset, chunk.offset + bytes.len() as i64);
                prop_assert_eq!(check_cover(&part.spans, &part.bytes), Ok(()));
                covered += part.spans.iter().map(|span| u64::from(span.len)).sum::<u64>();
                bytes.extend_from_slice(&part.bytes);
            }
            prop_assert_eq!(&bytes[..], &chunk.bytes[..]);
            prop_assert_eq!(covered, chunk.bytes.len() as u64);
        }
    }

    #[test]
    fn the_largest_chunk_fits_the_limit_and_a_larger_one_is_refused() {
        let spans: Vec<Span> = (0..MAX_CHUNK_SPANS)
            .map(|i| Span {
                len: (MAX_CHUNK_BYTES / MAX_CHUNK_SPANS) as u32,
                step: u32::MAX,
                stream: Stream::Stderr,
                at: at(if i % 2 == 0 { -1 << 60 } else { 1 << 60 }),
            })
            .collect();
        let chunk = Chunk { offset: i64::MAX / 2, bytes: vec![0; MAX_CHUNK_BYTES].into(), spans };
        let encoded = chunk.encode();
        assert!(encoded.len() <= MAX_ENCODED_BYTES);
        assert_eq!(Chunk::decode(&encoded).as_ref(), Ok(&chunk));
        let bytes: Bytes = vec![0; MAX_CHUNK_BYTES + 1].into();
        let span = Span { len: bytes.len() as u32, step: 1, stream: Stream::Stdout, at: at(0) };
        let larger = Chunk { offset: 0, bytes, spans: vec![span] };
        assert_eq!(Chunk::decode(&larger.encode()), Err(DecodeError::TooLarge));
    }

    #[test]
    fn spans_that_do_not_cover_are_refused() {
        let span = Span { len: 2, step: 1, stream: Stream::Stdout, at: at(0) };
        let chunk = Chunk { offset: 0, bytes: Bytes::from_static(b"abc"), spans: vec![span] };
        assert_eq!(Chunk::decode(&chunk.encode()), Err(DecodeError::Cover));
    }
}
