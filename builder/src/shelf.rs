//! A spool with its marks: how far the log is written, how far it is durable, whether it is complete.
//! The attempt writes, the shipper reads, the supervisor waits; a full shelf makes the writer wait.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slipway_domain::agent::LogEnd;
use slipway_logfmt::chunk::Chunk;
use slipway_logfmt::digest::StreamDigest;
use tokio::sync::watch;

use crate::spool::Spool;

/// So much may lie here that is not durable elsewhere; beyond it nothing more is read from the engine.
const ROOM_BYTES: i64 = 256 << 20;

/// How far a log is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// The byte after the last one written.
    pub end: i64,
    /// Bytes below this are in object storage.
    pub durable: i64,
    /// Nothing more will be written.
    pub closed: bool,
    /// logsvc knows where it ends, or nobody can tell it. Without that a log that is durable stays open there.
    pub announced: bool,
    /// logsvc takes no more of it: sealed, unknown, or its time is over.
    pub given_up: bool,
}

/// One log on this builder.
#[derive(Debug)]
pub struct Shelf {
    inner: Mutex<Inner>,
    marks: watch::Sender<Marks>,
}

#[derive(Debug)]
struct Inner {
    /// `None` once deleted.
    spool: Option<Spool>,
    /// `None` when the beginning was gone before it could be hashed.
    digest: Option<StreamDigest>,
}

impl Marks {
    /// True when every byte is durable and its end is known, or neither will ever be.
    pub fn is_settled(&self) -> bool {
        self.given_up || (self.closed && self.announced && self.durable >= self.end)
    }

    fn has_room(&self) -> bool {
        self.given_up || self.end - self.durable < ROOM_BYTES
    }
}

impl Shelf {
    /// For a new attempt.
    pub fn new(spool: Spool) -> Self {
        Self::with(spool, Some(StreamDigest::default()), Marks::default())
    }

    /// For what a former life left: complete as it is, hashed again if its beginning is still here.
    pub fn recovered(spool: Spool) -> io::Result<Self> {
        let mut digest = (spool.start() == 0).then(StreamDigest::default);
        let mut offset = spool.start();
        while let Some(digest) = digest.as_mut()
            && let Some(chunk) = spool.read(offset, 1 << 20)?
        {
            digest.update(&chunk.bytes);
            offset = chunk.end();
        }
        let marks = Marks { end: spool.end(), durable: spool.start(), closed: true, ..Marks::default() };
        Ok(Self::with(spool, digest, marks))
    }

    fn with(spool: Spool, digest: Option<StreamDigest>, marks: Marks) -> Self {
        Self { inner: Mutex::new(Inner { spool: Some(spool), digest }), marks: watch::Sender::new(marks) }
    }

    /// Appends what follows. Errors when the disk takes no more; the log then ends here.
    pub fn append(&self, chunk: &Chunk) -> io::Result<()> {
        let mut inner = self.inner();
        let given_up = self.marks().given_up;
        if let Some(spool) = inner.spool.as_mut()
            && !given_up
        {
            spool.append(chunk)?;
        }
        if let Some(digest) = inner.digest.as_mut() {
            digest.update(&chunk.bytes);
        }
        // Before the lock goes: whoever can read bytes must find them below the mark.
        self.marks.send_modify(|marks| marks.end = chunk.end());
        Ok(())
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.marks.send_modify(|marks| marks.closed = true);
    }

    /// Length and hash as they stand; `None` if the beginning was gone before it could be hashed.
    pub fn log_end(&self) -> Option<LogEnd> {
        let inner = self.inner();
        inner.digest.as_ref().map(|digest| LogEnd { end: digest.len(), sha256: digest.hex() })
    }

    /// The first byte that can still be read.
    pub fn start(&self) -> i64 {
        self.inner().spool.as_ref().map_or(0, Spool::start)
    }

    /// Up to about `max_bytes` from `offset` on.
    pub fn read(&self, offset: i64, max_bytes: usize) -> io::Result<Option<Chunk>> {
        self.inner().spool.as_ref().map_or(Ok(None), |spool| spool.read(offset, max_bytes))
    }

    /// logsvc says that everything below `durable` is safe.
    pub fn durable(&self, durable: i64) {
        if durable <= self.marks().durable {
            return;
        }
        if let Some(spool) = self.inner().spool.as_mut() {
            spool.forget_below(durable);
        }
        self.marks.send_modify(|marks| marks.durable = marks.durable.max(durable));
    }

