//! Logs while they grow: events, resumption, the switch to the next attempt, the end.

use http_body_util::BodyExt as _;

use super::world::{World, eventually};
use crate::flush::flush_once;

#[tokio::test]
async fn a_watcher_sees_what_is_there_what_comes_and_the_end() {
    let mut world = World::new().await;
    world.send(1, 0, b"one\n").await;
    let response = world.open("log/stream", &[]).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut watch = world.watch("log/stream", &[]).await;
    let first = watch.next().await.expect("an event");
    assert_eq!((first.event.as_str(), first.id.as_str(), first.text().as_str()), ("", "1:4", "one\n"));
    let expected = serde_json::json!({"epoch": 1, "from": 0, "to": 4, "spans":
        [{"step": 3, "stream": "stdout", "at": "1970-01-01T00:00:00Z", "text": "one\n"}]});
    assert_eq!(first.data, expected);
    world.send(1, 4, b"\x1b[1mtwo\x1b[0m \xff\n").await;
    let second = watch.next().await.expect("an event");
    assert_eq!((second.id.as_str(), second.text().as_str()), ("1:18", "two \u{fffd}\n"));
    world.end(1, b"one\n\x1b[1mtwo\x1b[0m \xff\n").await;
    world.close_attempt(1, "succeeded", "succeeded").await;
    let rest = watch.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((rest[0].event.as_str(), rest[0].id.as_str()), ("end", "1:18"));
    assert_eq!(rest[0].data["state"], "complete");
}

#[tokio::test]
async fn a_watcher_that_comes_again_misses_nothing_and_gets_nothing_twice() {
    let mut world = World::without_loops().await;
    let stream: Vec<u8> = (0..300).flat_map(|n| format!("line {n} äöü€\n").into_bytes()).collect();
    let mut seen = String::new();
    let mut id = String::new();
    let mut sent = 0;
    for round in 0..12 {
        let to = (stream.len() * (round + 1) / 12).min(stream.len());
        if sent < to {
            world.send(1, sent as i64, &stream[sent..to]).await;
            sent = to;
        }
        if round % 3 == 1 {
            flush_once(&world.logs, true).await;
        }
        if round == 6 {
            // A kill loses what is not durable; the builder sends it again.
            world.restart().await;
            let ack = world.post_chunk(1, &slipway_logfmt::chunk::Chunk::empty(0)).await.1;
            let from = super::world::ack(&ack).received;
            world.send(1, from, &stream[from as usize..to]).await;
        }
        let mut watch = world.watch("log/stream", &[("last-event-id", &id)]).await;
        let whole = String::from_utf8_lossy(&stream[..to]).trim_end_matches('\u{fffd}').len();
        while seen.len() < whole {
            let event = watch.next().await.expect("an event");
            seen.push_str(&event.text());
            id = event.id;
        }
    }
    assert_eq!(seen.as_bytes(), stream);
    assert_eq!(id, format!("1:{}", stream.len()));
    // The same by query, for a page that was rendered with the beginning.
    let (text, _) = world.watch("log/stream?after=1:7", &[]).await.text_until("line 299").await;
    assert_eq!(text, String::from_utf8_lossy(&stream[7..]));
}

#[tokio::test]
async fn the_next_attempt_is_announced_and_shown() {
    let mut world = World::new().await;
    world.send(1, 0, b"first try\n").await;
    let mut watch = world.watch("log/stream", &[]).await;
    let mut pinned = world.watch("log/stream?epoch=1", &[]).await;
    assert_eq!(watch.text_until("first try\n").await.1, "1:10");
    world.close_attempt(1, "lost", "running").await;
    world.open_attempt(2).await;
    world.logs.live().publish(slipway_live::Topic::Build(world.build), bytes::Bytes::new());
    let switch = watch.next().await.expect("an event");
    assert_eq!((switch.event.as_str(), switch.id.as_str(), switch.data["epoch"].as_i64()), ("attempt", "2:0", Some(2)));
    world.send(2, 0, b"second try\n").await;
    assert_eq!(watch.text_until("second try\n").await.1, "2:11");
    // Whoever comes again with an id of the first attempt is led to the second.
    let mut again = world.watch("log/stream", &[("last-event-id", "1:6")]).await;
    assert_eq!(again.next().await.map(|seen| seen.text()), Some("try\n".to_owned()));
    assert_eq!(again.next().await.map(|seen| seen.event), Some("attempt".to_owned()));
    assert_eq!(again.next().await.map(|seen| seen.text()), Some("second try\n".to_owned()));
    assert_eq!(world.text("log").await, "second try\n");
    assert_eq!(world.text("log?epoch=1").await, "first try\n");
    world.end(2, b"second try\n").await;
    world.close_attempt(2, "succeeded", "succeeded").await;
    assert_eq!(watch.rest().await.last().map(|seen| seen.event.clone()), Some("end".to_owned()));
    assert_eq!(pinned.text_until("first try\n").await.1, "1:10");
    world.end(1, b"first try\n").await;
    let rest = pinned.rest().await;
    assert_eq!(rest.last().map(|seen| (seen.event.as_str(), seen.id.as_str())), Some(("end", "1:10")));
    assert!(rest.iter().all(|seen| seen.event != "attempt"), "a pinned watcher stays");
}

