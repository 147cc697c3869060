//! Makes received bytes durable: many logs at once, one segment after the other per log. The segment that ends an
//! announced stream seals its log.
//!
//! Race: another log service stores the same run. The object's name is its start, made only once; then the
//! row's `durable` moves by compare-and-set. Whoever finds the object there books that one instead and goes
//! on behind it. If we die between the two, the next writer does the same.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use slipway_blobs::{Mark, Put, SegmentKey};
use slipway_domain::timing;
use slipway_logfmt::chunk::{DecodeError, Part};
use slipway_logfmt::digest::StreamDigest;
use slipway_logfmt::outline::Outline;
use slipway_logfmt::segment::Segment;
use slipway_logfmt::text::count_lines;
use slipway_runtime::breakers::{Out, Permit};
use slipway_runtime::crash;
use slipway_store::logs::{Booked, LogState, NewSegment};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::logs::{Logs, OpenLog};
use crate::reader;
use crate::seal::{is_whole, sealed};
use crate::storage::{self, WRITES};
use crate::tail::{ALL_MAX_BYTES, keep_bytes};

/// Logs that are stored at the same time.
const PARALLEL: usize = 16;
/// One segment must be stored within this time.
pub(crate) const STORAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A log that nobody wrote to for this long is forgotten here.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Once logs take more memory than this, those with most of it are stored before their time.
const PRESSED_BYTES: usize = ALL_MAX_BYTES / 2;
/// How often the loop looks while something waits.
const TICK: Duration = Duration::from_millis(250);

/// The loop. When the process stops, it stores what is here once more.
pub(crate) async fn run(logs: Logs) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(PARALLEL));
    let mut looked_at = logs.clock().monotonic();
    let mut waiting = false;
    loop {
        let pause = if waiting { TICK } else { timing::POLL };
        tokio::select! {
            () = logs.flush_wake().wait(pause) => {}
            () = logs.life().stopping() => {
                flush_once(&logs, true).await;
                return Ok(());
            }
        }
        let mut due: Vec<_> = logs.urgent().into_iter().map(|log| (log, false)).collect();
        let now = logs.clock().monotonic();
        waiting |= !due.is_empty();
        if now.duration_since(looked_at) >= TICK {
            looked_at = now;
            waiting = tidy(&logs);
            let in_time = logs.open_logs().into_iter().filter(|log| logs.with_tail(log, |tail| tail.is_due(now)));
            due.extend(in_time.map(|log| (log, false)));
            due.extend(pressing(&logs).into_iter().map(|log| (log, true)));
        }
        // One log that waits for its storage holds up no other.
        for (log, hurry) in due {
            let (logs, places) = (logs.clone(), Arc::clone(&places));
            logs.clone().life().errand("store log", async move {
                let Ok(_alone) = log.flushing.try_lock() else { return };
                let Ok(_place) = places.acquire().await else { return };
                flush_or_postpone(&logs, &log, hurry).await;
            });
        }
    }
}

/// The logs by which memory has to be freed, those that wait with most first. What is only kept goes before.
fn pressing(logs: &Logs) -> Vec<Arc<OpenLog>> {
    if logs.room().taken() <= PRESSED_BYTES {
        return Vec::new();
    }
    let now = logs.clock().monotonic();
    let waits = |log: Arc<OpenLog>| {
        let cost = logs.with_tail(&log, |tail| {
            tail.forget_durable();
            tail.storable_cost(now)
        });
        (cost, log)
    };
    let mut all: Vec<_> = logs.open_logs().into_iter().map(waits).filter(|(cost, _)| *cost > 0).collect();
    let mut over = logs.room().taken().saturating_sub(PRESSED_BYTES);
    all.sort_by_key(|(cost, _)| Reverse(*cost));
    let enough = all.into_iter().take_while(|(cost, _)| {
        let goes_on = over > 0;
        over = over.saturating_sub(*cost);
        goes_on
    });
    enough.map(|(_, log)| log).collect()
}

/// Stores what is due (in a hurry: everything). True if something still waits.
pub(crate) async fn flush_once(logs: &Logs, hurry: bool) -> bool {
    futures_util::stream::iter(logs.open_logs())
        .for_each_concurrent(PARALLEL, |log| async move {
            let _alone = log.flushing.lock().await;
            flush_or_postpone(logs, &log, hurry).await;
        })
        .await;
    tidy(logs)
}

/// Forgets logs that nobody writes to any more. True if something waits to be stored.
fn tidy(logs: &Logs) -> bool {
    let now = logs.clock().monotonic();
    let mut waiting = false;
    for log in logs.open_logs() {
        let (idle, rest) = logs.with_tail(&log, |tail| {
            let ack = tail.ack();
            (tail.is_idle(now, FORGET_AFTER), ack.received > ack.durable)
        });
        waiting |= rest;
        if idle {
            logs.forget(log.attempt);
        }
    }
    waiting
}

async fn flush_or_postpone(logs: &Logs, log: &Arc<OpenLog>, hurry: bool) {
    if let Err(error) = flush_log(logs, log, hurry).await {
        warn!(attempt = %log.attempt, error = format!("{error:#}"), "log not stored yet; it is tried again");
        // If the storage is out: behind those that did not fail, because it may be this log alone that does.
        let later = logs.clock().monotonic() + logs.storage().retry_in(WRITES) + timing::LOG_FLUSH;
        logs.with_tail(log, |tail| tail.postpone(later));
    }
}

