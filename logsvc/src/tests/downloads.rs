//! A log packed by zstd: what is stored goes out as it is, and everything else is packed on the way.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use slipway_logfmt::segment::Segment;

use super::world::World;
use crate::archive::{REMOVE_AFTER, archive_once};
use crate::flush::flush_once;
use crate::seal::seal_once;

const STREAM: &[u8] = b"first\nsecond\nthird\nfourth\nfifth\n";
const CUTS: [i64; 4] = [0, 9, 21, STREAM.len() as i64];

/// Stored in three segments; the service has forgotten what was in memory.
async fn stored() -> World {
    let world = World::without_loops().await;
    for pair in CUTS.windows(2) {
        world.send(1, pair[0], &STREAM[pair[0] as usize..pair[1] as usize]).await;
        flush_once(&world.logs, true).await;
    }
    world.logs.forget(world.attempt(1));
    world
}

async fn packed(world: &World) -> Vec<u8> {
    world.get("log.zst", &[]).await.2.to_vec()
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(packed).expect("any reader of zstd")
}

/// The frames of all segments as they were stored.
async fn frames(world: &World) -> Vec<u8> {
    let mut frames = Vec::new();
    for start in &CUTS[..3] {
        let object = world.logs.blobs().get_segment(world.segment(1, *start)).await.expect("an object");
        frames.extend(Segment::packed(&object).expect("it is intact").1);
    }
    frames
}

#[tokio::test]
async fn what_is_stored_goes_out_as_it_is() {
    let world = stored().await;
    let frames = frames(&world).await;
    assert_eq!(packed(&world).await, frames, "neither unpacked nor with anything between");
    assert_eq!(unpacked(&frames), STREAM);
    assert!(world.end(1, STREAM).await.0.is_success());
    flush_once(&world.logs, true).await;
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "complete");
    for _ in 0..2 {
        archive_once(&world.logs).await.expect("a pass");
        assert_eq!(packed(&world).await, frames, "out of the archive, too");
        world.clock.advance(REMOVE_AFTER.to_std().expect("a time"));
    }
    assert!(world.logs.blobs().get_segment(world.segment(1, 0)).await.is_err(), "the archive is the only copy");
}

#[tokio::test]
async fn a_changed_object_is_never_passed_on() {
    let world = stored().await;
    let key = world.segment(1, 9);
    let object = world.logs.blobs().get_segment(key).await.expect("an object");
    for place in 0..object.len() {
        let mut changed = object.to_vec();
        changed[place] ^= 4;
        world.logs.blobs().delete_segment(key).await.expect("deleted");
        world.logs.blobs().put_segment(key, changed.into()).await.expect("put");
        let text = unpacked(&packed(&world).await);
        assert_eq!(text, world.get("log.log", &[]).await.2, "byte {place}");
        assert_eq!((text.len(), &text[..9], &text[21..]), (STREAM.len(), &STREAM[..9], &STREAM[21..]), "byte {place}");
        assert_ne!(text, STREAM, "byte {place}");
    }
    // One that is whole, and of another place of the log.
    let other = world.logs.blobs().get_segment(world.segment(1, 0)).await.expect("an object");
    world.logs.blobs().delete_segment(key).await.expect("deleted");
    world.logs.blobs().put_segment(key, other).await.expect("put");
    assert_eq!(unpacked(&packed(&world).await), world.get("log.log", &[]).await.2);
}

#[tokio::test]
async fn what_is_stored_while_it_is_read_comes_once() {
    let world = World::without_loops().await;
    let stream: Vec<u8> = (0..200).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    for (start, line) in stream.chunks(8).enumerate().map(|(nth, line)| (nth * 8, line)) {
        world.send(1, start as i64, line).await;
    }
    let mut body = world.open("log.zst", &[]).await.into_body();
    let mut read = body.frame().await.expect("bytes").expect("read").into_data().expect("data").to_vec();
    // What was read begins in the middle of what is one segment now.
    flush_once(&world.logs, true).await;
    world.logs.forget(world.attempt(1));
    read.extend(body.collect().await.expect("the rest").to_bytes());
    assert_eq!(unpacked(&read), stream);
}

#[tokio::test]
async fn packing_waits_for_its_turn_and_what_is_stored_does_not() {
    let world = stored().await;
    let packings = Arc::clone(world.logs.packings());
    let all = packings.acquire_many(packings.available_permits() as u32).await.expect("places");
    assert_eq!(unpacked(&packed(&world).await), STREAM);
    world.send(1, STREAM.len() as i64, b"not stored\n").await;
    let mut waits = std::pin::pin!(packed(&world));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waits).await.is_err(), "it waits for a place");
    drop(all);
    assert_eq!(unpacked(&waits.await), [STREAM, b"not stored\n"].concat());
}

#[tokio::test]
async fn a_broken_download_goes_on() {
    let world = stored().await;
    let (end, whole) = (STREAM.len().to_string(), format!("bytes 9-20/{}", STREAM.len()));
    let (_, growing, _) = world.get("log.log", &[]).await;
    assert!(!growing.contains_key("etag"), "what grows has no name");
    assert!(world.end(1, STREAM).await.0.is_success());
    seal_once(&world.logs).await.expect("a pass");
    assert_eq!(world.sealed().await, "complete");
    let (status, headers, body) = world.get("log.log", &[]).await;
    assert_eq!((status, &headers["content-length"], &body[..]), (StatusCode::OK, &value(&end), STREAM));
    assert_eq!(headers["accept-ranges"], "bytes");
    let tag = headers["etag"].to_str().expect("text").to_owned();
    for more in [("if-range", ""), ("if-range", &tag)] {
        let (status, headers, body) = world.get("log.log", &[("range", "bytes=9-20"), more]).await;
        assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &STREAM[9..21]), "{more:?}");
        assert_eq!((&headers["content-length"], &headers["content-range"]), (&value("12"), &value(&whole)));
        let kept = headers["content-disposition"].to_str().expect("text");
        assert!(kept.ends_with(".log\""), "{kept}");
    }
    let (status, _, body) = world.get("log.log", &[("range", "bytes=9-20"), ("if-range", "\"another\"")]).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, STREAM), "it is not the same any more");
    let (status, headers, _) = world.get("log.log", &[("range", "bytes=999-")]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], format!("bytes */{end}").as_str());
    let (status, headers, body) = world.get("log.zst", &[("range", "bytes=1-2")]).await;
    assert_eq!((status, headers.contains_key("accept-ranges")), (StatusCode::OK, false));
    assert_eq!(unpacked(&body), STREAM);
}

fn value(text: &str) -> http::HeaderValue {
    text.parse().expect("a value")
}
