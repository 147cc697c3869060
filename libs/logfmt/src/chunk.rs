//! What a builder sends: a piece of the stream with its offset and its spans. Binary, because log bytes
//! are no text: version byte, offset, lengths, spans, bytes, CRC-32 of all before it. In version 2 the bytes are packed,
//! as zstd does (RFC 8878).

use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::packing::unpack;
use crate::wire::{MAX_SPAN_BYTES, Reader, check_cover, put_spans, put_varint};

/// Most stream bytes in one chunk.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;
/// Most spans in one chunk.
pub const MAX_CHUNK_SPANS: usize = 16 * 1024;
/// Most bytes of an encoded chunk; the limit of the receiving route's body.
pub const MAX_ENCODED_BYTES: usize = 1 + 10 + 5 + 5 + MAX_CHUNK_SPANS * MAX_SPAN_BYTES + MAX_CHUNK_BYTES + 4;

/// From so many bytes on a chunk is packed where it is made, and what was packed there is stored as it is. Smaller ones
/// shrink little alone, and are packed together where they are stored.
pub const PACKED_MIN_BYTES: usize = 16 << 10;
/// zstd's own default: logs shrink about threefold at a fraction of a core.
pub(crate) const LEVEL: i32 = 3;

const VERSION: u8 = 1;
const VERSION_PACKED: u8 = 2;
/// How frames of zstd begin (RFC 8878, 3.1.1).
const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

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
        self.with_bytes(VERSION, &self.bytes)
    }

    /// The same, packed where it is worth it.
    pub fn pack(&self) -> Bytes {
        let packed = (self.bytes.len() >= PACKED_MIN_BYTES).then(|| zstd::bulk::compress(&self.bytes, LEVEL));
        match packed {
            Some(Ok(packed)) if packed.len() < self.bytes.len() => self.with_bytes(VERSION_PACKED, &packed),
            _ => self.encode(),
        }
    }

    fn with_bytes(&self, version: u8, bytes: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + self.spans.len() * 8 + 32);
        out.push(version);
        put_varint(&mut out, self.offset.max(0) as u64);
        put_varint(&mut out, self.bytes.len() as u64);
        put_varint(&mut out, self.spans.len() as u64);
        put_spans(&mut out, &self.spans);
        out.extend_from_slice(bytes);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.into()
    }

    /// Which bytes of the stream an encoded chunk says that it has, without a look at them.
    pub fn range(encoded: &[u8]) -> Option<Range<i64>> {
        let mut reader = Reader::new(encoded);
        reader.byte().ok()?;
        let (offset, length) = (reader.offset().ok()?, reader.length(MAX_CHUNK_BYTES).ok()?);
        Some(offset..offset.checked_add(length as i64)?)
    }

    /// Reads what [`Chunk::encode`] or [`Chunk::pack`] wrote, sharing the bytes. Never panics and never unpacks more than
    /// a chunk may hold, whatever it is given.
    pub fn decode(encoded: &Bytes) -> Result<Self, DecodeError> {
        Part::decode(encoded).map(|part| part.chunk)
    }
}

/// A chunk, and its bytes as they were packed where it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The chunk.
    pub chunk: Chunk,
    /// Its bytes as one run of zstd frames; `None` where they came plain.
    pub packed: Option<Bytes>,
}

impl Part {
    /// Like [`Chunk::decode`], without forgetting what was packed.
    pub fn decode(encoded: &Bytes) -> Result<Self, DecodeError> {
        let Some(body_len) = encoded.len().checked_sub(4) else { return Err(DecodeError::Short) };
        let (body, checksum) = encoded.split_at(body_len);
        let mut reader = Reader::new(body);
        let version = reader.byte()?;
        if !matches!(version, VERSION | VERSION_PACKED) {
            return Err(DecodeError::Version(version));
        }
        if crc32fast::hash(body).to_le_bytes() != checksum {
            return Err(DecodeError::Checksum);
        }
        let offset = reader.offset()?;
        let len = reader.length(MAX_CHUNK_BYTES)?;
        let span_count = reader.length(MAX_CHUNK_SPANS)?;
        let spans = reader.spans(span_count)?;
        let rest = encoded.slice(body_len - reader.rest().len()..body_len);
        let (bytes, packed) = match version {
            VERSION => (rest, None),
            // Packing makes nothing longer.
            _ if rest.len() >= len || !is_one_frame(&rest, len) => return Err(DecodeError::Packed),
            _ => (unpack(&rest, len)?.into(), Some(rest)),
        };
        if bytes.len() != len {
            return Err(if bytes.len() < len { DecodeError::Short } else { DecodeError::Long });
        }
        if offset.checked_add(len as i64).is_none() {
            return Err(DecodeError::Number);
        }
        check_cover(&spans, &bytes)?;
        Ok(Self { chunk: Chunk { offset, bytes, spans }, packed })
    }

