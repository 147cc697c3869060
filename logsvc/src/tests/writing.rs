//! What builders may send, and that acknowledged bytes survive.

use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use slipway_blobs::{Mark, SegmentKey};
use slipway_domain::agent::LogAck;
use slipway_logfmt::chunk::{Chunk, MAX_ENCODED_BYTES};
use slipway_logfmt::segment::{Frames, Segment};
use slipway_store::logs::LogState;

use super::world::{STRANGER, USER, World, ack, chunk, sha256, token};
use crate::flush::flush_once;

#[tokio::test]
async fn a_chunk_may_be_sent_again_and_a_gap_is_refused() {
    let world = World::without_loops().await;
    assert_eq!(world.send(1, 0, b"one\n").await, LogAck { received: 4, durable: 0 });
    assert_eq!(world.send(1, 0, b"one\n").await, LogAck { received: 4, durable: 0 });
    assert_eq!(world.send(1, 2, b"e\ntwo\n").await, LogAck { received: 8, durable: 0 });
    let (status, body) = world.post_chunk(1, &chunk(9, b"later")).await;
    assert_eq!((status, ack(&body)), (StatusCode::CONFLICT, LogAck { received: 8, durable: 0 }));
    assert_eq!(world.text("log").await, "one\ntwo\n");
}

