//! The log as text and as lines, wherever its bytes lie.

use axum::body::Body;
use http::{Request, StatusCode};

use super::world::{STRANGER, USER, World};
use crate::flush::flush_once;

const STREAM: &[u8] = b"one\n\x1b[31mtwo\x1b[0m\n\nfour\nbad \xff byte\nlast";

/// The log in memory, half stored, wholly stored, and sealed.
pub(super) async fn everywhere() -> Vec<(&'static str, World)> {
    let mut worlds = Vec::new();
    for place in ["memory", "half", "stored", "sealed"] {
        let mut world = World::without_loops().await;
        let middle = 9;
        world.send(1, 0, &STREAM[..middle]).await;
        if place != "memory" {
            flush_once(&world.logs, true).await;
        }
        world.send(1, middle as i64, &STREAM[middle..]).await;
        if place == "stored" || place == "sealed" {
            flush_once(&world.logs, true).await;
            world.restart().await;
        }
        if place == "sealed" {
            assert_eq!(world.end(1, STREAM).await.0, StatusCode::OK);
            assert_eq!(world.sealed().await, "complete");
        }
        worlds.push((place, world));
    }
    worlds
}

#[tokio::test]
async fn text_is_selected_by_line_and_stripped() {
    let whole = "one\ntwo\n\nfour\nbad \u{fffd} byte\nlast";
    let cases = [
        ("log", whole),
        ("log?from=1", whole),
        ("log?from=2&to=2", "two\n"),
        ("log?from=2&to=3", "two\n\n"),
        ("log?to=1", "one\n"),
        ("log?from=5", "bad \u{fffd} byte\nlast"),
        ("log?from=6&to=99", "last"),
        ("log?from=7", ""),
        ("log?from=4&to=3", ""),
        ("log?tail=1", "last"),
        ("log?tail=3", "four\nbad \u{fffd} byte\nlast"),
        ("log?tail=0", ""),
        ("log?tail=99", whole),
        ("log?epoch=1&tail=1", "last"),
        ("log?ansi=1&from=2&to=2", "\u{1b}[31mtwo\u{1b}[0m\n"),
        ("log?ansi=0&tail=1", "last"),
    ];
    for (place, world) in everywhere().await {
        for (path, expected) in cases {
            let (status, headers, body) = world.get(path, &[]).await;
            assert_eq!(status, StatusCode::OK, "{place} {path}");
            assert_eq!(String::from_utf8_lossy(&body), expected, "{place} {path}");
            assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
            assert_eq!(headers["slipway-log-length"], STREAM.len().to_string().as_str());
        }
        assert_eq!(world.get("log?ansi=1", &[]).await.2, STREAM, "{place}");
    }
}

#[tokio::test]
async fn ranges_count_stored_bytes() {
    let end = STREAM.len();
    for (place, world) in everywhere().await {
        for (range, from, to) in
            [("bytes=0-3", 0, 4), ("bytes=5-20", 5, 21), ("bytes=-4", end - 4, end), ("bytes=8-", 8, end)]
        {
            let (status, headers, body) = world.get("log", &[("range", range)]).await;
            assert_eq!(status, StatusCode::PARTIAL_CONTENT, "{place} {range}");
            assert_eq!(body, STREAM[from..to], "{place} {range}");
            let total = if place == "sealed" { end.to_string() } else { "*".to_owned() };
            assert_eq!(headers["content-range"], format!("bytes {from}-{}/{total}", to - 1).as_str());
            assert_eq!(headers["content-length"], (to - from).to_string().as_str());
        }
        let (status, headers, body) = world.get("log", &[("range", "bytes=999-")]).await;
        assert_eq!((status, body.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0));
        assert_eq!(headers["content-range"], format!("bytes */{end}").as_str());
        let (status, _, body) = world.get("log?tail=1", &[("range", "bytes=0-0")]).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"last"[..]), "lines win over bytes");
    }
}

