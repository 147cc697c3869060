//! Two services on one database, as behind a proxy that sends a log's writer now to one and now to the other.

use std::mem::swap;
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use slipway_domain::agent::LogAck;
use slipway_domain::timing::LOG_SEAL_CUT;
use slipway_logfmt::chunk::Chunk;
use slipway_store::logs::LogState;

use super::storage::Broken;
use super::world::{World, ack, chunk, eventually};
use crate::Logs;
use crate::flush::flush_once;
use crate::seal::seal_once;

/// Through how many handovers a log goes.
const PIECES: usize = 8;
/// Less than those take when each waits until a segment is due by itself.
const PIECES_WITHIN: Duration = Duration::from_secs(12);

/// A watcher is told of what is durable and of what comes within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// Sends as a builder does: from where it is told on. How far the log is then, as this service says.
async fn write_on(world: &World, stream: &[u8], from: i64, len: usize) -> LogAck {
    let to = (from as usize + len).min(stream.len());
    let (status, body) = world.post_chunk(1, &chunk(from, &stream[from as usize..to])).await;
    assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&status), "{status}: {body:?}");
    ack(&body)
}

#[tokio::test]
async fn a_watcher_beside_an_old_tail_sees_every_line() {
    let mut world = World::without_loops().await;
    let mut other = world.beside();
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    let mut watch = world.watch("log/stream", &[]).await;
    watch.text_until("one\n").await;
    swap(&mut world.logs, &mut other);
    let mut at = 4;
    for line in 0..10 {
        let line = format!("line {line}\n");
        world.send(1, at, line.as_bytes()).await;
        at += line.len() as i64;
    }
    let told = tokio::time::timeout(TOLD_WITHIN, watch.text_until("line 9\n")).await;
    let (text, id) = told.expect("it is told at once");
    assert_eq!(text, (0..10).map(|line| format!("line {line}\n")).collect::<String>());
    assert_eq!(id, format!("1:{at}"));
    // The writer comes back: what both have is told once.
    world.send(1, at, b"there\n").await;
    swap(&mut world.logs, &mut other);
    world.send(1, 4, b"line 0\n").await;
    assert_eq!(watch.next().await.map(|seen| seen.text()), Some("there\n".to_owned()));
    swap(&mut world.logs, &mut other);
    world.send(1, at + 6, b"back\n").await;
    assert_eq!(watch.next().await.map(|seen| seen.text()), Some("back\n".to_owned()));
}

/// Part of the log was told before somebody listened, and what is told since then follows that.
#[tokio::test]
async fn a_watcher_who_missed_bytes_finds_them_however_much_is_told() {
    for has_old_tail in [true, false] {
        let mut world = World::without_loops().await;
        let mut other = world.beside();
        world.send(1, 0, b"one\n").await;
        flush_once(&world.logs, true).await;
        swap(&mut world.logs, &mut other);
        world.send(1, 4, b"missed\n").await;
        swap(&mut world.logs, &mut other);
        if !has_old_tail {
            world.logs.forget(world.attempt(1));
        }
        let mut watch = world.watch("log/stream", &[]).await;
        watch.text_until("one\n").await;
        swap(&mut world.logs, &mut other);
        let mut at = 11;
        let steady = async {
            loop {
                world.send(1, at, b"more\n").await;
                at += 5;
                flush_once(&world.logs, true).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            (text, _) = watch.text_until("missed\n") => assert!(text.starts_with("missed\n"), "{text}"),
            () = steady => {}
            () = tokio::time::sleep(TOLD_WITHIN) => panic!("it is never told"),
        }
    }
}

#[tokio::test]
async fn an_old_tail_goes_on_behind_what_is_durable() {
    let mut world = World::without_loops().await;
    let mut other = world.beside();
    world.send(1, 0, b"one\n").await;
    swap(&mut world.logs, &mut other);
    let stream = b"one\ntwo\nthree\nfour\n";
    world.send(1, 0, &stream[..8]).await;
    flush_once(&world.logs, true).await;
    world.send(1, 8, &stream[8..14]).await;
    flush_once(&world.logs, true).await;
    swap(&mut world.logs, &mut other);
    // A builder has nothing any more of what was called durable.
    assert_eq!(world.send(1, 14, b"four\n").await, LogAck { received: 19, durable: 14 });
    flush_once(&world.logs, true).await;
    swap(&mut world.logs, &mut other);
    let (status, body) = world.end(1, stream).await;
    assert_eq!((status, ack(&body)), (StatusCode::OK, LogAck { received: 19, durable: 19 }));
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.get("log?ansi=1", &[]).await.2, &stream[..]);
}

