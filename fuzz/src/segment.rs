//! What lies in object storage.

use arbitrary::{Result, Unstructured};
use slipway_logfmt::chunk::{Chunk, Part, Span, Stream};
use slipway_logfmt::segment::{Frames, Segment};

use crate::input;

/// Begin frames that zstd passes over, as segments have them.
const HEAD_FRAME: [u8; 4] = [0x5d, 0x2a, 0x4d, 0x18];
const MARK_FRAME: [u8; 4] = [0x5c, 0x2a, 0x4d, 0x18];

/// Runs the target.
pub fn run(input: &[u8]) {
    stranger(input);
    // The right heads and checksums lead deeper.
    let (head, frames) = input.split_at(input.len() / 2);
    let length = (b"SLWL\x02".len() + head.len()) as u32;
    let version_1 = [b"SLWL\x01", input].concat();
    let begin = [&HEAD_FRAME[..], &length.to_le_bytes(), b"SLWL\x02", head].concat();
    let version_2 = [&begin[..], frames, &MARK_FRAME, &12_u32.to_le_bytes(), &[7; 8]].concat();
    for mut fixed in [version_1, version_2] {
        fixed.extend(crc32fast::hash(&fixed).to_le_bytes());
        stranger(&fixed);
    }
    let _ = ours(&mut Unstructured::new(input));
}

/// Bytes that may be no segment. One that is says the same when it is written again.
fn stranger(bytes: &[u8]) {
    let _ = Segment::mark(bytes);
    let Ok(Segment(chunk)) = Segment::decode(bytes) else { return };
    let covered: u64 = chunk.spans.iter().map(|span| u64::from(span.len)).sum();
    assert_eq!(covered, chunk.bytes.len() as u64, "the spans do not cover it");
    assert!(chunk.end() >= chunk.offset, "{chunk:?}");
    let segment = Segment(chunk);
    let again = segment.encode(&Frames::default(), 0).expect("it packs");
    assert_eq!(Segment::decode(&again), Ok(segment));
}

/// Chunks of ours that become a segment: it has their bytes and writers, survives, and no changed byte goes unnoticed.
fn ours(input: &mut Unstructured<'_>) -> Result<()> {
    let offset = input.int_in_range(0..=1 << 40)?;
    let bytes = input::text(input, 60)?;
    let whole = input::chunk(input, offset, bytes)?;
    let mut parts = Vec::new();
    for chunk in input::parts(input, &whole)? {
        let packed =
            input.arbitrary::<bool>()?.then(|| zstd::bulk::compress(&chunk.bytes, 3).expect("it packs").into());
        parts.push(Part { chunk, packed });
    }
    let Some((segment, frames)) = Segment::merge(&parts) else {
        assert!(whole.bytes.is_empty(), "there was something to merge");
        return Ok(());
    };
    assert_eq!(writers(&segment.0), writers(&whole));
    assert_eq!((segment.0.offset, &segment.0.bytes), (whole.offset, &whole.bytes));
    let mark = input.arbitrary()?;
    let stored = segment.encode(&frames, mark).expect("it packs");
    assert_eq!(zstd::stream::decode_all(&stored[..]).expect("any reader of zstd reads it"), whole.bytes);
    assert_eq!(Segment::mark(&stored), Some(mark));
    assert_eq!(Segment::decode(&stored).as_ref(), Ok(&segment));
    // What stands behind a gap belongs to another one.
    if let [first, _, third, ..] = parts.as_slice() {
        assert_eq!(Segment::merge([first, third]).map(|(segment, _)| segment.0.end()), Some(first.chunk.end()));
    }
    let mut changed = stored.to_vec();
    let place = input.choose_index(changed.len())?;
    changed[place] ^= 1 << input.int_in_range(0..=7)?;
    assert!(Segment::decode(&changed).is_err(), "a changed byte went unnoticed");
    assert!(Segment::decode(&stored[..input.choose_index(stored.len())?]).is_err(), "half a segment was taken");
    Ok(())
}

/// Who wrote each byte, and when.
fn writers(chunk: &Chunk) -> Vec<(u32, Stream, i64)> {
    let of = |span: &Span| std::iter::repeat_n((span.step, span.stream, span.at.timestamp_micros()), span.len as usize);
    chunk.spans.iter().flat_map(of).collect()
}
