//! Makes received bytes durable: one loop, one segment after the other per log.
//!
//! Race: another log service stores the same run. The object's name is its start, made only once; then the
//! row's `durable` moves by compare-and-set. Whoever finds the object there books that one instead and goes
//! on behind it. If we die between the two, the next writer does the same.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use slipway_blobs::{Put, SegmentKey};
use slipway_domain::timing;
use slipway_logfmt::chunk::Chunk;
use slipway_logfmt::segment::Segment;
use slipway_logfmt::text::count_lines;
use slipway_runtime::crash;
use slipway_store::logs::{LogState, NewSegment};
use tracing::warn;

use crate::logs::{Logs, OpenLog};

/// Logs that are stored at the same time.
const PARALLEL: usize = 8;
/// One segment must be stored within this time.
pub(crate) const STORAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A log that nobody wrote to for this long is forgotten here.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// How often the loop looks while something waits.
const TICK: Duration = Duration::from_millis(250);

/// The loop. When the process stops, it stores what is here once more.
pub(crate) async fn run(logs: Logs) -> anyhow::Result<()> {
    loop {
        let waiting = flush_once(&logs, false).await;
        let pause = if waiting { TICK } else { timing::POLL };
        tokio::select! {
            () = logs.flush_wake().wait(pause) => {}
            () = logs.life().stopping() => {
                flush_once(&logs, true).await;
                return Ok(());
            }
        }
    }
}

/// Stores what is due (in a hurry: everything). True if something still waits.
pub(crate) async fn flush_once(logs: &Logs, hurry: bool) -> bool {
    let open = logs.open_logs();
    futures_util::stream::iter(&open)
        .for_each_concurrent(PARALLEL, |log| async {
            if let Err(error) = flush_log(logs, log, hurry).await {
                warn!(attempt = %log.attempt, error = format!("{error:#}"), "log not stored yet; it is tried again");
                let later = logs.clock().monotonic() + timing::LOG_FLUSH;
                logs.with_tail(log, |tail| tail.postpone(later));
            }
        })
        .await;
    let now = logs.clock().monotonic();
    let mut waiting = false;
    for log in &open {
        let (idle, rest) = logs.with_tail(log, |tail| {
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

async fn flush_log(logs: &Logs, log: &Arc<OpenLog>, hurry: bool) -> anyhow::Result<()> {
    loop {
        let now = logs.clock().monotonic();
        let Some(batch) = logs.with_tail(log, |tail| tail.due(now, hurry)) else { return Ok(()) };
        let stored = tokio::time::timeout(STORAGE_TIMEOUT, store_batch(logs, log, batch)).await;
        let Some(durable) = stored.context("storage did not answer in time")?? else {
            logs.forget(log.attempt);
            return Ok(());
        };
        let now = logs.clock().monotonic();
        let complete = logs.with_tail(log, |tail| {
            tail.set_durable(durable, now);
            tail.end().is_some_and(|end| durable >= end)
        });
        if complete {
            logs.seal_wake().ring();
        }
    }
}

/// Stores one segment and books it; gives the row's `durable`, or `None` when the log was closed meanwhile and
/// nothing more of it is taken.
async fn store_batch(logs: &Logs, log: &OpenLog, batch: Vec<Chunk>) -> anyhow::Result<Option<i64>> {
    let packed = logs.life().blocking("pack log segment", move || {
        let segment = Segment::merge(&batch).context("a batch holds no bytes")?;
        let stored = segment.encode().context("a segment does not pack")?;
        anyhow::Ok((segment, stored))
    });
    let (segment, stored) = packed.await.context("packing broke off")??;
    let key = SegmentKey { attempt: log.attempt, start: segment.0.offset };
    let booked = match logs.blobs().put_segment(key, stored).await.context("cannot put a segment")? {
        Put::Created => segment,
        Put::AlreadyExists => match existing(logs, key).await? {
            Some(existing) => existing,
            None => anyhow::bail!("an unreadable object stood at {}; it was removed", key.start),
        },
    };
    crash::point("log.segment_stored");
    let new =
        NewSegment { attempt: log.attempt, start: key.start, end: booked.0.end(), lines: count_lines(&booked.0.bytes) };
    if logs.db().add_log_segment(&new).await.context("cannot book a segment")? {
        return Ok(Some(new.end));
    }
    let row = logs.db().attempt_log(log.attempt).await.context("cannot read the log's row")?;
    Ok((row.state == LogState::Open).then_some(row.durable))
}

/// The segment that somebody else stored here, or we before a crash. One that does not read was never
/// booked, since we stand at `durable`: it is removed and the next try makes it anew.
async fn existing(logs: &Logs, key: SegmentKey) -> anyhow::Result<Option<Segment>> {
    let stored = logs.blobs().get_segment(key).await.context("cannot read the segment that stands there")?;
    match Segment::decode(&stored) {
        Ok(segment) if segment.0.offset == key.start => Ok(Some(segment)),
        Ok(_) | Err(_) => {
            if logs.db().log_segment_at(key.attempt, key.start).await?.is_none() {
                logs.blobs().delete_segment(key).await.context("cannot remove an unreadable object")?;
            }
            Ok(None)
        }
    }
}