#[tokio::test]
async fn a_slow_watcher_never_holds_up_the_writer_and_reads_everything() {
    let mut world = World::new().await;
    let mut watch = world.watch("log/stream", &[]).await;
    world.send(1, 0, b"begin\n").await;
    watch.text_until("begin\n").await;
    let mut stream = b"begin\n".to_vec();
    // Far more than live keeps for a watcher.
    for n in 0..500 {
        let line = format!("line {n}\n");
        world.send(1, stream.len() as i64, line.as_bytes()).await;
        stream.extend(line.into_bytes());
    }
    world.end(1, &stream).await;
    world.close_attempt(1, "succeeded", "succeeded").await;
    let text: String = watch.rest().await.iter().map(|seen| seen.text()).collect();
    assert_eq!(text.as_bytes(), &stream[6..]);
}

#[tokio::test]
async fn a_character_in_two_chunks_is_shown_whole_and_a_lost_half_as_bad() {
    let mut world = World::new().await;
    world.send(1, 0, b"a\xe2\x82").await;
    let mut watch = world.watch("log/stream", &[]).await;
    let first = watch.next().await.expect("an event");
    assert_eq!((first.id.as_str(), first.text().as_str()), ("1:1", "a"));
    world.send(1, 3, b"\xac\xe2").await;
    let second = watch.next().await.expect("an event");
    assert_eq!((second.id.as_str(), second.text().as_str()), ("1:4", "€"));
    world.end(1, b"a\xe2\x82\xac\xe2").await;
    world.close_attempt(1, "succeeded", "succeeded").await;
    let rest = watch.rest().await;
    assert_eq!((rest[0].id.as_str(), rest[0].text().as_str()), ("1:5", "\u{fffd}"));
    assert_eq!(rest[1].event, "end");
}

#[tokio::test]
async fn a_damaged_log_says_so_at_its_end() {
    let mut world = World::new().await;
    world.send(1, 0, b"one\n").await;
    world.end_with(1, 4, &super::world::sha256(b"two\n")).await;
    assert_eq!(world.sealed().await, "damaged");
    world.close_attempt(1, "succeeded", "succeeded").await;
    let rest = world.watch("log/stream", &[]).await.rest().await;
    assert_eq!(rest.last().map(|seen| seen.data["state"].clone()), Some("damaged".into()));
}

#[tokio::test]
async fn a_job_without_an_attempt_is_followed_from_its_first_one() {
    let mut world = World::new().await;
    world.forget_attempts().await;
    assert_eq!(world.text("log").await, "");
    let mut watch = world.watch("log/stream", &[]).await;
    world.open_attempt(1).await;
    world.send(1, 0, b"hello\n").await;
    world.logs.live().publish(slipway_live::Topic::Build(world.build), bytes::Bytes::new());
    assert_eq!(watch.next().await.map(|seen| seen.event), Some("attempt".to_owned()));
    assert_eq!(watch.text_until("hello\n").await.1, "1:6");
    world.forget_attempts().await;
    world.close_attempt(0, "cancelled", "cancelled").await;
    let rest = world.watch("log/stream", &[]).await.rest().await;
    assert_eq!(rest.iter().map(|seen| seen.event.as_str()).collect::<Vec<_>>(), ["end"]);
}

#[tokio::test]
async fn text_follows_too() {
    let mut world = World::new().await;
    world.send(1, 0, b"old\nnew\nhal").await;
    let whole = world.open("log?follow=1", &[]).await;
    let tail = world.open("log?follow=1&tail=1", &[]).await;
    world.send(1, 11, b"f\n").await;
    world.close_attempt(1, "lost", "running").await;
    world.open_attempt(2).await;
    world.send(2, 0, b"\x1b[1magain\x1b[0m\n").await;
    world.logs.live().publish(slipway_live::Topic::Build(world.build), bytes::Bytes::new());
    let watching = world.logs.clone();
    let whole =
        watching.life().task("read", async move { whole.into_body().collect().await.expect("body").to_bytes() });
    let tail = watching.life().task("read", async move { tail.into_body().collect().await.expect("body").to_bytes() });
    // They have to be on the second attempt before it ends, or they would see only its end.
    world.end(2, b"\x1b[1magain\x1b[0m\n").await;
    world.close_attempt(2, "succeeded", "succeeded").await;
    let lead = "[slipway] The job is tried again: attempt 2.\nagain\n";
    assert_eq!(whole.join().await.expect("it ends"), format!("old\nnew\nhalf\n{lead}"));
    assert_eq!(tail.join().await.expect("it ends"), format!("half\n{lead}"));
}

#[tokio::test]
async fn watchers_leave_when_the_process_stops() {
    let world = World::new().await;
    world.send(1, 0, b"one\n").await;
    let mut watch = world.watch("log/stream", &[]).await;
    watch.text_until("one\n").await;
    world.logs.life().stop();
    assert_eq!(watch.next().await, None, "no end is said: they come again");
    let durable = eventually(|| async {
        let log = world.logs.db().attempt_log(world.attempt(1)).await.expect("a row");
        (log.durable == 4).then_some(log.durable)
    })
    .await;
    assert_eq!(durable, 4, "what was here is stored before the process ends");
}

#[tokio::test]
async fn a_watcher_comes_again_between_sequences_only() {
    let world = World::without_loops().await;
    world.send(1, 0, b"a\x1b[3").await;
    let mut watch = world.watch("log/stream", &[]).await;
    let (text, id) = watch.text_until("a").await;
    assert_eq!((text.as_str(), id.as_str()), ("a", "1:1"));
    world.send(1, 4, b"1mred\n").await;
    assert_eq!(watch.text_until("\n").await, ("red\n".to_owned(), "1:10".to_owned()));
    let mut again = world.watch("log/stream", &[("last-event-id", &id)]).await;
    assert_eq!(again.text_until("\n").await.0, "red\n");
}
