//! The publishing connection. Publishers never wait: they put messages into a bounded queue, which this
//! empties in pipelines. What does not fit, or cannot be sent while Redis is away, is dropped and counted,
//! and once Redis answers every process is told that something was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline};
use tokio::sync::mpsc;

use super::link::{ANSWER, Backoff, End, PING_EVERY, Status, answered};
use super::subscriber::LOST;
use super::{Common, frame};
use crate::Topic;

/// Messages that wait to be sent.
const QUEUE: usize = 4096;
/// Bytes that wait to be sent.
const QUEUE_BYTES: usize = 16 << 20;
/// Messages of one pipeline.
const BATCH: usize = 128;
/// That something was lost is told at most this often: everybody reads again then.
const LOST_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Letter {
    topic: Topic,
    message: Bytes,
}

#[derive(Debug, Default)]
struct Counters {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// The publishers' end of the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    letters: mpsc::Sender<Letter>,
    counters: Arc<Counters>,
}

/// The connection's end.
#[derive(Debug)]
pub(super) struct Publisher {
    common: Common,
    status: Arc<Status>,
    letters: mpsc::Receiver<Letter>,
    counters: Arc<Counters>,
    /// How many losses everybody was told of, and when.
    told: (u64, Option<Instant>),
}

impl Outbox {
    /// Queues a message, or drops and counts it.
    pub(super) fn put(&self, topic: Topic, message: Bytes) {
        let size = message.len();
        let waiting = self.counters.waiting_bytes.fetch_add(size, Ordering::Relaxed) + size;
        if waiting > QUEUE_BYTES || self.letters.try_send(Letter { topic, message }).is_err() {
            self.counters.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Messages that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.counters.dropped.load(Ordering::Relaxed)
    }
}

impl Publisher {
    /// Both ends.
    pub(super) fn new(common: Common, status: Arc<Status>) -> (Outbox, Self) {
        let (sender, letters) = mpsc::channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let outbox = Outbox { letters: sender, counters: Arc::clone(&counters) };
        (outbox, Self { common, status, letters, counters, told: (0, None) })
    }

    /// Until the last handle is gone and the queue is empty.
    pub(super) async fn run(mut self) {
        let clock = self.common.clock.clone();
        let mut backoff = Backoff::new(clock.monotonic());
        loop {
            backoff.begin(clock.monotonic());
            let end = match self.connect().await {
                Ok(connection) => self.serve(connection).await,
                Err(end) => end,
            };
            match end {
                End::Unused => return,
                End::Broken(problem) => self.status.away(problem),
            }
            let pause = clock.sleep(backoff.next(clock.monotonic()));
            tokio::select! {
                () = pause => {}
                () = self.discard() => return,
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, End> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
        let target = &self.common.target;
        answered(target, target.client.get_multiplexed_async_connection_with_config(&config)).await
    }

    async fn serve(&mut self, mut connection: MultiplexedConnection) -> End {
        let mut letters = Vec::with_capacity(BATCH);
        loop {
            let mut pipeline = Pipeline::new();
            let (told, sent) = (self.tell_losses(&mut pipeline), letters.len());
            for letter in letters.drain(..) {
                self.add(&mut pipeline, letter);
            }
            if pipeline.is_empty() {
                // The first round, and every silent one.
                pipeline.cmd("PING").ignore();
            }
            if let Err(end) = answered(&self.common.target, pipeline.exec_async(&mut connection)).await {
                self.counters.dropped.fetch_add(sent as u64, Ordering::Relaxed);
                return end;
            }
            self.told = told.unwrap_or(self.told);
            self.status.up();
            tokio::select! {
                count = self.letters.recv_many(&mut letters, BATCH) => {
                    if count == 0 {
                        return End::Unused;
                    }
                }
                () = self.common.clock.sleep(PING_EVERY) => {}
            }
        }
    }

    fn add(&self, pipeline: &mut Pipeline, letter: Letter) {
        self.counters.waiting_bytes.fetch_sub(letter.message.len(), Ordering::Relaxed);
        let channel = format!("{}{}", self.common.target.prefix, letter.topic.name());
        let framed = frame::wrap(self.common.origin, &letter.message);
        pipeline.cmd("PUBLISH").arg(channel).arg(framed).ignore();
    }

    /// Adds the news of losses if there are some; gives what everybody knows once it was sent.
    fn tell_losses(&self, pipeline: &mut Pipeline) -> Option<(u64, Option<Instant>)> {
        let (dropped, now) = (self.counters.dropped.load(Ordering::Relaxed), self.common.clock.monotonic());
        let (known, at) = self.told;
        if dropped == known || at.is_some_and(|at| now.saturating_duration_since(at) < LOST_EVERY) {
            return None;
        }
        let channel = format!("{}{LOST}", self.common.target.prefix);
        pipeline.cmd("PUBLISH").arg(channel).arg(frame::wrap(self.common.origin, b"")).ignore();
        Some((dropped, Some(now)))
    }

    /// Drops what is published, until the last handle is gone.
    async fn discard(&mut self) {
        while let Some(letter) = self.letters.recv().await {
            self.counters.waiting_bytes.fetch_sub(letter.message.len(), Ordering::Relaxed);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
