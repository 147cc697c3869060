//! Chunks and segments of version 1 as they were recorded: written by builders of the release before, and lying in
//! object storage for as long as logs are kept.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use chrono::DateTime;
use slipway_logfmt::chunk::{Chunk, DecodeError, Span, Stream};
use slipway_logfmt::segment::Segment;

const CHUNK: &str = include_str!("../../domain/recorded/1/log_chunk.hex");
const SEGMENT: &str = include_str!("../../domain/recorded/1/log_segment.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.trim().chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("two digits");
    digits.chunks(2).map(byte).collect()
}

/// What both samples say.
fn meant() -> Chunk {
    let span = |len, step, stream, micros: i64| {
        let at = DateTime::from_timestamp_micros(1_767_225_600_000_000 + micros).expect("a time");
        Span { len, step, stream, at }
    };
    let spans = vec![span(6, 0, Stream::Meta, 0), span(7, 1, Stream::Stdout, 1_500), span(5, 300, Stream::Stderr, -20)];
    Chunk { offset: 70_000, bytes: Bytes::from_static(b"fetch\nhello!\n\xc3\xa4\xff\x1bm"), spans }
}

#[test]
fn a_recorded_chunk_is_read_and_written_the_same() {
    assert_eq!(Chunk::decode(&bytes(CHUNK).into()), Ok(meant()));
    assert_eq!(meant().encode(), bytes(CHUNK));
}

#[test]
fn a_recorded_segment_is_read() {
    // How it is packed may change; what lies there may not become unreadable.
    assert_eq!(Segment::decode(&bytes(SEGMENT)), Ok(Segment(meant())));
}

#[test]
fn what_a_newer_release_wrote_is_named_by_its_version() {
    let mut chunk = bytes(CHUNK);
    chunk[0] = 2;
    assert_eq!(Chunk::decode(&chunk.into()), Err(DecodeError::Version(2)));
    let mut segment = bytes(SEGMENT);
    segment[4] = 2;
    assert_eq!(Segment::decode(&segment), Err(DecodeError::Version(2)));
}