async fn flush_log(logs: &Logs, log: &Arc<OpenLog>, hurry: bool) -> anyhow::Result<()> {
    // A hurry is over once what is here now is stored; whoever writes on makes no small segments without end.
    let until = logs.with_tail(log, |tail| tail.ack().received);
    loop {
        let now = logs.clock().monotonic();
        let due = logs.with_tail(log, |tail| tail.due(now, hurry && tail.ack().durable < until));
        let Some(batch) = due else { return Ok(()) };
        let permit = match logs.storage().ask(WRITES) {
            Ok(permit) => permit,
            Err(Out { retry_in }) => {
                logs.with_tail(log, |tail| tail.postpone(now + retry_in));
                return Ok(());
            }
        };
        let stored = tokio::time::timeout(STORAGE_TIMEOUT, store_batch(logs, log, batch, permit)).await;
        let stored = stored.context("storage did not answer in time")??;
        let now = logs.clock().monotonic();
        let durable = match stored {
            Stored::Closed => {
                logs.forget(log.attempt);
                return Ok(());
            }
            Stored::Until(durable) | Stored::Sealed(durable) => durable,
        };
        let keep = keep_bytes(logs.room().taken());
        let complete = logs.with_tail(log, |tail| {
            tail.set_durable(durable, keep, now);
            tail.end().is_some_and(|end| durable >= end)
        });
        if matches!(stored, Stored::Sealed(_)) {
            info!(attempt = %log.attempt, durable, "log sealed");
            sealed(logs, log.attempt, durable);
        } else if complete {
            logs.seal_wake().ring();
        }
    }
}

/// What became of a segment.
enum Stored {
    /// The log is durable up to here.
    Until(i64),
    /// It is sealed here.
    Sealed(i64),
    /// What is here of the log is worth nothing any more: it was closed meanwhile, or its row is another one.
    Closed,
}

/// Stores one segment and books it.
async fn store_batch(logs: &Logs, log: &OpenLog, batch: Vec<Part>, permit: Permit) -> anyhow::Result<Stored> {
    let mark = Mark::of(&log.token_hash);
    let packed = logs.life().blocking("pack log segment", move || {
        let (segment, frames) = Segment::merge(&batch).context("a batch holds no bytes")?;
        let stored = segment.encode(&frames, mark.0).context("a segment does not pack")?;
        anyhow::Ok((segment, stored))
    });
    let (segment, stored) = packed.await.context("packing broke off")??;
    let object_bytes = stored.len();
    let mut key = SegmentKey { attempt: log.attempt, start: segment.0.offset, mark: None };
    let mut put = logs.blobs().put_segment(key, stored.clone()).await;
    storage::tell(permit, &put);
    if matches!(put, Ok(Put::AlreadyExists)) && !reader::is_of(&stood_at(logs, key).await?, mark) {
        key.mark = Some(mark);
        put = logs.blobs().put_segment(key, stored).await;
    }
    let (booked, object_bytes) = match put.context("cannot put a segment")? {
        Put::Created => (segment, object_bytes),
        Put::AlreadyExists => match existing(logs, key).await? {
            Some(existing) => existing,
            None => anyhow::bail!("an unreadable object stood at {}; it was removed", key.start),
        },
    };
    crash::point("log.segment_stored");
    let digest = log.digest_with(key.start, &booked.0.bytes);
    let begins_line = logs.with_tail(log, |tail| tail.begins_line(key.start));
    let announced = |digest: &StreamDigest| log.end().is_some_and(|end| is_whole(digest, &end));
    let new = NewSegment {
        attempt: log.attempt,
        start: key.start,
        end: booked.0.end(),
        lines: count_lines(&booked.0.bytes),
        outline: Outline::of(&booked.0)
            .filter(Outline::is_small)
            .map(|outline| log.bounded(if begins_line { outline.at_line_start() } else { outline }))
            .and_then(|outline| serde_json::to_value(outline).ok()),
        object_bytes: i64::try_from(object_bytes)?,
        whole: digest.as_ref().is_some_and(announced),
    };
    let end = new.end;
    match logs
        .segments()
        .ask(new)
        .await
        .map_err(|error| anyhow::anyhow!("{error:?}"))?
        .context("cannot book a segment")?
    {
        Booked::Yes => {
            crash::point("log.segment_booked");
            log.keep_digest(digest);
            Ok(Stored::Until(end))
        }
        Booked::Sealed => {
            crash::point("log.sealed");
            Ok(Stored::Sealed(end))
        }
        Booked::No => {
            log.keep_digest(None);
            let row = logs.db().attempt_log(log.attempt).await.context("cannot read the log's row")?;
            // A row behind what was stored was brought back from a backup: it is begun anew from there.
            let goes_on = row.state == LogState::Open && row.durable >= key.start;
            Ok(if goes_on { Stored::Until(row.durable) } else { Stored::Closed })
        }
    }
}

async fn stood_at(logs: &Logs, key: SegmentKey) -> anyhow::Result<Bytes> {
    logs.blobs().get_segment(key).await.context("cannot read the segment that stands there")
}

/// The segment that somebody else stored here, or we before a crash, and the bytes of its object. One that does not read was never
/// booked, since we stand at `durable`: it is removed and the next try makes it anew.
async fn existing(logs: &Logs, key: SegmentKey) -> anyhow::Result<Option<(Segment, usize)>> {
    let stored = stood_at(logs, key).await?;
    match Segment::decode(&stored) {
        Ok(segment) if segment.0.offset == key.start => Ok(Some((segment, stored.len()))),
        // A newer release's is no garbage.
        Err(DecodeError::Version(version)) => anyhow::bail!("an object of version {version} stands at {}", key.start),
        Ok(_) | Err(_) => {
            if logs.db().log_segment_at(key.attempt, key.start).await?.is_none() {
                logs.blobs().delete_segment(key).await.context("cannot remove an unreadable object")?;
            }
            Ok(None)
        }
    }
}
