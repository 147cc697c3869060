//! A sealed log becomes one object, and its segments go when nobody reads them any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use slipway_store::logs::LogSegment;

use super::world::World;
use crate::archive::{REMOVE_AFTER, archive_once};
use crate::flush::flush_once;

/// The clock goes on while a test runs, which takes less.
const A_WHILE: Duration = Duration::from_secs(600);
const STREAM: &[u8] = b"first\nsecond\nthird has a needle\nfourth\nfifth\n";

/// A log that was stored in three segments, and sealed.
async fn sealed() -> World {
    let world = World::without_loops().await;
    for (from, to) in [(0, 9), (9, 30), (30, STREAM.len())] {
        world.send(1, from as i64, &STREAM[from..to]).await;
        if to == STREAM.len() {
            assert!(world.end(1, STREAM).await.0.is_success());
        }
        flush_once(&world.logs, true).await;
    }
    assert_eq!(world.sealed().await, "complete");
    world
}

async fn archive(world: &World) {
    archive_once(&world.logs).await.expect("a pass");
}

fn remove_after() -> Duration {
    REMOVE_AFTER.to_std().expect("a time")
}

async fn segments(world: &World) -> Vec<LogSegment> {
    world.logs.db().log_segments(world.attempt(1), 0, 10).await.expect("rows")
}

/// All objects in a folder, with those of folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let all = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "zst")).collect()
}

fn archive_in(folder: &Path) -> Option<PathBuf> {
    let is_archive =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("archive-"));
    files(folder).into_iter().find(is_archive)
}

/// How many objects there are, and how many of them are archives.
fn objects(folder: &Path) -> (usize, usize) {
    (files(folder).len(), usize::from(archive_in(folder).is_some()))
}

/// What every reader sees, from storage alone.
async fn reads_whole(world: &mut World) {
    world.restart().await;
    assert_eq!(world.get("log?ansi=1", &[]).await.2, STREAM);
    assert_eq!(world.get("log", &[("range", "bytes=7-15")]).await.2, STREAM[7..16]);
    assert_eq!(world.text("log?from=3&to=4").await, "third has a needle\nfourth\n");
    assert_eq!(world.text("log?tail=1").await, "fifth\n");
    let found: serde_json::Value = serde_json::from_str(&world.text("log/search?q=needle").await).expect("JSON");
    assert_eq!((&found["total"], &found["hits"][0]["line"]), (&1.into(), &3.into()));
    assert_eq!(found["holes"], serde_json::json!([]));
    let packed = world.get("log.zst", &[]).await.2;
    assert_eq!(zstd::stream::decode_all(&packed[..]).expect("zstd"), STREAM);
}

#[tokio::test]
async fn a_sealed_log_becomes_one_object() {
    let mut world = sealed().await;
    assert_eq!(objects(world.folder.path()), (3, 0));
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (4, 1), "who reads segments goes on");
    assert!(segments(&world).await.iter().all(|segment| segment.archived));
    reads_whole(&mut world).await;
    world.clock.advance(remove_after() - A_WHILE);
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (4, 1));
    world.clock.advance(A_WHILE);
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (1, 1));
    reads_whole(&mut world).await;
    let archived = std::fs::read(archive_in(world.folder.path()).expect("an archive")).expect("its bytes");
    assert_eq!(zstd::stream::decode_all(&archived[..]).expect("any reader of zstd"), STREAM);
    // Three segments of a head, their bytes and a mark; what is told of them is tested where it is written.
    assert!(archived.ends_with(&[&9_u32.to_le_bytes()[..], &[0, 0xb1, 0xea, 0x92, 0x8f]].concat()));
}

