//! Chunks and segments of both versions as they were recorded: written by builders of the release before, and lying in
//! object storage for as long as logs are kept.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use chrono::DateTime;
use slipway_logfmt::chunk::{Chunk, DecodeError, Part, Span, Stream};
use slipway_logfmt::segment::Segment;

const CHUNK: &str = include_str!("../../domain/recorded/1/log_chunk.hex");
const SEGMENT: &str = include_str!("../../domain/recorded/1/log_segment.hex");
const CHUNK_PACKED: &str = include_str!("../../domain/recorded/1/log_chunk_packed.hex");
const SEGMENT_FRAMES: &str = include_str!("../../domain/recorded/1/log_segment_frames.hex");

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

/// Many bytes, packed where they were made, and behind them a few that were not.
fn long() -> (Chunk, Chunk) {
    let at = DateTime::from_timestamp_micros(1_767_225_600_000_000).expect("a time");
    let of = |offset, bytes: Bytes| {
        let spans = vec![Span { len: bytes.len() as u32, step: 2, stream: Stream::Stdout, at }];
        Chunk { offset, bytes, spans }
    };
    (of(7, b"line of a log\n".repeat(2000).into()), of(28_007, Bytes::from_static(b"end\n")))
}

#[test]
fn a_recorded_packed_chunk_is_read() {
    let part = Part::decode(&bytes(CHUNK_PACKED).into()).expect("it reads");
    assert!(part.packed.is_some());
    assert_eq!(part.chunk, long().0);
}

#[test]
fn a_recorded_segment_of_frames_is_read() {
    let (first, second) = long();
    let read = Segment::decode(&bytes(SEGMENT_FRAMES)).expect("it reads");
    assert_eq!(read.0.bytes, [first.bytes, second.bytes].concat());
    assert_eq!((read.0.offset, read.0.spans.len()), (7, 1));
    assert_eq!(Segment::mark(&bytes(SEGMENT_FRAMES)), Some(0xfeed));
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
    chunk[0] = 3;
    assert_eq!(Chunk::decode(&chunk.into()), Err(DecodeError::Version(3)));
    let mut segment = bytes(SEGMENT);
    segment[4] = 3;
    assert_eq!(Segment::decode(&segment), Err(DecodeError::Version(3)));
}
