//! What all parts of the service share: its ports and the logs that are open in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_blobs::Blobs;
use slipway_domain::agent::{LogAck, LogEnd};
use slipway_domain::attempt::AttemptRef;
use slipway_live::Live;
use slipway_logfmt::digest::StreamDigest;
use slipway_logfmt::groups::MAX_LOG_MARKS;
use slipway_logfmt::outline::Outline;
use slipway_runtime::batch::Batcher;
use slipway_runtime::breakers::Breakers;
use slipway_runtime::clock::Clock;
use slipway_runtime::health::Health;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::wake::Wake;
use slipway_store::Db;
use slipway_store::logs::LogRow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::batches::{Ends, Segments};
use crate::index::{self, Indexes};
use crate::pace::Crowd;
use crate::reader::{self, Pieces};
use crate::room::Room;
use crate::storage::{self, Outage};
use crate::tail::Tail;

/// Pieces that are read before they are asked for, of all logs together, about 1 MiB each: an object store answers only so
/// many at once.
const AHEAD: usize = 16;
/// Searches at the same time, of all logs together, by whom we know.
const SEARCHES: usize = 4;
/// The same by everybody else.
const PUBLIC_SEARCHES: usize = 1;
/// Runs of logs that are packed at the same time for who downloads them, of all downloads together.
const PACKINGS: usize = 2;

/// What the service stands on.
#[derive(Debug, Clone)]
pub struct Deps {
    /// The rows.
    pub db: Db,
    /// The segments.
    pub blobs: Blobs,
    /// Tells viewers.
    pub live: Live,
    /// The time.
    pub clock: Clock,
    /// Ends the loops.
    pub life: Life,
}

/// The service's state. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Deps,
    open: Mutex<HashMap<AttemptRef, Arc<OpenLog>>>,
    room: Room,
    crowd: Crowd,
    storage: Breakers,
    outage: Mutex<Outage>,
    flush_wake: Wake,
    seal_wake: Wake,
    /// Logs that shall be stored at once.
    urgent: Mutex<Vec<Arc<OpenLog>>>,
    /// What is read before somebody asks for it, for all readers together.
    ahead: Arc<Semaphore>,
    segments: Batcher<Segments>,
    ends: Batcher<Ends>,
    searches: Arc<Semaphore>,
    public_searches: Arc<Semaphore>,
    packings: Arc<Semaphore>,
    indexes: Indexes,
    pieces: Pieces,
}

/// A log that grows here.
#[derive(Debug)]
pub(crate) struct OpenLog {
    pub(crate) attempt: AttemptRef,
    pub(crate) token_hash: Vec<u8>,
    /// Nothing is taken in beyond.
    pub(crate) max_bytes: i64,
    held: Mutex<Held>,
    acks: watch::Sender<LogAck>,
    /// Somebody stores of it just now.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    /// Lines that begin or end groups, as far as they were written down here.
    marks: AtomicUsize,
}

#[derive(Debug)]
struct Held {
    tail: Tail,
    /// The announced end.
    end: Option<LogEnd>,
    /// Of everything below `durable`; `None` when some of it was not seen here.
    digest: Option<StreamDigest>,
    /// False once forgotten: its memory counts no more, whoever still holds it.
    counted: bool,
}

impl Logs {
    pub(crate) fn new(deps: Deps) -> Self {
        let inner = Inner {
            storage: storage::breakers(deps.clock.clone()),
            outage: Mutex::new(Outage::until(deps.clock.now())),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            public_searches: Arc::new(Semaphore::new(PUBLIC_SEARCHES)),
            packings: Arc::new(Semaphore::new(PACKINGS)),
            segments: Batcher::new(Segments(deps.clone()), deps.life.clone()),
            ends: Batcher::new(Ends(deps.clone()), deps.life.clone()),
            urgent: Mutex::default(),
            ahead: Arc::new(Semaphore::new(AHEAD)),
            indexes: index::indexes(),
            pieces: reader::pieces(),
            deps,
            open: Mutex::default(),
            room: Room::default(),
            crowd: Crowd::default(),
            flush_wake: Wake::default(),
            seal_wake: Wake::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a storage that is out to what the process tells of its health.
    pub fn watch(&self, health: &Health) {
        self.inner.storage.watch(health);
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.deps.db
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.deps.blobs
    }

    /// Whether those are called at all.
    pub(crate) fn storage(&self) -> &Breakers {
        &self.inner.storage
    }

    /// What is known of it being out.
    pub(crate) fn outage(&self) -> MutexGuard<'_, Outage> {
        self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live(&self) -> &Live {
        &self.inner.deps.live
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.deps.clock
    }

    pub(crate) fn life(&self) -> &Life {
        &self.inner.deps.life
    }

    pub(crate) fn flush_wake(&self) -> &Wake {
        &self.inner.flush_wake
    }

    pub(crate) fn seal_wake(&self) -> &Wake {
        &self.inner.seal_wake
    }

    /// Books segments and ends of many logs together.
    pub(crate) fn segments(&self) -> &Batcher<Segments> {
        &self.inner.segments
    }

    pub(crate) fn ends(&self) -> &Batcher<Ends> {
        &self.inner.ends
    }

    /// Leave to read one more piece before it is asked for; `None` while many are.
    pub(crate) fn read_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.ahead).try_acquire_owned().ok()
    }