#[tokio::test]
async fn whoever_dies_on_the_way_is_followed_by_another() {
    let mut world = sealed().await;
    let now = world.logs.db().now(&world.clock).await.expect("a time");
    // It took the lease and died.
    let lease = TimeDelta::seconds(60);
    assert_eq!(world.logs.db().lease_archives(now, now + lease, 9).await.expect("due").len(), 1);
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (3, 0));
    world.clock.advance(Duration::from_secs(60));
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (4, 1));
    // It had stored the archive and died before the row said so.
    world.forget_archive().await;
    reads_whole(&mut world).await;
    archive(&world).await;
    world.clock.advance(remove_after());
    // Half of the segments were removed.
    world.logs.blobs().delete_segment(world.segment(1, 9)).await.expect("deleted");
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (1, 1));
    // A database that was brought back knows segments that are gone.
    world.forget_archive().await;
    reads_whole(&mut world).await;
    archive(&world).await;
    reads_whole(&mut world).await;
    assert_eq!(objects(world.folder.path()), (1, 1));
}

#[tokio::test]
async fn segments_stay_while_there_is_no_archive() {
    let world = sealed().await;
    archive(&world).await;
    world.logs.blobs().delete_log(world.attempt(1)).await.expect("deleted");
    // All of it is lost: shown as it is, and nothing is removed on the word of a row.
    world.clock.advance(remove_after());
    archive(&world).await;
    assert!(segments(&world).await.iter().all(|segment| !segment.archived));

    let mut world = {
        drop(world);
        sealed().await
    };
    archive(&world).await;
    let (attempt, mark) = (world.attempt(1), world.mark(1));
    let none = futures_util::stream::iter([Ok::<_, slipway_blobs::BlobError>(bytes::Bytes::from_static(b"half"))]);
    world.logs.blobs().put_archive(attempt, mark, none).await.expect("put");
    world.clock.advance(remove_after());
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (4, 1), "it was made anew");
    reads_whole(&mut world).await;
    world.clock.advance(remove_after());
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (1, 1));
    reads_whole(&mut world).await;
}

#[tokio::test]
async fn a_log_with_a_hole_stays_in_segments() {
    let mut world = sealed().await;
    world.logs.blobs().delete_segment(world.segment(1, 9)).await.expect("deleted");
    archive(&world).await;
    world.clock.advance(remove_after());
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (2, 0));
    world.restart().await;
    let text = world.text("log").await;
    assert!(text.starts_with("first\nsec[slipway] This part"), "{text}");
    assert!(text.ends_with("fourth\nfifth\n"), "{text}");
}

#[tokio::test]
async fn what_changed_on_the_way_is_no_copy() {
    let mut world = sealed().await;
    archive(&world).await;
    let (attempt, mark) = (world.attempt(1), world.mark(1));
    let last = segments(&world).await.pop().expect("segments");
    let bytes = (last.object_start.expect("a place") + last.object_bytes.expect("bytes")) as u64;
    let archived = world.logs.blobs().archive_range(attempt, mark, 0..bytes).await.expect("an archive");
    for changed in [archived.len() / 2, 3] {
        let mut other = archived.to_vec();
        other[changed] ^= 1;
        let other = futures_util::stream::iter([Ok::<_, slipway_blobs::BlobError>(bytes::Bytes::from(other))]);
        world.logs.blobs().put_archive(attempt, mark, other).await.expect("put");
        // The segments are still there.
        reads_whole(&mut world).await;
    }
    world.clock.advance(remove_after());
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (4, 1), "it was made anew");
    world.clock.advance(remove_after());
    archive(&world).await;
    assert_eq!(objects(world.folder.path()), (1, 1));
    reads_whole(&mut world).await;
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_when_a_log_is_stored_meanwhile() {
    use http_body_util::BodyExt as _;
    let world = World::without_loops().await;
    let piece = vec![b'x'; 512 << 10];
    for at in 0..4 {
        world.send(1, at * piece.len() as i64, &piece).await;
    }
    let mut body = world.open("log?ansi=1", &[("range", "bytes=0-")]).await.into_body();
    let mut read = body.frame().await.expect("bytes").expect("read").into_data().expect("data").len();
    // The pieces that were in memory are merged in storage.
    flush_once(&world.logs, true).await;
    while let Some(frame) = body.frame().await {
        read += frame.expect("read").into_data().map_or(0, |data| data.len());
    }
    assert_eq!(read, 4 * piece.len());
}
