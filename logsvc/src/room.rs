//! Memory for logs that grow here. A builder that finds none waits in line before its bytes are read, so that a refused
//! request costs neither side its bytes; after a while it is told to come again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slipway_logfmt::chunk::MAX_CHUNK_BYTES;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::timeout;

use crate::tail::ALL_MAX_BYTES;

/// How long a request waits for room; builders wait longer for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all logs take together, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: AtomicUsize,
    waiting: AtomicUsize,
    line: Mutex<()>,
    freed: Notify,
}

/// Leave to bring a chunk in. Who had to wait holds up the next in line until its chunk is counted.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _first: Option<MutexGuard<'a, ()>>,
}

impl Room {
    /// Memory that is taken, in bytes.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// What a log takes became another.
    pub(crate) fn changed(&self, before: usize, after: usize) {
        self.taken.fetch_add(after, Ordering::Relaxed);
        self.taken.fetch_sub(before, Ordering::Relaxed);
        if after < before {
            self.freed.notify_one();
        }
    }

    /// Waits in line until there is room for a chunk; `wake` is called if that takes time. `None` when it takes too long.
    pub(crate) async fn turn(&self, wake: impl FnOnce()) -> Option<Turn<'_>> {
        if self.waiting.load(Ordering::Relaxed) == 0 && self.has_room() {
            return Some(Turn { _first: None });
        }
        wake();
        let _waits = Waits::new(&self.waiting);
        let first = timeout(PATIENCE, async {
            let first = self.line.lock().await;
            while !self.has_room() {
                self.freed.notified().await;
            }
            first
        });
        first.await.ok().map(|first| Turn { _first: Some(first) })
    }

    fn has_room(&self) -> bool {
        self.taken() + MAX_CHUNK_BYTES <= ALL_MAX_BYTES
    }
}

/// Counts one that waits, until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_in_line_and_not_for_ever() {
        let room = Room::default();
        assert!(room.turn(|| unreachable!("there is room")).await.is_some());
        room.changed(0, ALL_MAX_BYTES);
        let mut woken = false;
        assert!(room.turn(|| woken = true).await.is_none());
        assert!(woken);

        let mut first = pin!(room.turn(|| ()));
        let mut second = pin!(room.turn(|| ()));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        room.changed(MAX_CHUNK_BYTES, 0);
        let turn = first.await;
        assert!(turn.is_some());
        assert!(second.as_mut().now_or_never().is_none(), "the chunk of the first is not counted yet");
        room.changed(0, 1);
        drop(turn);
        assert!(second.as_mut().now_or_never().is_none(), "there is no room any more");
        room.changed(1, 0);
        assert!(second.await.is_some());
    }
}