#[tokio::test]
async fn a_log_is_kept_as_a_file() {
    for (place, world) in everywhere().await {
        let (status, headers, body) = world.get("log.log", &[]).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, STREAM), "{place}");
        let file = headers["content-disposition"].to_str().expect("text");
        assert_eq!(file, format!("attachment; filename=\"{}.log\"", world.job));
        let (status, headers, body) = world.get("log.zst?epoch=1", &[]).await;
        assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"application/zstd".parse().expect("a type")));
        assert_eq!(zstd::stream::decode_all(&body[..]).expect("it unpacks"), STREAM, "{place}");
        assert_eq!(world.get("log.zst", &[("authorization", "")]).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn head_answers_without_a_body() {
    let world = World::without_loops().await;
    world.send(1, 0, STREAM).await;
    let request = Request::head(format!("/api/v1/jobs/{}/log?ansi=1", world.job))
        .header("authorization", format!("Bearer {USER}"))
        .body(Body::empty())
        .expect("request");
    let response = world.call(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-length"], STREAM.len().to_string().as_str());
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("body").to_bytes();
    assert!(body.is_empty());
}

#[tokio::test]
async fn lines_are_numbered_and_say_who_wrote_them() {
    for (place, world) in everywhere().await {
        let lines: serde_json::Value =
            serde_json::from_str(&world.text("log/lines?from=2&count=3").await).expect("JSON");
        assert_eq!((lines["total"].as_i64(), lines["epoch"].as_i64()), (Some(5), Some(1)), "{place}");
        let texts: Vec<(i64, i64, &str)> = lines["lines"]
            .as_array()
            .expect("list")
            .iter()
            .map(|line| {
                assert_eq!((line["step"].as_i64(), line["stream"].as_str()), (Some(3), Some("stdout")));
                let number = |name: &str| line[name].as_i64().expect("number");
                (number("line"), number("offset"), line["text"].as_str().expect("text"))
            })
            .collect();
        assert_eq!(texts, [(2, 4, "two"), (3, 17, ""), (4, 18, "four")], "{place}");
        let last: serde_json::Value = serde_json::from_str(&world.text("log/lines?from=5&ansi=1").await).expect("JSON");
        let texts: Vec<&str> =
            last["lines"].as_array().expect("list").iter().filter_map(|line| line["text"].as_str()).collect();
        assert_eq!(texts, ["bad \u{fffd} byte", "last"], "{place}");
    }
}

#[tokio::test]
async fn long_logs_are_read_across_segments() {
    let world = World::new().await;
    let stream: Vec<u8> = (1..=400_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    for (index, part) in stream.chunks(1 << 20).enumerate() {
        world.send(1, (index << 20) as i64, part).await;
    }
    world.end(1, &stream).await;
    assert_eq!(world.sealed().await, "complete");
    assert_eq!(world.text("log?from=200000&to=200001").await, "line 200000\nline 200001\n");
    assert_eq!(world.text("log?from=400000").await, "line 400000\n");
    assert_eq!(world.text("log?tail=150000").await.lines().next(), Some("line 250001"));
    // Every line is found where it is, also those that lie on a border of segments.
    for n in (1..=400_000).step_by(9_973) {
        assert_eq!(world.text(&format!("log?from={n}&to={n}")).await, format!("line {n}\n"));
    }
}

#[tokio::test]
async fn senseless_questions_are_refused() {
    let world = World::without_loops().await;
    for path in [
        "log?from=0",
        "log?to=-1",
        "log?tail=1&from=1",
        "log?follow=1&to=3",
        "log?ansi=maybe",
        "log?tail=-1",
        "log/lines?from=0",
    ] {
        let (status, headers, _) = world.get(path, &[]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    assert_eq!(world.get("log?epoch=9", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_private_log_is_invisible_without_rights() {
    let mut world = World::without_loops().await;
    world.send(1, 0, b"secret plans\n").await;
    let stranger = format!("Bearer {STRANGER}");
    for path in ["log", "log/stream", "log/lines", "log?follow=1"] {
        assert_eq!(world.get(path, &[("authorization", &stranger)]).await.0, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(world.get(path, &[("authorization", "")]).await.0, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(world.get(path, &[("authorization", "Bearer wrong")]).await.0, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(world.get(path, &[("authorization", "Basic x")]).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    world.publish_project().await;
    for who in [stranger.as_str(), ""] {
        assert_eq!(world.get("log", &[("authorization", who)]).await.2, "secret plans\n");
    }
}
