//! What a builder sends.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use slipway_logfmt::chunk::{Chunk, DecodeError, Part};

use crate::input;

/// Runs the target.
pub fn run(input: &[u8]) {
    stranger(input);
    // A right version and checksum lead deeper.
    for version in [1, 2] {
        let mut fixed = [&[version], input].concat();
        fixed.extend(crc32fast::hash(&fixed).to_le_bytes());
        stranger(&fixed);
    }
    let _ = ours(&mut Unstructured::new(input));
}

/// Bytes that may be no chunk. One that is says the same when it is written again.
fn stranger(bytes: &[u8]) {
    let Ok(chunk) = Chunk::decode(&Bytes::copy_from_slice(bytes)) else { return };
    assert!(chunk.offset >= 0 && chunk.end() >= chunk.offset, "{chunk:?}");
    let covered: u64 = chunk.spans.iter().map(|span| u64::from(span.len)).sum();
    assert_eq!(covered, chunk.bytes.len() as u64, "the spans do not cover it");
    assert!(chunk.spans.iter().all(|span| span.len > 0), "{chunk:?}");
    assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk));
}

/// A chunk of ours: it survives, its parts are it, and no changed byte goes unnoticed.
fn ours(input: &mut Unstructured<'_>) -> Result<()> {
    let offset = input.int_in_range(0..=1 << 40)?;
    // Repeated, some are so long that they are packed.
    let bytes = input::text(input, 60)?.repeat(*input.choose(&[1, 1, 1, 500])?);
    let chunk = input::chunk(input, offset, bytes)?;
    let encoded = chunk.pack();
    assert_eq!(Chunk::decode(&chunk.encode()).as_ref(), Ok(&chunk));
    let part = Part::decode(&encoded).expect("it reads");
    assert_eq!((&part.chunk, part.packed.is_some()), (&chunk, encoded.len() < chunk.encode().len()));
    let middle = offset + chunk.bytes.len() as i64 / 2;
    let half = part.slice(middle, i64::MAX).map(|half| half.chunk);
    assert_eq!(half, chunk.slice(middle, i64::MAX), "a part of what was packed differs");
    let mut at = offset;
    for part in input::parts(input, &chunk)? {
        assert_eq!(part.offset, at, "a gap");
        assert_eq!(Chunk::decode(&part.encode()).as_ref(), Ok(&part), "a part is no chunk");
        at = part.end();
    }
    assert_eq!(at, chunk.end(), "something is missing");
    let mut changed = encoded.to_vec();
    let place = input.choose_index(changed.len())?;
    changed[place] ^= 1 << input.int_in_range(0..=7)?;
    assert!(Chunk::decode(&changed.into()).is_err(), "a changed byte went unnoticed");
    let short = encoded.slice(..input.choose_index(encoded.len())?);
    assert!(matches!(Chunk::decode(&short), Err(DecodeError::Short | DecodeError::Checksum)), "half a chunk was taken");
    Ok(())
}
