//! The search by its route, wherever the log's bytes lie.

use http::StatusCode;
use serde_json::{Value, json};

use super::reading::everywhere;
use super::world::{STRANGER, World};

async fn search(world: &World, query: &str) -> Value {
    let (status, _, body) = world.get(&format!("log/search?{query}"), &[]).await;
    assert_eq!(status, StatusCode::OK, "{query}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

#[tokio::test]
async fn a_log_is_searched_wherever_it_lies() {
    for (place, world) in everywhere().await {
        let found = search(&world, "q=O").await;
        let lines: Vec<_> = found["hits"].as_array().expect("hits").iter().map(|hit| hit["line"].clone()).collect();
        assert_eq!((found["total"].as_i64(), lines), (Some(3), vec![json!(1), json!(2), json!(4)]), "{place}");
        assert_eq!(found["next"], Value::Null, "{place}");
        let first = search(&world, "q=o&limit=2").await;
        assert_eq!((&first["next"], first["hits"].as_array().map(Vec::len)), (&json!(2), Some(2)), "{place}");
        let second = search(&world, "q=o&limit=2&after=2&context=1").await;
        assert_eq!((&second["next"], &second["total"]), (&Value::Null, &json!(1)), "{place}");
        let hit = &second["hits"][0];
        assert_eq!(
            (&hit["line"], &hit["before"], &hit["after"]),
            (&json!(4), &json!([""]), &json!(["bad \u{fffd} byte"]))
        );
        let parts =
            json!([{ "text": "f", "hit": false }, { "text": "o", "hit": true }, { "text": "ur", "hit": false }]);
        assert_eq!(hit["parts"], parts, "{place}");
    }
}

#[tokio::test]
async fn what_is_found_can_be_read_as_text() {
    let world = World::without_loops().await;
    world.send(1, 0, b"one\ntwo <b>\n\x1b[31mthree\x1b[0m\nfour\n").await;
    let (status, headers, body) = world.get("log/search?q=o&format=text&context=1&limit=2", &[]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"text/plain; charset=utf-8".parse().expect("a value"))
    );
    let text = String::from_utf8_lossy(&body).into_owned();
    let more = "There are more behind line 2: ask again with after=2.";
    assert_eq!(text, format!("3 lines have it.\n\n1:one\n2:two <b>\n3-three\n\n{more}\n"));
    let (_, _, body) = world.get("log/search?q=thr&format=text", &[]).await;
    assert_eq!(body, "1 line has it.\n\n3:three\n");
}

#[tokio::test]
async fn bad_searches_are_refused_in_words() {
    let world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    for (query, word) in [
        ("q=", "nothing to look for"),
        ("q=a(&regex", "unclosed group"),
        ("q=a&limit=501", "at most 500"),
        ("q=a&context=11", "at most 10"),
        ("q=a&stream=other", "stream"),
        ("", "missing field"),
    ] {
        let (status, _, body) = world.get(&format!("log/search?{query}"), &[]).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert!(body.contains(word), "{query}: {body}");
    }
    let (status, ..) = world.get("log/search?q=one", &[("authorization", &format!("Bearer {STRANGER}"))]).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "somebody else's");
}

#[tokio::test]
async fn what_was_never_written_is_not_found() {
    let mut world = World::without_loops().await;
    world.forget_attempts().await;
    let found = search(&world, "q=one").await;
    assert_eq!((&found["state"], &found["total"]), (&json!("none"), &json!(0)));
}
