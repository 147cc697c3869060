//! Lines by step and by time, and what is shown of a log that lost a part of what was stored.

use chrono::{DateTime, TimeDelta};
use serde_json::Value;
use slipway_logfmt::chunk::{Chunk, Span, Stream};

use super::world::World;
use crate::flush::flush_once;

/// A line of a log that tests made.
struct Line {
    step: u32,
    text: String,
    secs: i64,
}

/// Three steps whose lines lie among each other, some of them empty or coloured.
fn lines() -> Vec<Line> {
    let line = |at: i64| Line {
        step: [1, 2, 2, 0, 3, 1, 1][at as usize % 7],
        text: match at % 11 {
            3 => String::new(),
            5 => format!("\u{1b}[31mred {at}\u{1b}[0m"),
            _ => format!("line {at}"),
        },
        secs: at,
    };
    (0..400).map(line).collect()
}

/// Sends them in pieces that are cut anywhere, and stores every third piece.
async fn written(lines: &[Line]) -> World {
    let world = World::without_loops().await;
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for Line { step, text, secs } in lines {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(*secs);
        // Where another output comes in between, a break of ours ends an unfinished line.
        let own_break = secs % 13 != 7 || text.is_empty();
        let text = if own_break { format!("{text}\n") } else { text.clone() };
        spans.push(Span { len: text.len() as u32, step: *step, stream: Stream::Stdout, at });
        bytes.extend_from_slice(text.as_bytes());
        if !own_break {
            spans.push(Span { len: 1, step: 0, stream: Stream::Meta, at });
            bytes.push(b'\n');
        }
    }
    let whole = Chunk { offset: 0, bytes: bytes.into(), spans };
    let (mut from, mut piece) = (0, 0);
    while from < whole.end() {
        let to = from + 37 + piece % 5;
        let chunk = whole.slice(from, to).expect("not empty");
        assert_eq!(world.post_chunk(1, &chunk).await.0, http::StatusCode::OK);
        // The last pieces stay in memory.
        if piece % 3 == 2 && to < whole.end() - 200 {
            flush_once(&world.logs, true).await;
        }
        (from, piece) = (chunk.end(), piece + 1);
    }
    world
}

async fn json(world: &World, path: &str) -> Value {
    serde_json::from_str(&world.text(path).await).expect("JSON")
}

fn plain(text: &str) -> String {
    text.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "")
}

#[tokio::test]
async fn lines_of_a_step_are_found_wherever_they_are() {
    let lines = lines();
    let world = written(&lines).await;
    let outline = json(&world, "log/outline").await;
    assert_eq!((outline["lines"].as_i64(), outline["state"].as_str()), (Some(400), Some("live")));
    for step in 0..4u32 {
        let own: Vec<(usize, &Line)> = lines.iter().enumerate().filter(|(_, line)| line.step == step).collect();
        let told = outline["steps"].as_array().expect("steps").iter().find(|told| told["step"] == step).expect("told");
        assert_eq!(told["lines"], own.len());
        for from in [1, 2, 17, own.len() - 1, own.len(), own.len() + 1] {
            let window = json(&world, &format!("log/lines?step={step}&from={from}&count=9")).await;
            let shown: Vec<(i64, i64, String)> = window["lines"]
                .as_array()
                .expect("lines")
                .iter()
                .map(|line| {
                    assert_eq!(line["step"], step);
                    let number = |name: &str| line[name].as_i64().expect("a number");
                    (number("line"), number("step_line"), line["text"].as_str().expect("text").to_owned())
                })
                .collect();
            let wanted: Vec<(i64, i64, String)> = own
                .iter()
                .enumerate()
                .skip(from - 1)
                .take(9)
                .map(|(place, (at, line))| (*at as i64 + 1, place as i64 + 1, plain(&line.text)))
                .collect();
            assert_eq!(shown, wanted, "step {step} from {from}");
            let to = from + 8;
            let text = world.text(&format!("log?step={step}&from={from}&to={to}")).await;
            let wanted: String = wanted.iter().map(|(_, _, text)| format!("{text}\n")).collect();
            assert_eq!(text, wanted, "step {step} from {from} as text");
        }
        let tail: String = own[own.len() - 3..].iter().map(|(_, line)| format!("{}\n", plain(&line.text))).collect();
        assert_eq!(world.text(&format!("log?step={step}&tail=3")).await, tail);
        let whole: String = own.iter().map(|(_, line)| format!("{}\n", line.text)).collect();
        assert_eq!(world.text(&format!("log?step={step}&ansi=1")).await, whole);
    }
    let found = json(&world, "log/search?q=line&limit=500").await;
    for hit in found["hits"].as_array().expect("hits") {
        let line = hit["line"].as_u64().expect("a number") as usize;
        let of_step = lines[..line].iter().filter(|other| other.step == lines[line - 1].step).count();
        assert_eq!((&hit["step"], &hit["step_line"]), (&Value::from(lines[line - 1].step), &Value::from(of_step)));
    }
    assert_eq!(json(&world, "log/lines?step=9").await["lines"].as_array().map(Vec::len), Some(0));
    assert_eq!(world.text("log?step=9").await, "");
}