    /// logsvc knows the end, after which nothing may be written.
    pub fn announced(&self) {
        self.marks.send_modify(|marks| marks.announced = true);
    }

    /// logsvc takes no more of it.
    pub fn give_up(&self) {
        self.marks.send_modify(|marks| marks.given_up = true);
    }

    /// The marks as they stand.
    pub fn marks(&self) -> Marks {
        *self.marks.borrow()
    }

    /// Rings whenever a mark moves.
    pub fn watch(&self) -> watch::Receiver<Marks> {
        self.marks.subscribe()
    }

    /// Returns once more may be written.
    pub async fn room(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self.watch().wait_for(Marks::has_room).await;
    }

    /// Waits until every byte is durable or never will be; false when `within` is over first.
    pub async fn settled(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.watch().wait_for(Marks::is_settled)).await.is_ok()
    }

    /// Deletes the spool.
    pub fn remove(&self) -> io::Result<()> {
        let spool = self.inner().spool.take();
        spool.map_or(Ok(()), Spool::remove)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sha2::{Digest as _, Sha256};
    use slipway_domain::attempt::AttemptRef;
    use slipway_domain::ids::JobId;
    use slipway_logfmt::chunk::{Span, Stream};
    use slipway_runtime::ids::new_id;

    use super::*;
    use crate::spool::Owner;

    fn chunk(offset: i64, bytes: &'static [u8]) -> Chunk {
        let at = chrono::DateTime::from_timestamp_micros(1).expect("in range");
        let span = Span { len: u32::try_from(bytes.len()).expect("short"), step: 1, stream: Stream::Stdout, at };
        Chunk { offset, bytes: Bytes::from_static(bytes), spans: vec![span] }
    }

    fn spool(dir: &std::path::Path) -> Spool {
        let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 1 };
        Spool::create(dir, &Owner { attempt, token: "t".to_owned() }).expect("made")
    }

    #[tokio::test]
    async fn a_log_is_settled_when_closed_announced_and_durable() {
        let dir = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::new(spool(dir.path()));
        shelf.append(&chunk(0, b"abc")).expect("appends");
        shelf.durable(3);
        assert!(!shelf.marks().is_settled(), "more may come");
        shelf.close();
        assert!(!shelf.marks().is_settled(), "nobody knows that nothing more comes");
        shelf.announced();
        assert!(shelf.settled(Duration::ZERO).await);
        shelf.durable(1);
        assert_eq!(shelf.marks().durable, 3, "never moves back");
        assert_eq!(shelf.log_end().map(|end| end.sha256), Some(hex::encode(Sha256::digest(b"abc"))));
    }

    #[tokio::test]
    async fn a_full_shelf_makes_the_writer_wait() {
        let dir = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::new(spool(dir.path()));
        shelf.marks.send_modify(|marks| marks.end = ROOM_BYTES);
        let mut room = std::pin::pin!(shelf.room());
        assert!(futures_util::poll!(&mut room).is_pending());
        shelf.durable(1);
        room.await;
    }

    #[test]
    fn what_can_be_read_lies_below_the_mark() {
        const CHUNKS: i64 = 20_000;
        let dir = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::new(spool(dir.path()));
        std::thread::scope(|scope| {
            scope.spawn(|| (0..CHUNKS).try_for_each(|at| shelf.append(&chunk(at, b"x"))).expect("appends"));
            let mut next = 0;
            while next < CHUNKS {
                if let Some(read) = shelf.read(next, 1 << 10).expect("reads") {
                    next = read.end();
                    assert!(next <= shelf.marks().end, "read to {next}, marked to {}", shelf.marks().end);
                }
            }
        });
    }

    #[test]
    fn what_a_former_life_left_has_the_same_hash() {
        let dir = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::new(spool(dir.path()));
        shelf.append(&chunk(0, b"abc")).expect("appends");
        shelf.append(&chunk(3, b"def\n")).expect("appends");
        let before = shelf.log_end();
        drop(shelf);
        let recovered = Shelf::recovered(Spool::recover(dir.path()).expect("recovers").1).expect("reads");
        assert_eq!(recovered.log_end(), before);
        assert!(recovered.marks().closed);
        recovered.remove().expect("removes");
        assert!(recovered.read(0, 10).expect("reads").is_none());
    }
}
