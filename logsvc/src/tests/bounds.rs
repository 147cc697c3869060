//! What one question may take, and how whoever asks goes on where an answer ended early.

use chrono::DateTime;
use serde_json::{Value, json};
use slipway_logfmt::chunk::{Chunk, Span, Stream};

use super::world::{World, chunk, token};
use crate::flush::flush_once;
use crate::reader;

/// One chunk, with room for a few more bytes.
const SEGMENT: usize = (1 << 20) - 100;
/// What a line of a window shows at most.
const SHOWN_BYTES: usize = 64 << 10;

async fn json(world: &World, path: &str) -> Value {
    serde_json::from_str(&world.text(path).await).expect("JSON")
}

/// Texts as one segment each. What lies in memory of them is forgotten.
async fn stored(texts: &[Vec<u8>]) -> World {
    let world = World::without_loops().await;
    let mut offset = 0;
    for text in texts {
        world.post(1, "log", &token(1), chunk(offset, text).pack()).await;
        flush_once(&world.logs, true).await;
        offset += text.len() as i64;
    }
    assert_eq!(world.logs.db().attempt_log(world.attempt(1)).await.expect("a row").durable, offset);
    world.logs.forget(world.attempt(1));
    world
}

/// Whoever reads this segment finds a hole in its place.
async fn lose(world: &World, start: usize) {
    world.logs.blobs().delete_segment(world.segment(1, start as i64)).await.expect("deleted");
}

#[tokio::test]
async fn a_search_goes_on_behind_a_line_without_reading_what_is_before() {
    let part = |from: usize| (from..from + 100).flat_map(|n| format!("line {n}\n").into_bytes()).collect::<Vec<u8>>();
    let parts = [part(0), part(100), part(200)];
    let world = stored(&parts).await;
    lose(&world, 0).await;
    let found = json(&world, "log/search?q=line&after=150&limit=2&context=1").await;
    assert_eq!(found["holes"], json!([]), "it is not read");
    assert_eq!((&found["total"], &found["next"], &found["partial"]), (&json!(150), &json!(152), &json!(false)));
    let hit = &found["hits"][0];
    assert_eq!((&hit["line"], &hit["step_line"]), (&json!(151), &json!(151)));
    assert_eq!((&hit["before"], &hit["after"]), (&json!(["line 149"]), &json!([])));
    // The line above the first one lies in the segment before.
    let found = json(&world, "log/search?q=00&after=200&limit=1&first=1&context=1").await;
    assert_eq!((&found["hits"][0]["before"], &found["hits"][0]["after"]), (&json!(["line 199"]), &json!(["line 201"])));
    let found = json(&world, "log/search?q=line&after=299&limit=0").await;
    assert_eq!((&found["total"], &found["next"]), (&json!(1), &Value::Null));
    let text = world.text("log/search?q=line&after=297&limit=1&format=text").await;
    assert!(text.starts_with("3 lines behind line 297 have it.\n"), "{text}");
}

#[tokio::test]
async fn an_answer_of_lines_is_bounded_by_what_is_read_for_it() {
    let line = [b"\x1b[m".repeat(SHOWN_BYTES / 3 - 1), b"\n".to_vec()].concat();
    let (segments, lines) = (8, 8 * 15);
    let world = stored(&vec![line.repeat(15); segments]).await;
    for form in ["", "&runs=1", "&step=3"] {
        let (mut seen, mut asked) = (0, 0);
        while seen < lines {
            let window = json(&world, &format!("log/lines?count=5000&from={}{form}", seen + 1)).await;
            let told = window["lines"].as_array().expect("lines");
            assert_eq!(told.first().map(|line| line["line"].clone()), Some(json!(seen + 1)), "it goes on");
            (seen, asked) = (seen + told.len(), asked + 1);
        }
        assert!(asked > 1, "all of it was read for one answer{form}");
    }
}