    /// Places for searches, each of which takes a core for as long as it lasts.
    pub(crate) fn searches(&self, by_anybody: bool) -> Arc<Semaphore> {
        Arc::clone(if by_anybody { &self.inner.public_searches } else { &self.inner.searches })
    }

    /// Places for packing a run of a log, which takes a core.
    pub(crate) fn packings(&self) -> &Arc<Semaphore> {
        &self.inner.packings
    }

    pub(crate) fn pieces(&self) -> &Pieces {
        &self.inner.pieces
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.inner.indexes
    }

    /// Has this log stored at once.
    pub(crate) fn hurry(&self, log: Arc<OpenLog>) {
        self.inner.urgent.lock().unwrap_or_else(PoisonError::into_inner).push(log);
        self.inner.flush_wake.ring();
    }

    /// The logs that shall be stored at once.
    pub(crate) fn urgent(&self) -> Vec<Arc<OpenLog>> {
        std::mem::take(&mut *self.inner.urgent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The log, if it grows here.
    pub(crate) fn open_log(&self, attempt: AttemptRef) -> Option<Arc<OpenLog>> {
        self.open().get(&attempt).cloned()
    }

    /// All logs that grow here.
    pub(crate) fn open_logs(&self) -> Vec<Arc<OpenLog>> {
        self.open().values().cloned().collect()
    }

    /// Lets an open log grow here, from what is durable.
    pub(crate) fn resume(&self, row: &LogRow, max_bytes: i64) -> Arc<OpenLog> {
        let make = || {
            let tail = Tail::resume(row.durable, row.end_offset, self.clock().monotonic());
            Arc::new(OpenLog {
                attempt: row.attempt(),
                token_hash: row.token_hash.clone(),
                max_bytes,
                acks: watch::Sender::new(tail.ack()),
                held: Mutex::new(Held {
                    tail,
                    end: row.announced(),
                    digest: (row.durable == 0).then(StreamDigest::default),
                    counted: true,
                }),
                flushing: tokio::sync::Mutex::default(),
                marks: AtomicUsize::default(),
            })
        };
        self.open().entry(row.attempt()).or_insert_with(make).clone()
    }

    /// Forgets a log; its row and its segments say everything.
    pub(crate) fn forget(&self, attempt: AttemptRef) {
        let Some(log) = self.open().remove(&attempt) else { return };
        let mut held = log.lock();
        if std::mem::replace(&mut held.counted, false) {
            self.inner.room.changed(held.tail.cost(), 0);
        }
    }

    /// Memory that all logs take here.
    pub(crate) fn room(&self) -> &Room {
        &self.inner.room
    }

    /// Who watches here.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.inner.crowd
    }

    /// Looks at or changes the tail of a log, and tells those who wait for its progress.
    pub(crate) fn with_tail<T>(&self, log: &OpenLog, act: impl FnOnce(&mut Tail) -> T) -> T {
        let mut held = log.lock();
        let before = held.tail.cost();
        let result = act(&mut held.tail);
        let ack = held.tail.ack();
        if held.counted {
            self.inner.room.changed(before, held.tail.cost());
        }
        drop(held);
        log.acks.send_if_modified(|known| std::mem::replace(known, ack) != ack);
        result
    }

    fn open(&self) -> MutexGuard<'_, HashMap<AttemptRef, Arc<OpenLog>>> {
        // Every change of the map is one call, so a panic elsewhere leaves it whole.
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenLog {
    /// What is written down of a run: of groups no more than anybody reads.
    pub(crate) fn bounded(&self, mut outline: Outline) -> Outline {
        let known = self.marks.load(Ordering::Relaxed);
        outline.marks.truncate(MAX_LOG_MARKS.saturating_sub(known));
        self.marks.fetch_add(outline.marks.len(), Ordering::Relaxed);
        outline
    }

    /// The whole stream is announced.
    pub(crate) fn announce_end(&self, end: &LogEnd) {
        let mut held = self.lock();
        held.tail.announce_end(end.end);
        held.end = Some(end.clone());
    }

    /// The digest of all that is durable once `bytes` are, which begin at `start`; `None` when not all was seen here.
    pub(crate) fn digest_with(&self, start: i64, bytes: &[u8]) -> Option<StreamDigest> {
        let mut digest = self.lock().digest.clone().filter(|digest| digest.len() == start)?;
        digest.update(bytes);
        Some(digest)
    }

    /// That is durable now.
    pub(crate) fn keep_digest(&self, digest: Option<StreamDigest>) {
        self.lock().digest = digest;
    }

    /// The announced end.
    pub(crate) fn end(&self) -> Option<LogEnd> {
        self.lock().end.clone()
    }

    /// Follows how far it is.
    pub(crate) fn acks(&self) -> watch::Receiver<LogAck> {
        self.acks.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