#[tokio::test]
async fn only_the_attempts_own_token_writes() {
    let world = World::without_loops().await;
    let body = chunk(0, b"x").encode();
    for wrong in [USER, STRANGER, &token(2), ""] {
        // Before and after the log is known here.
        let (status, _) = world.post(1, "log", wrong, body.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
        let (status, _) = world.post(7, "log", wrong, body.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "an attempt that is not there");
    }
    world.send(1, 0, b"x").await;
    let (status, _) = world.post(1, "log", &token(2), body.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let end = format!("{{\"end\":1,\"sha256\":\"{}\"}}", sha256(b"x"));
    let (status, _) = world.post(1, "log/end", &token(2), end.into()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.text("log").await, "x");
}

#[tokio::test]
async fn what_is_no_chunk_is_refused() {
    let world = World::without_loops().await;
    for bad in [&b""[..], b"hello", &chunk(0, b"x").encode()[1..]] {
        let (status, body) = world.post(1, "log", &token(1), bytes::Bytes::copy_from_slice(bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    let (status, _) = world.post(1, "log", &token(1), vec![1; MAX_ENCODED_BYTES + 1].into()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    for end in ["{\"end\":-1,\"sha256\":\"00\"}", "{\"end\":1,\"sha256\":\"XY\"}"] {
        let (status, _) = world.post(1, "log/end", &token(1), end.into()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn a_whole_log_is_stored_at_once_and_sealed() {
    let world = World::new().await;
    let stream = b"one\ntwo\nthree".repeat(100_000);
    for (index, part) in stream.chunks(300_000).enumerate() {
        world.send(1, index as i64 * 300_000, part).await;
    }
    let end = stream.len() as i64;
    let (status, body) = world.end(1, &stream).await;
    assert_eq!((status, ack(&body)), (StatusCode::OK, LogAck { received: end, durable: end }));
    assert_eq!(world.end(1, &stream).await.0, StatusCode::OK, "the end may be sent again");
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.end_with(1, end, &sha256(b"other")).await.0, StatusCode::GONE, "but not another");
    assert_eq!(world.get("log?ansi=1", &[]).await.2, stream);
    assert_eq!(world.send(1, 0, b"one\n").await, LogAck { received: end, durable: end });
    let (status, _) = world.post_chunk(1, &chunk(end, b"more")).await;
    assert_eq!(status, StatusCode::GONE);
    assert_eq!(world.logs.room().taken(), 0, "a sealed log takes no memory");
}

#[tokio::test]
async fn a_log_that_another_service_closed_holds_nothing_up() {
    let world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    let (db, now) = (world.logs.db(), world.clock.now());
    let row = db.attempt_log(world.attempt(1)).await.expect("its row");
    assert!(db.seal_log(&row, LogState::Cut, now).await.expect("sealed"));
    let flushed = tokio::time::timeout(Duration::from_secs(10), flush_once(&world.logs, true)).await;
    assert!(flushed.is_ok(), "storing ends although nothing more of it is taken");
    assert_eq!(world.post_chunk(1, &chunk(4, b"two\n")).await.0, StatusCode::GONE);
    assert_eq!(world.logs.room().taken(), 0);
}

#[tokio::test]
async fn nothing_goes_beyond_the_announced_end() {
    let world = World::new().await;
    world.send(1, 0, b"one\n").await;
    assert_eq!(world.end_with(1, 2, &sha256(b"on")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.end_with(1, 8, &sha256(b"one\ntwo\n")).await.0, StatusCode::OK);
    let (status, _) = world.post_chunk(1, &chunk(4, b"two\nx")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    world.send(1, 4, b"two\n").await;
    assert_eq!(world.sealed().await, "complete");
}

#[tokio::test]
async fn an_empty_log_is_sealed() {
    let world = World::new().await;
    assert_eq!(world.end(1, b"").await.0, StatusCode::OK);
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.text("log").await, "");
}

#[tokio::test]
async fn a_killed_service_goes_on_at_what_is_durable() {
    let mut world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    assert_eq!(world.send(1, 4, b"two\n").await, LogAck { received: 8, durable: 4 });
    world.restart().await;
    let (status, body) = world.post_chunk(1, &chunk(8, b"three\n")).await;
    assert_eq!((status, ack(&body)), (StatusCode::CONFLICT, LogAck { received: 4, durable: 4 }));
    world.send(1, 4, b"two\nthree\n").await;
    assert_eq!(world.end(1, b"one\ntwo\nthree\n").await.0, StatusCode::OK);
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.text("log").await, "one\ntwo\nthree\n");
}

/// We, or another service, died between the object and its row.
#[tokio::test]
async fn an_object_without_a_row_is_booked() {
    let world = World::new().await;
    let stored = Segment(chunk(0, b"one\ntwo\n")).encode(&Frames::default(), world.mark(1).0).expect("it packs");
    let key = world.segment(1, 0);
    world.logs.blobs().put_segment(key, stored).await.expect("put");
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    let (_, body) = world.post_chunk(1, &chunk(4, b"two\n")).await;
    assert_eq!(ack(&body), LogAck { received: 8, durable: 8 });
    world.send(1, 8, b"three\n").await;
    assert_eq!(world.end(1, b"one\ntwo\nthree\n").await.0, StatusCode::OK);
    assert_eq!(world.sealed().await, "complete");
}

/// A database that was brought back from a backup gives epochs again that it had given since: what those attempts
/// stored is of a time that did not happen for it.
#[tokio::test]
async fn what_another_attempt_of_this_epoch_stored_is_nobodys() {
    let mut world = World::new().await;
    let other = Mark::of(b"another token");
    for (start, text) in [(0, "one\nof another time\n"), (4, "TWO\n")] {
        let lost = Segment(chunk(start, text.as_bytes())).encode(&Frames::default(), other.0).expect("it packs");
        world.logs.blobs().put_segment(world.segment(1, start), lost).await.expect("put");
    }
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    assert_eq!(world.send(1, 4, b"two\n").await, LogAck { received: 8, durable: 4 });
    flush_once(&world.logs, true).await;
    // Nobody remembers the beginning, so that it is read back.
    world.restart().await;
    assert_eq!(world.send(1, 8, b"three\n").await, LogAck { received: 14, durable: 8 });
    assert_eq!(world.end(1, b"one\ntwo\nthree\n").await.0, StatusCode::OK);
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.text("log").await, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_log_whose_row_was_brought_back_is_begun_anew_from_there() {
    let mut world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    world.send(1, 4, b"two\n").await;
    world.forget_segments().await;
    flush_once(&world.logs, true).await;
    // The builder is told, and sends what its spool has from there on.
    let (status, body) = world.post_chunk(1, &chunk(8, b"three\n")).await;
    assert_eq!((status, ack(&body)), (StatusCode::CONFLICT, LogAck { received: 0, durable: 0 }));
    world.send(1, 0, b"one\ntwo\nthree\n").await;
    assert_eq!(world.end(1, b"one\ntwo\nthree\n").await.0, StatusCode::OK);
    for _ in 0..2 {
        flush_once(&world.logs, true).await;
    }
    crate::seal::seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.text("log").await, "one\ntwo\nthree\n");
}

/// We died between the object and its row, and the name was another attempt's.
#[tokio::test]
async fn an_object_under_its_second_name_without_a_row_is_booked() {
    let world = World::new().await;
    let key = world.segment(1, 0);
    let lost = Segment(chunk(0, b"lost\n")).encode(&Frames::default(), Mark::of(b"another token").0).expect("it packs");
    world.logs.blobs().put_segment(key, lost).await.expect("put");
    let mark = world.mark(1);
    let ours = Segment(chunk(0, b"one\ntwo\n")).encode(&Frames::default(), mark.0).expect("it packs");
    world.logs.blobs().put_segment(SegmentKey { mark: Some(mark), ..key }, ours).await.expect("put");
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    let (_, body) = world.post_chunk(1, &chunk(4, b"two\n")).await;
    assert_eq!(ack(&body), LogAck { received: 8, durable: 8 });
    assert_eq!(world.end(1, b"one\ntwo\n").await.0, StatusCode::OK);
    assert_eq!(world.sealed().await, "complete");
}

#[tokio::test]
async fn an_unreadable_object_without_a_row_is_replaced() {
    let world = World::without_loops().await;
    let key = world.segment(1, 0);
    world.logs.blobs().put_segment(key, "torn".into()).await.expect("put");
    world.send(1, 0, b"one\n").await;
    assert!(flush_once(&world.logs, true).await, "it still waits");
    let log = world.logs.open_log(world.attempt(1)).expect("open");
    let now = world.clock.monotonic();
    world.logs.with_tail(&log, |tail| tail.postpone(now));
    assert!(!flush_once(&world.logs, true).await);
    assert_eq!(world.send(1, 0, b"one\n").await, LogAck { received: 4, durable: 4 });
}

#[tokio::test]
async fn one_log_that_cannot_be_stored_does_not_stop_the_others() {
    let mut world = World::without_loops().await;
    world.close_attempt(1, "lost", "running").await;
    world.open_attempt(2).await;
    world.send(1, 0, b"one\n").await;
    world.send(2, 0, b"two\n").await;
    // A file where a folder must be.
    let job = world.job.to_string();
    let folder = world.folder.path().join("blobs/logs").join(&job[job.len() - 2..]).join(&job);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("1"), b"").expect("a file");
    assert!(flush_once(&world.logs, true).await);
    assert_eq!(world.send(1, 0, b"one\n").await.durable, 0);
    assert_eq!(world.send(2, 0, b"two\n").await.durable, 4);
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = World::without_loops().await;
    let mebibyte = vec![b'x'; 1 << 20];
    let mut offset = 0;
    let status = loop {
        let (status, _) = world.post_chunk(1, &chunk(offset, &mebibyte)).await;
        if status != StatusCode::OK {
            break status;
        }
        offset += 1 << 20;
        assert!(world.logs.room().taken() <= crate::tail::TAIL_MAX_BYTES);
    };
    assert_eq!((status, offset), (StatusCode::SERVICE_UNAVAILABLE, 15 << 20));
    flush_once(&world.logs, true).await;
    world.send(1, offset, &mebibyte).await;
}

#[tokio::test]
async fn what_is_stored_but_not_announced_is_damaged() {
    let world = World::new().await;
    world.send(1, 0, b"one\n").await;
    world.end_with(1, 4, &sha256(b"two\n")).await;
    assert_eq!(world.sealed().await, "damaged");
    let text = world.text("log").await;
    assert!(text.starts_with("one\n[slipway] This log is damaged"), "{text}");
}

#[tokio::test]
async fn a_log_whose_object_changed_is_damaged() {
    let world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    let attempt = world.attempt(1);
    let key = world.segment(1, 0);
    world.logs.blobs().delete_segment(key).await.expect("delete");
    let other = Segment(chunk(0, b"0ne\n")).encode(&Frames::default(), world.mark(1).0).expect("it packs");
    world.logs.blobs().put_segment(key, other).await.expect("put");
    world.logs.db().end_logs(&[(attempt, log_end(b"one\n"))], world.clock.now()).await.expect("end");
    crate::seal::seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "damaged");
}

#[tokio::test]
async fn a_log_without_its_end_is_cut_after_a_while() {
    let mut world = World::without_loops().await;
    world.send(1, 0, b"one\nhal").await;
    flush_once(&world.logs, true).await;
    world.close_attempt(1, "lost", "queued").await;
    crate::seal::seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.get("log", &[]).await.1["slipway-log-state"], "live");
    // The log of a lost attempt is still taken.
    world.send(1, 7, b"f").await;
    flush_once(&world.logs, true).await;
    world.clock.advance(slipway_domain::timing::LOG_SEAL_CUT + std::time::Duration::from_secs(1));
    crate::seal::seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "cut");
    assert!(world.text("log").await.starts_with("one\nhalf\n[slipway] This log is cut at byte 8:"));
    let (status, _) = world.post_chunk(1, &chunk(8, b"late")).await;
    assert_eq!(status, StatusCode::GONE);
}

fn log_end(stream: &[u8]) -> slipway_domain::agent::LogEnd {
    slipway_domain::agent::LogEnd { end: stream.len() as i64, sha256: sha256(stream) }
}

/// One thing that may happen to a log.
#[derive(Debug, Clone)]
enum Happening {
    Send(usize, usize),
    Flush,
    Kill,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0usize..60, 1usize..25).prop_map(|(at, len)| Happening::Send(at, len)),
        1 => Just(Happening::Flush),
        1 => Just(Happening::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is doubled, reordered or killed: acknowledged bytes stay, and the sealed log is the stream.
    #[test]
    fn acknowledged_bytes_never_vanish(happenings in prop::collection::vec(happening(), 0..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let stream: Vec<u8> = (0..80u8).map(|n| if n % 7 == 6 { b'\n' } else { b'a' + n % 26 }).collect();
            let mut world = World::without_loops().await;
            let mut acknowledged = 0;
            for happening in happenings {
                match happening {
                    Happening::Send(at, len) => {
                        let part = &stream[at..(at + len).min(stream.len())];
                        let (_, body) = world.post_chunk(1, &chunk(at as i64, part)).await;
                        acknowledged = ack(&body).durable;
                    }
                    Happening::Flush => drop(flush_once(&world.logs, true).await),
                    Happening::Kill => world.restart().await,
                }
                let (_, body) = world.post_chunk(1, &Chunk::empty(0)).await;
                let now = ack(&body);
                assert!(now.durable >= acknowledged && now.received >= now.durable);
                assert_eq!(world.get("log?ansi=1", &[]).await.2, stream[..now.received as usize]);
            }
            world.restart().await;
            let (_, body) = world.post_chunk(1, &Chunk::empty(0)).await;
            let from = ack(&body).received;
            assert!(from >= acknowledged);
            if from < stream.len() as i64 {
                world.send(1, from, &stream[from as usize..]).await;
            }
            assert_eq!(world.end(1, &stream).await.0, StatusCode::OK);
            assert_eq!(world.sealed().await, "complete");
            assert_eq!(world.get("log?ansi=1", &[]).await.2, stream);
        });
    }
}