#[tokio::test]
async fn a_gap_in_what_is_not_durable_is_still_refused() {
    let mut world = World::without_loops().await;
    let mut other = world.beside();
    world.send(1, 0, b"one\n").await;
    swap(&mut world.logs, &mut other);
    let (status, body) = world.post_chunk(1, &chunk(4, b"two\n")).await;
    assert_eq!((status, ack(&body)), (StatusCode::CONFLICT, LogAck { received: 0, durable: 0 }));
    let (status, body) = world.post_chunk(1, &Chunk::empty(4)).await;
    assert_eq!((status, ack(&body)), (StatusCode::CONFLICT, LogAck { received: 0, durable: 0 }));
    world.send(1, 0, b"one\ntwo\n").await;
}

#[tokio::test]
async fn an_old_tail_learns_that_its_log_is_closed() {
    let mut world = World::without_loops().await;
    let mut other = world.beside();
    world.send(1, 0, b"one\n").await;
    swap(&mut world.logs, &mut other);
    world.send(1, 0, b"one\ntwo\n").await;
    flush_once(&world.logs, true).await;
    let (db, now) = (world.logs.db(), world.clock.now());
    let row = db.attempt_log(world.attempt(1)).await.expect("its row");
    assert!(db.seal_log(&row, LogState::Cut, now).await.expect("sealed"));
    swap(&mut world.logs, &mut other);
    assert_eq!(world.post_chunk(1, &chunk(8, b"three\n")).await.0, StatusCode::GONE);
    assert_eq!(world.send(1, 4, b"two\n").await, LogAck { received: 8, durable: 8 });
    assert_eq!(world.end(1, b"one\ntwo\nthree\n").await.0, StatusCode::GONE);
    assert_eq!(world.logs.room().taken(), 0);
}

async fn state(world: &World) -> LogState {
    world.logs.db().attempt_log(world.attempt(1)).await.expect("its row").state
}

#[tokio::test]
async fn what_another_service_could_not_store_is_not_cut_off() {
    let mut world = World::without_loops().await;
    let mut other = world.beside();
    let broken = Broken::new(&world);
    world.send(1, 0, b"one\n").await;
    world.close_attempt(1, "succeeded", "succeeded").await;
    swap(&mut world.logs, &mut other);
    for _ in 0..2 {
        world.clock.advance(LOG_SEAL_CUT + Duration::from_secs(1));
        seal_once(&world.logs).await.expect("a pass");
        assert_eq!(state(&world).await, LogState::Open);
    }
    // The other one has time to come to it.
    broken.heal();
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(state(&world).await, LogState::Open);
    world.clock.advance(LOG_SEAL_CUT - Duration::from_secs(60));
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(state(&world).await, LogState::Open);
    world.clock.advance(Duration::from_secs(61));
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(state(&world).await, LogState::Cut, "patience ends");
}

#[tokio::test]
async fn builders_have_time_to_come_to_a_service_that_begins() {
    let mut world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    world.close_attempt(1, "succeeded", "succeeded").await;
    world.clock.advance(LOG_SEAL_CUT + Duration::from_secs(1));
    world.logs = world.beside();
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(state(&world).await, LogState::Open);
    world.send(1, 0, b"one\n").await;
    assert_eq!(world.end(1, b"one\n").await.0, StatusCode::OK);
    flush_once(&world.logs, true).await;
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(state(&world).await, LogState::Sealed);
}