#[tokio::test]
async fn a_line_that_is_shown_in_part_is_not_read_to_its_end() {
    let long = || vec![b'x'; SEGMENT];
    let first = [b"first\n".to_vec(), long()].concat();
    let parts = [first.clone(), long(), long(), long(), [long(), b"\nlast\n".to_vec()].concat()];
    let world = stored(&parts).await;
    lose(&world, first.len() + SEGMENT).await;
    for form in ["", "&step=3"] {
        let window = json(&world, &format!("log/lines?from=2&count=2{form}")).await;
        assert_eq!(window["holes"], json!([]), "it is not read{form}");
        let lines = &window["lines"];
        assert_eq!((&lines[0]["line"], &lines[0]["clipped"]), (&json!(2), &json!(true)));
        assert_eq!(lines[0]["text"].as_str().map(str::len), Some(SHOWN_BYTES));
        let last = (&lines[1]["line"], &lines[1]["text"], &lines[1]["clipped"], &lines[1]["offset"]);
        let offset = parts.iter().map(Vec::len).sum::<usize>() - 5;
        assert_eq!(last, (&json!(3), &json!("last"), &json!(false), &json!(offset)), "{form}");
    }
}

#[tokio::test]
async fn a_line_that_has_no_end_yet_is_not_read_to_its_end() {
    let long = || vec![b'x'; SEGMENT];
    for (end, shown) in [(&b"y"[..], "x"), (b"\r99%\r100%", "100%")] {
        let world = stored(&[long(), long(), long(), [&long()[..], end].concat()]).await;
        lose(&world, SEGMENT).await;
        for form in ["", "&step=3"] {
            let window = json(&world, &format!("log/lines{}", form.replace('&', "?"))).await;
            assert_eq!((&window["holes"], &window["total"]), (&json!([]), &json!(0)), "{form}");
            let lines = window["lines"].as_array().expect("lines");
            assert_eq!(lines.len(), 1, "{form}");
            assert!(lines[0]["text"].as_str().expect("text").starts_with(shown), "{form}");
            assert_eq!(lines[0]["clipped"], json!(shown == "x"), "{form}");
        }
    }
}

#[tokio::test]
async fn what_is_stored_between_two_looks_is_counted() {
    // Of many bytes the first ones are not kept here.
    for chunks in [1, 4] {
        let world = World::without_loops().await;
        let row = world.logs.db().attempt_log(world.attempt(1)).await.expect("a row");
        let (lines, mut end) = (100_000, 0);
        for _ in 0..chunks {
            end = world.send(1, end, &b"x\n".repeat(lines)).await.received;
        }
        flush_once(&world.logs, true).await;
        end = world.send(1, end, b"one more\n").await.received;
        let readable = reader::readable(&world.logs, &row).await.expect("counted");
        assert_eq!(readable, (end, (chunks * lines + 1) as i64));
    }
}

#[tokio::test]
async fn of_a_step_no_more_runs_are_read_than_its_lines_need() {
    let world = World::without_loops().await;
    let (mut offset, runs) = (0, 12);
    for n in 0..runs {
        let span = |step| Span { len: 8, step, stream: Stream::Stdout, at: DateTime::UNIX_EPOCH };
        let bytes = format!("one {n:03}\ntwo {n:03}\n").into();
        let chunk = Chunk { offset, bytes, spans: vec![span(1), span(2)] };
        assert_eq!(world.post_chunk(1, &chunk).await.0, http::StatusCode::OK);
        flush_once(&world.logs, true).await;
        offset = chunk.end();
    }
    world.logs.forget(world.attempt(1));
    for (from, count, read) in [(3, 5, 5), (1, 100, runs)] {
        let window = json(&world, &format!("log/lines?step=2&from={from}&count={count}")).await;
        let told = window["lines"].as_array().expect("lines");
        let texts: Vec<_> = told.iter().map(|line| line["text"].clone()).collect();
        assert_eq!(
            texts,
            (from - 1..runs.min(from - 1 + count)).map(|n| json!(format!("two {n:03}"))).collect::<Vec<_>>()
        );
        assert_eq!(world.logs.pieces().iter().count(), read, "runs that were read");
    }
}
