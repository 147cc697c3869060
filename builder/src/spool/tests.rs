use chrono::DateTime;
use slipway_domain::ids::JobId;
use slipway_logfmt::chunk::{Span, Stream};
use slipway_runtime::ids::new_id;

use super::*;

fn owner() -> Owner {
    Owner { attempt: AttemptRef { job: new_id::<JobId>(), epoch: 2 }, token: "secret".to_owned() }
}

fn chunk(offset: i64, bytes: &[u8]) -> Chunk {
    let at = DateTime::from_timestamp_micros(1_000_000).expect("in range");
    let span = Span { len: u32::try_from(bytes.len()).expect("short"), step: 1, stream: Stream::Stdout, at };
    Chunk { offset, bytes: Bytes::copy_from_slice(bytes), spans: vec![span] }
}

fn all(spool: &Spool, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut offset = spool.start();
    while let Some(chunk) = spool.read(offset, step).expect("reads") {
        assert_eq!(chunk.offset, offset);
        assert!(chunk.bytes.len() <= step);
        assert_eq!(chunk.spans.iter().map(|span| span.len as usize).sum::<usize>(), chunk.bytes.len());
        bytes.extend_from_slice(&chunk.bytes);
        offset = chunk.end();
    }
    bytes
}

#[test]
fn what_was_appended_is_read_from_any_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::create(&dir.path().join("s"), &owner()).expect("made");
    let mut whole = Vec::new();
    for i in 0..3000usize {
        let line = format!("line {i} {}\n", "x".repeat(i % 50));
        spool.append(&chunk(spool.end(), line.as_bytes())).expect("appends");
        whole.extend_from_slice(line.as_bytes());
    }
    assert_eq!(spool.end(), i64::try_from(whole.len()).expect("short"));
    assert_eq!(all(&spool, 1000), whole);
    assert_eq!(all(&spool, 1 << 20), whole);
    for offset in [0usize, 1, 17_000, whole.len() - 1] {
        let read = spool.read(offset as i64, 10).expect("reads").expect("there");
        assert_eq!(&read.bytes[..], &whole[offset..(offset + 10).min(whole.len())]);
    }
    assert!(spool.read(spool.end(), 10).expect("reads").is_none());
}

#[test]
fn a_gap_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::create(dir.path(), &owner()).expect("made");
    spool.append(&chunk(0, b"abc")).expect("appends");
    assert!(spool.append(&chunk(4, b"x")).is_err());
    assert!(spool.append(&chunk(0, b"x")).is_err());
    assert_eq!(spool.end(), 3);
}

#[test]
fn a_crash_loses_only_the_frame_it_cut() {
    let dir = tempfile::tempdir().expect("a folder");
    let owner = owner();
    let mut spool = Spool::create(dir.path(), &owner).expect("made");
    spool.append(&chunk(0, b"first\n")).expect("appends");
    spool.append(&chunk(6, b"second\n")).expect("appends");
    let path = part_path(dir.path(), 0);
    let length = fs::metadata(&path).expect("there").len();
    OpenOptions::new().write(true).open(&path).expect("opens").set_len(length - 1).expect("cuts");
    drop(spool);
    let (found, recovered) = Spool::recover(dir.path()).expect("recovers");
    assert_eq!((found.attempt, found.token), (owner.attempt, owner.token));
    assert_eq!(all(&recovered, 100), b"first\n");
    recovered.remove().expect("removes");
    assert!(!dir.path().exists());
}

#[test]
fn durable_parts_go_once_the_spool_is_large() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::create(dir.path(), &owner()).expect("made");
    let block = vec![b'x'; 1 << 20];
    while spool.end() < KEEP_BYTES + 2 * PART_BYTES {
        spool.append(&chunk(spool.end(), &block)).expect("appends");
    }
    spool.forget_below(PART_BYTES - 1);
    assert_eq!(spool.start(), 0, "nothing that is not durable goes");
    spool.forget_below(spool.end());
    assert_eq!(spool.start(), 2 * PART_BYTES, "what is kept for hashing stays");
    assert!(spool.read(0, 10).expect("reads").is_none());
    assert_eq!(spool.read(spool.start(), 10).expect("reads").expect("there").bytes.len(), 10);
    let (_, recovered) = Spool::recover(dir.path()).expect("recovers");
    assert_eq!((recovered.start(), recovered.end()), (spool.start(), spool.end()));
}
