//! Logs of unusual length: longer than they may be, and of very many lines.

use std::time::Duration;

use http::StatusCode;
use slipway_domain::plan::Limits;
use slipway_logfmt::chunk::MAX_CHUNK_BYTES;

use super::world::{World, ack, chunk};
use crate::flush::flush_once;
use crate::seal::seal_once;

/// Without optimisation a tenth of them, so that the test takes seconds.
const LINES: usize = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
/// Far more than any question about them takes.
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_no_plan_allows_is_refused() {
    let world = World::without_loops().await;
    let row = world.logs.db().attempt_log(world.attempt(1)).await.expect("a row");
    world.logs.resume(&row, 10);
    world.send(1, 0, b"12345678").await;
    for beyond in [&b"9ab"[..], b"9abcdefghi"] {
        let (status, body) = world.post_chunk(1, &chunk(8, beyond)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body:?}");
    }
    assert_eq!(world.send(1, 0, b"12345678").await.received, 8, "what is known may come again");
    assert_eq!(world.send(1, 8, b"9a").await.received, 10, "up to the last byte");
    flush_once(&world.logs, true).await;
    assert!(world.end(1, b"123456789a").await.0.is_success());
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "complete");
}

#[tokio::test]
async fn how_long_a_log_may_be_comes_from_its_plan() {
    const MIB: i64 = 1 << 20;
    for (plan, expected) in [(Some(7 << 20), 4 * 7 * MIB), (None, 4 * Limits::default().log_bytes as i64)] {
        let mut world = World::without_loops().await;
        if let Some(log_bytes) = plan {
            world.plan_allows(log_bytes).await;
        }
        world.send(1, 0, b"one\n").await;
        let log = world.logs.open_log(world.attempt(1)).expect("it grows here");
        assert_eq!(log.max_bytes, expected + 64 * MIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_ten_million_empty_lines_is_read_and_searched() {
    let mut world = World::without_loops().await;
    let begin = world.clock.monotonic();
    let (empty, last) = (vec![b'\n'; MAX_CHUNK_BYTES], b"the needle\n");
    let mut at = 0;
    while at < LINES {
        let lines = empty.len().min(LINES - at);
        let (status, body) =
            world.post(1, "log", &super::world::token(1), chunk(at as i64, &empty[..lines]).pack()).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        at = ack(&body).received as usize;
        flush_once(&world.logs, true).await;
    }
    world.send(1, LINES as i64, last).await;
    flush_once(&world.logs, true).await;
    // From storage alone.
    world.restart().await;
    let lines = world.text(&format!("log/lines?from={}&count=3", LINES - 1)).await;
    let lines: serde_json::Value = serde_json::from_str(&lines).expect("JSON");
    assert_eq!(lines["total"], LINES + 1);
    let texts: Vec<_> =
        lines["lines"].as_array().expect("lines").iter().map(|line| (&line["line"], &line["text"])).collect();
    assert_eq!(texts.len(), 3, "{lines}");
    let numbers: Vec<_> = texts.iter().map(|(number, _)| number.as_u64()).collect();
    assert_eq!(numbers, [LINES - 1, LINES, LINES + 1].map(|number| Some(number as u64)));
    assert_eq!((texts[2].1, texts[1].1), (&"the needle".into(), &"".into()), "{lines}");
    assert_eq!(world.text("log?tail=2").await, "\nthe needle\n");
    let found: serde_json::Value = serde_json::from_str(&world.text("log/search?q=needle").await).expect("JSON");
    assert_eq!((&found["total"], &found["hits"][0]["line"]), (&1.into(), &(LINES + 1).into()), "{found}");
    let packed = world.get("log.zst", &[]).await.2;
    assert!(packed.len() < LINES / 100, "{} bytes", packed.len());
    let took = world.clock.monotonic() - begin;
    assert!(took < LONGEST, "{took:?}");
}