/// Neither can go on before the other has stored what it took.
#[tokio::test]
async fn a_log_whose_every_chunk_goes_to_the_other_service_grows() {
    let mut world = World::new().await;
    let mut other = world.beside_with_loops();
    let stream: Vec<u8> = (0..PIECES).flat_map(|piece| format!("piece {piece}\n").into_bytes()).collect();
    let len = stream.len() / PIECES;
    let whole = async {
        let mut next = 0;
        while next < stream.len() as i64 {
            next = write_on(&world, &stream, next, len).await.received;
            swap(&mut world.logs, &mut other);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PIECES_WITHIN, whole).await.expect("it grows");
    eventually(|| async {
        let (status, body) = world.end(1, &stream).await;
        assert!(status.is_success(), "{body:?}");
        (ack(&body).durable == stream.len() as i64).then_some(())
    })
    .await;
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.get("log?ansi=1", &[]).await.2, stream);
}

/// One thing that may happen to a log that two services take in.
#[derive(Debug, Clone)]
enum Happening {
    Write(usize),
    /// From an earlier place, as when an answer was lost.
    Again(usize, usize),
    Flush,
    Kill,
    /// What happens next happens to the other service.
    Swap,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        5 => (1usize..25).prop_map(Happening::Write),
        1 => (1usize..25, 1usize..25).prop_map(|(back, len)| Happening::Again(back, len)),
        3 => Just(Happening::Flush),
        1 => Just(Happening::Kill),
        4 => Just(Happening::Swap),
    ]
}

/// Lets each store and close what it has; the rest is sent to whoever is asked.
async fn finish(world: &mut World, other: &mut Logs, stream: &[u8], mut next: i64) {
    for _ in 0..50 {
        if next < stream.len() as i64 {
            next = write_on(world, stream, next, stream.len()).await.received;
        } else {
            let (status, body) = world.end(1, stream).await;
            assert_eq!(status, StatusCode::OK, "{body:?}");
            next = ack(&body).received;
        }
        flush_once(&world.logs, true).await;
        seal_once(&world.logs).await.expect("a pass");
        let row = world.logs.db().attempt_log(world.attempt(1)).await.expect("its row");
        if row.state != LogState::Open {
            return;
        }
        swap(&mut world.logs, other);
    }
    panic!("it is never closed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whoever takes it, stores it and dies: nobody asks for bytes that were called durable, and the sealed log is the stream.
    #[test]
    fn two_services_make_one_log(happenings in prop::collection::vec(happening(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let stream: Vec<u8> = (0..200u8).map(|n| if n % 7 == 6 { b'\n' } else { b'a' + n % 26 }).collect();
            let mut world = World::without_loops().await;
            let mut other = world.beside();
            let (mut next, mut durable) = (0, 0);
            for happening in happenings {
                let told = match happening {
                    Happening::Write(len) => write_on(&world, &stream, next, len).await,
                    // Not below what its spool has.
                    Happening::Again(back, len) => {
                        write_on(&world, &stream, (next - back as i64).max(durable).min(next), len).await
                    }
                    Happening::Flush => {
                        flush_once(&world.logs, true).await;
                        continue;
                    }
                    Happening::Kill => {
                        world.logs.life().kill();
                        world.logs = world.beside();
                        continue;
                    }
                    Happening::Swap => {
                        swap(&mut world.logs, &mut other);
                        continue;
                    }
                };
                assert!(told.received >= durable, "asked for {} although {durable} was durable", told.received);
                (next, durable) = (told.received, durable.max(told.durable));
            }
            finish(&mut world, &mut other, &stream, next).await;
            assert_eq!(world.sealed().await, "complete");
            assert_eq!(world.get("log?ansi=1", &[]).await.2, stream);
        });
    }
}
