//! Memory for logs that grow here. A builder that finds none waits in line before its bytes are read, so that a refused
//! request costs neither side its bytes; after a while it is told to come again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use crate::tail::ALL_MAX_BYTES;

/// How long a request waits for room; builders wait longer for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a chunk takes as long as it is not counted: as much as builders send at once.
const CHUNK_BYTES: usize = 512 << 10;

/// What all logs take together, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: AtomicUsize,
    promised: AtomicUsize,
    waiting: AtomicUsize,
    line: Mutex<()>,
    freed: Notify,
}

/// Leave to bring a chunk in, for which room is kept until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Room);

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
        if self.waiting.load(Ordering::Relaxed) == 0
            && let Some(turn) = self.take()
        {
            return Some(turn);
        }
        wake();
        let _waits = Waits::new(&self.waiting);
        let first = timeout(PATIENCE, async {
            let _first = self.line.lock().await;
            loop {
                if let Some(turn) = self.take() {
                    return turn;
                }
                self.freed.notified().await;
            }
        });
        first.await.ok()
    }

    fn take(&self) -> Option<Turn<'_>> {
        let more = |promised| Some(promised + CHUNK_BYTES).filter(|all| self.taken() + all <= ALL_MAX_BYTES);
        self.promised.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.promised.fetch_sub(CHUNK_BYTES, Ordering::Relaxed);
        self.0.freed.notify_one();
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
        room.changed(CHUNK_BYTES, 0);
        let turn = first.await;
        assert!(turn.is_some());
        assert!(second.as_mut().now_or_never().is_none(), "the chunk of the first is not counted yet");
        room.changed(0, 1);
        drop(turn);
        assert!(second.as_mut().now_or_never().is_none(), "there is no room any more");
        room.changed(1, 0);
        assert!(second.await.is_some());
        room.changed(ALL_MAX_BYTES - CHUNK_BYTES, 0);
        let many: Vec<_> = (0..ALL_MAX_BYTES / CHUNK_BYTES).map(|_| room.turn(|| ()).now_or_never()).collect();
        assert!(many.iter().all(Option::is_some), "bodies are read at the same time");
        assert!(room.turn(|| ()).now_or_never().is_none());
    }
}