    /// The part of it in `[from, to)`; what was packed is kept where nothing is cut off.
    pub fn slice(&self, from: i64, to: i64) -> Option<Self> {
        let chunk = self.chunk.slice(from, to)?;
        let packed = self.packed.clone().filter(|_| chunk.bytes.len() == self.chunk.bytes.len());
        Some(Self { chunk, packed })
    }

    /// What it takes in memory, roughly.
    pub fn cost(&self) -> usize {
        self.chunk.cost() + self.packed.as_ref().map_or(0, Bytes::len)
    }
}

/// Whether packed bytes are one frame as we write them, of so many bytes: no frame that readers pass over, none of formats
/// of old, and nothing behind it. It is stored as it is.
fn is_one_frame(packed: &[u8], len: usize) -> bool {
    packed.starts_with(&FRAME)
        && zstd::zstd_safe::find_frame_compressed_size(packed).is_ok_and(|size| size == packed.len())
        && matches!(zstd::zstd_safe::get_frame_content_size(packed), Ok(Some(size)) if size == len as u64)
}

impl From<Chunk> for Part {
    fn from(chunk: Chunk) -> Self {
        Self { chunk, packed: None }
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
        fn a_packed_chunk_is_the_same_chunk(chunk in chunk(), times in 1usize..400) {
            let bytes: Bytes = chunk.bytes.repeat(times).into();
            prop_assume!(!bytes.is_empty());
            let spans = vec![Span { len: bytes.len() as u32, ..chunk.spans[0] }];
            let chunk = Chunk { bytes, spans, ..chunk };
            let packed = chunk.pack();
            let part = Part::decode(&packed).expect("it reads");
            prop_assert_eq!(part.packed.is_some(), packed.len() < chunk.encode().len());
            prop_assert!(chunk.bytes.len() < PACKED_MIN_BYTES || part.packed.is_some(), "what repeats itself shrinks");
            prop_assert_eq!(part.cost() > chunk.cost(), part.packed.is_some());
            prop_assert_eq!(part.chunk, chunk);
        }

        #[test]
        fn decode_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            fix in any::<bool>(),
            version in VERSION..=VERSION_PACKED,
        ) {
            let mut bytes = bytes;
            if fix {
                // A right version and checksum lead deeper into the reader.
                if let Some(first) = bytes.first_mut() { *first = version; }
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
    fn what_unpacks_to_another_length_is_refused() {
        let of = |len: u32| Chunk {
            offset: 7,
            bytes: vec![b'x'; len as usize].into(),
            spans: vec![Span { len, step: 1, stream: Stream::Stdout, at: at(0) }],
        };
        let chunk = of(100_000);
        let frame = |len: usize| zstd::bulk::compress(&vec![b'x'; len], LEVEL).expect("it packs");
        let decode = |bytes: &[u8]| Part::decode(&chunk.with_bytes(VERSION_PACKED, bytes));
        assert_eq!(decode(&frame(100_000)).map(|part| part.chunk).as_ref(), Ok(&chunk));
        assert_eq!(decode(&frame(99_999)), Err(DecodeError::Packed));
        assert_eq!(decode(&frame(100_001)), Err(DecodeError::Packed));
        assert_eq!(decode(&frame(1 << 30)), Err(DecodeError::Packed));
        let padding = [&[0x50, 0x2a, 0x4d, 0x18][..], &100_000u32.to_le_bytes(), &[0; 100_000]].concat();
        assert_eq!(decode(&[&padding[..], &frame(100_000)].concat()), Err(DecodeError::Packed));
        let unseen = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'!'];
        assert_eq!(decode(&[&unseen[..], &frame(100_000)].concat()), Err(DecodeError::Packed));
        assert_eq!(decode(&[&frame(100_000)[..], &unseen].concat()), Err(DecodeError::Packed));
        assert_eq!(decode(&[frame(99_999), frame(1)].concat()), Err(DecodeError::Packed));
        let range = Some(chunk.offset..chunk.end());
        assert_eq!([Chunk::range(&chunk.pack()), Chunk::range(&chunk.encode())], [range.clone(), range]);
        assert_eq!([Chunk::range(&Chunk::empty(7).encode()), Chunk::range(&[2])], [Some(7..7), None]);
        let part = decode(&frame(100_000)).expect("it reads");
        assert!(part.slice(0, i64::MAX).is_some_and(|all| all.packed.is_some()));
        assert!(part.slice(8, i64::MAX).is_some_and(|rest| rest.packed.is_none() && rest.chunk.offset == 8));
    }

    #[test]
    fn spans_that_do_not_cover_are_refused() {
        let span = Span { len: 2, step: 1, stream: Stream::Stdout, at: at(0) };
        let chunk = Chunk { offset: 0, bytes: Bytes::from_static(b"abc"), spans: vec![span] };
        assert_eq!(Chunk::decode(&chunk.encode()), Err(DecodeError::Cover));
    }
}
