//! Sends one log to logsvc: in order, at once when idle, in larger pieces under load, again from where
//! logsvc says after a lost answer or a restart of either side. Only `durable` and a known end end its care.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_domain::agent::LogAck;
use slipway_logfmt::chunk::Chunk;
use slipway_runtime::backoff::Backoff;
use slipway_runtime::clock::Clock;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::client::{AttemptApi, CallError, ChunkAnswer};
use crate::shelf::{Marks, Shelf};

/// Most stream bytes of a request; so many only where a log is behind. One request is on its way at a time, so that this
/// and the way to the log service bound what a builder far away can tell.
const BATCH_BYTES: usize = 256 << 10;
/// Under steady output requests that are not full begin at least this far apart.
const LINGER: Duration = Duration::from_millis(20);
/// While nothing is written, ask this often how far the log is durable.
const IDLE: Duration = Duration::from_secs(5);
/// A log service that asks for what another one has called durable may learn better for so long: one of an older release
/// does not look at the row.
const LEARNS_WITHIN: Duration = Duration::from_secs(60);

/// A log that is over is given up after this long at the latest. Its log service closes it much sooner, once nothing of it
/// came for a while in which it could have: until then it waits here, on a disk of which the builder leaves some free.
const KEPT_WITHIN: Duration = Duration::from_secs(6 * 3600);

/// Somebody has to hear of a log that nobody takes, this often.
const COMPLAINS_EVERY: Duration = Duration::from_secs(30);

/// Sends until the log is settled. The shelf says how it ended.
pub async fn ship(shelf: Arc<Shelf>, api: AttemptApi, clock: Clock) {
    let next = shelf.start();
    let marks = shelf.watch();
    let backoff = Backoff::for_calls();
    let mut shipper = Shipper {
        shelf,
        api,
        clock,
        marks,
        next,
        best: next,
        met_at: None,
        behind_since: None,
        unheard_since: None,
        backoff,
        closed_at: None,
    };
    while !shipper.shelf.marks().is_settled() {
        shipper.step().await;
    }
}

struct Shipper {
    shelf: Arc<Shelf>,
    api: AttemptApi,
    clock: Clock,
    marks: watch::Receiver<Marks>,
    next: i64,
    /// How far a log service had it at most.
    best: i64,
    /// That, when one was met last that had less.
    met_at: Option<i64>,
    /// Since when one asks for what is durable.
    behind_since: Option<Instant>,
    /// Since when nobody answers, or since that was said last.
    unheard_since: Option<Instant>,
    backoff: Backoff,
    closed_at: Option<Instant>,
}

impl Shipper {
    async fn step(&mut self) {
        let marks = *self.marks.borrow_and_update();
        let now = self.clock.monotonic();
        if marks.closed && now.duration_since(*self.closed_at.get_or_insert(now)) > KEPT_WITHIN {
            warn!(attempt = %self.api.attempt(), durable = marks.durable, end = marks.end, "log not durable in time");
            return self.shelf.give_up();
        }
        if self.next < marks.end {
            self.send_next(marks.closed).await;
        } else if marks.closed {
            self.announce_end().await;
        } else if tokio::time::timeout(IDLE, self.marks.changed()).await.is_err() && marks.durable < marks.end {
            let doorbell = Chunk::empty(self.next);
            self.send(doorbell).await;
        }
    }

    async fn send_next(&mut self, closed: bool) {
        let began = self.clock.monotonic();
        let chunk = match self.shelf.read(self.next, BATCH_BYTES) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return self.lost("its bytes are no longer in the spool"),
            Err(error) => return self.lost(&format!("the spool cannot be read: {error}")),
        };
        let full = chunk.bytes.len() >= BATCH_BYTES;
        self.send(chunk).await;
        if !full && !closed {
            let spent = self.clock.monotonic().duration_since(began);
            self.clock.sleep(LINGER.saturating_sub(spent)).await;
        }
    }

    async fn send(&mut self, chunk: Chunk) {
        let offset = chunk.offset;
        match self.api.log_chunk(chunk.pack()).await {
            Ok(ChunkAnswer::Taken(ack)) => self.acknowledged(ack),
            Ok(ChunkAnswer::Elsewhere(ack)) => {
                self.acknowledged(ack);
                // Two services that take turns and none of which gets further: one has to store what it has first.
                if self.next == offset || self.met_at.replace(self.best) == Some(self.best) {
                    self.pause().await;
                } else {
                    info!(attempt = %self.api.attempt(), offset, received = ack.received, "log resumes elsewhere");
                }
            }
            Err(error) => self.failed(error).await,
        }
    }

    /// Repeating it asks how far the log is durable.
    async fn announce_end(&mut self) {
        let answer = match self.shelf.log_end() {
            Some(end) => self.api.log_end(&end).await,
            // Without its hash the end cannot be announced; logsvc seals it as cut.
            None => self.api.log_chunk(Chunk::empty(self.next).encode()).await.map(|answer| match answer {
                ChunkAnswer::Taken(ack) | ChunkAnswer::Elsewhere(ack) => ack,
            }),
        };
        match answer {
            Ok(ack) => {
                self.shelf.announced();
                self.acknowledged(ack);
                let marks = self.shelf.marks();
                let is_thrown_back = self.next < marks.end && self.met_at.replace(self.best) == Some(self.best);
                if !marks.is_settled() && (self.next >= marks.end || is_thrown_back) {
                    self.pause().await;
                }
            }
            Err(error) => self.failed(error).await,
        }
    }

    fn acknowledged(&mut self, ack: LogAck) {
        self.unheard_since = None;
        let end = self.shelf.marks().end;
        if ack.received > end || ack.durable > end {
            return self.lost("logsvc has more of it than was ever written here");
        }
        if ack.received < self.shelf.start() {
            let now = self.clock.monotonic();
            if now.duration_since(*self.behind_since.get_or_insert(now)) > LEARNS_WITHIN {
                self.lost("logsvc asks for bytes that it had called durable");
            }
            return;
        }
        self.behind_since = None;
        if ack.received > self.next {
            self.backoff.reset();
        }
        self.next = ack.received;
        self.best = self.best.max(ack.received);
        self.shelf.durable(ack.durable);
    }

    async fn failed(&mut self, error: CallError) {
        match error {
            CallError::Refused { .. } => self.lost(&error.to_string()),
            CallError::Unavailable(reason) => {
                let now = self.clock.monotonic();
                if now.duration_since(*self.unheard_since.get_or_insert(now)) >= COMPLAINS_EVERY {
                    self.unheard_since = Some(now);
                    warn!(attempt = %self.api.attempt(), reason, "log waits here; it is tried again");
                }
                self.pause().await;
            }
        }
    }

    async fn pause(&mut self) {
        self.clock.sleep(self.backoff.pause()).await;
    }

    fn lost(&mut self, reason: &str) {
        warn!(attempt = %self.api.attempt(), reason, "log is sent no further");
        self.shelf.give_up();
    }
}