#[tokio::test]
async fn lines_are_found_by_when_they_were_written() {
    let lines = lines();
    let world = written(&lines).await;
    let time = |secs: i64| format!("1970-01-01T00:{:02}:{:02}Z", secs / 60, secs % 60);
    for (since, until) in [(0, 400), (10, 20), (399, 400), (123, 321), (50, 50), (500, 600)] {
        let text = world.text(&format!("log?since={}&until={}", time(since), time(until))).await;
        let wanted = lines.iter().filter(|line| (since..until).contains(&line.secs));
        assert_eq!(text, wanted.map(|line| format!("{}\n", plain(&line.text))).collect::<String>(), "{since} {until}");
    }
    for refused in ["log?since=yesterday", "log?since=1970-01-01T00:00:00Z&from=1", "log?step=1&follow=1"] {
        assert_eq!(world.get(refused, &[]).await.0, http::StatusCode::BAD_REQUEST, "{refused}");
    }
}

#[tokio::test]
async fn runs_of_text_have_their_colours_and_width() {
    let world = written(&lines()).await;
    let window = json(&world, "log/lines?from=6&count=1&runs=1").await;
    assert_eq!(window["lines"][0]["runs"], serde_json::json!([{ "text": "red 5", "fg": 1 }]));
    assert_eq!((&window["lines"][0]["width"], &window["lines"][0]["text"]), (&serde_json::json!(5), &Value::Null));
}

#[tokio::test]
async fn a_part_that_is_lost_is_named_and_the_rest_is_shown() {
    for damaged in [false, true] {
        let lines = lines();
        let mut world = written(&lines).await;
        flush_once(&world.logs, true).await;
        // What was stored a moment ago is still in memory.
        world.restart().await;
        let row = world.logs.db().log_segment_at(world.attempt(1), 700).await.expect("an answer").expect("stored");
        let key = world.segment(1, row.start_offset);
        world.logs.blobs().delete_segment(key).await.expect("deleted");
        if damaged {
            world.logs.blobs().put_segment(key, bytes::Bytes::from_static(b"something else")).await.expect("put");
        }
        let whole: String = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        let raw = world.get("log?ansi=1", &[]).await.2;
        let (from, to) = (row.start_offset as usize, row.end_offset as usize);
        assert_eq!(raw.len(), whole.len(), "offsets stay");
        assert_eq!((&raw[..from], &raw[to..]), (&whole.as_bytes()[..from], &whole.as_bytes()[to..]));
        let why = if damaged { "is damaged in storage" } else { "is missing in storage" };
        let text = world.text("log").await;
        assert!(text.contains(why), "{text}");
        assert_eq!(text.lines().count(), lines.len(), "line numbers stay");

        // Lines keep their numbers behind it, also those of a step.
        let window = json(&world, "log/lines?from=1&count=400").await;
        assert_eq!(window["holes"][0]["from"], row.start_offset);
        assert_eq!(
            (&window["lines"][398]["text"], &window["lines"][398]["line"]),
            (&Value::from("line 398"), &Value::from(399))
        );
        let own: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].step == 1).collect();
        let window = json(&world, "log/lines?step=1&count=400").await;
        let last = window["lines"].as_array().expect("lines").last().expect("one").clone();
        assert_eq!(
            (last["line"].as_u64(), last["step_line"].as_u64()),
            (Some(own[own.len() - 1] as u64 + 1), Some(own.len() as u64))
        );
        let text = world.text("log?step=1").await;
        assert!(
            text.contains(why) && text.ends_with(&format!("{}\n", plain(&lines[own[own.len() - 1]].text))),
            "{text}"
        );
        let behind = own.len() - 5;
        let wanted: String = own[behind - 1..].iter().map(|at| format!("{}\n", plain(&lines[*at].text))).collect();
        assert_eq!(
            world.text(&format!("log?step=1&from={behind}")).await,
            wanted,
            "lines behind it keep their numbers"
        );
        assert_eq!(world.text("log?step=1&tail=6").await, wanted);
        let found = json(&world, "log/search?q=line&limit=500").await;
        assert_eq!(found["holes"][0]["to"], row.end_offset);
        assert!(found["total"].as_i64().expect("a number") > 300, "{found}");
    }
}

