//! Object storage that is out: nothing is lost, it is left alone, and one log that cannot be stored is not taken
//! for a storage that is out.

use std::path::PathBuf;

use super::world::{World, chunk};
use crate::flush::flush_once;
use crate::storage::WRITES;

/// Until its folder is put back, nothing can be stored.
pub(super) struct Broken {
    folder: PathBuf,
}

impl Broken {
    pub(super) fn new(world: &World) -> Self {
        let folder = world.folder.path().join("blobs");
        std::fs::rename(&folder, world.folder.path().join("aside")).expect("moved");
        std::fs::write(&folder, b"").expect("a file where a folder must be");
        Self { folder }
    }

    pub(super) fn heal(self) {
        std::fs::remove_file(&self.folder).expect("removed");
        std::fs::rename(self.folder.with_file_name("aside"), &self.folder).expect("moved back");
    }
}

/// Lets retries and looks come due, and stores what there is.
async fn flush_later(world: &World) {
    world.clock.advance(std::time::Duration::from_secs(5));
    for log in world.logs.open_logs() {
        let now = world.clock.monotonic();
        world.logs.with_tail(&log, |tail| tail.postpone(now));
    }
    flush_once(&world.logs, true).await;
}

#[tokio::test]
async fn what_comes_while_storage_is_out_is_shown_and_stored_once_it_is_back() {
    let world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    flush_once(&world.logs, true).await;
    let broken = Broken::new(&world);
    let mut offset = 4;
    for _ in 0..20 {
        let ack = world.send(1, offset, b"more\n").await;
        offset += 5;
        assert_eq!((ack.received, ack.durable), (offset, 4));
        flush_later(&world).await;
    }
    assert!(world.logs.storage().is_out(WRITES));
    assert_eq!(world.text("log").await, format!("one\n{}", "more\n".repeat(20)), "it is shown all the same");
    broken.heal();
    flush_later(&world).await;
    assert_eq!(world.send(1, 0, b"one\n").await.durable, offset, "all of it is stored");
    assert!(!world.logs.storage().is_out(WRITES));
}

#[tokio::test]
async fn a_log_that_alone_cannot_be_stored_holds_up_no_other() {
    let mut world = World::without_loops().await;
    world.close_attempt(1, "lost", "running").await;
    world.open_attempt(2).await;
    let job = world.job.to_string();
    let folder = world.folder.path().join("blobs/logs").join(&job[job.len() - 2..]).join(&job);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("1"), b"").expect("a file where a folder must be");
    world.send(1, 0, b"one\n").await;
    while !world.logs.storage().is_out(WRITES) {
        flush_later(&world).await;
    }
    // The other's first try comes before the next one of the log that failed, and shows that storage is well.
    world.send(2, 0, b"two\n").await;
    let (failed, log) = (world.attempt(1), world.logs.open_log(world.attempt(2)).expect("open"));
    let failed = world.logs.open_log(failed).expect("open");
    flush_once(&world.logs, true).await;
    let now = world.clock.monotonic();
    let wait = |log| {
        (0..10_000)
            .map(std::time::Duration::from_millis)
            .find(|wait| world.logs.with_tail(log, |tail| tail.due(now + *wait, true).is_some()))
    };
    assert!(wait(&log).expect("due") < wait(&failed).expect("due"), "those that did not fail go first");
    world.clock.advance(std::time::Duration::from_secs(5));
    world.logs.with_tail(&log, |tail| tail.postpone(now));
    flush_once(&world.logs, true).await;
    assert_eq!(world.send(2, 0, b"two\n").await.durable, 4);
    assert!(!world.logs.storage().is_out(WRITES));
    assert_eq!(world.post_chunk(1, &chunk(0, b"one\n")).await.0, http::StatusCode::OK);
}