/// Sends what one writer after the other wrote, as a chunk of its own.
async fn wrote(world: &World, pieces: &[(u32, &str)]) {
    let mut offset = 0;
    for (step, text) in pieces {
        let span = Span { len: text.len() as u32, step: *step, stream: Stream::Stdout, at: DateTime::UNIX_EPOCH };
        let chunk = Chunk { offset, bytes: bytes::Bytes::copy_from_slice(text.as_bytes()), spans: vec![span] };
        assert_eq!(world.post_chunk(1, &chunk).await.0, http::StatusCode::OK);
        offset = chunk.end();
    }
}

#[tokio::test]
async fn a_line_ends_where_another_output_comes_in_between() {
    let world = World::without_loops().await;
    wrote(
        &world,
        &[(1, "50%"), (0, "\n"), (2, "x\n"), (1, "done\n"), (2, "y\n"), (1, "one\ntwo"), (0, "\n"), (2, "z\n")],
    )
    .await;
    assert_eq!(world.text("log?step=1").await, "50%\ndone\none\ntwo\n");
    assert_eq!(world.text("log?step=1&to=1").await, "50%\n");
    assert_eq!(world.text("log?step=1&from=2&to=3").await, "done\none\n");
    assert_eq!(world.text("log?step=2&tail=2").await, "y\nz\n");
    assert_eq!(world.text("log?step=0").await, "", "a break alone is no line");
}

#[tokio::test]
async fn a_line_that_a_lost_part_ends_is_a_line() {
    for lost in ["o\nmore of it and more of it and more of it\n", "ooooooooooooooooooooooooooooooooooooooooooo"] {
        let mut world = World::without_loops().await;
        let mut offset = 0;
        for text in ["first\nCompiling fo", lost, "\nlast\n"] {
            world.send(1, offset, text.as_bytes()).await;
            offset += text.len() as i64;
            flush_once(&world.logs, true).await;
        }
        world.restart().await;
        world.logs.blobs().delete_segment(world.segment(1, 18)).await.expect("deleted");
        let text = world.text("log?step=3").await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((&lines[..2], lines.last()), (&["first", "Compiling fo"][..], Some(&"last")), "{text}");
        assert_eq!(world.text("log?step=3&to=2").await, "first\nCompiling fo\n");
    }
}

#[tokio::test]
async fn lines_that_move_everything_about_are_answered_whole_a_few_at_a_time() {
    let world = World::without_loops().await;
    let line = format!("{}x\n", "\u{1b}[60000Gy\u{1b}[G\u{1b}[@".repeat(20));
    let mut offset = 0;
    for _ in 0..20 {
        offset = world.send(1, offset, line.as_bytes()).await.received;
    }
    let mut seen = 0;
    let mut asked = 0;
    while seen < 20 {
        let window = json(&world, &format!("log/lines?runs=1&from={}", seen + 1)).await;
        let told = window["lines"].as_array().expect("lines").len();
        assert!(told > 0, "it goes on");
        (seen, asked) = (seen + told, asked + 1);
    }
    assert!(asked > 1, "all at once");
}
