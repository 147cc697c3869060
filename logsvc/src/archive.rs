//! Makes one object of a sealed log: its segments one behind the other, which any reader of zstd reads as the whole log,
//! and of which each segment is a range; at its end is a table of its frames, so that other tools may seek in it. Any number
//! of services may run this.
//!
//! 1. A log that was sealed with several segments is due. Whoever takes the lease copies them; if it dies, the next one
//!    does so again, to the same name and with the same bytes.
//! 2. When the archive is durable, its row says so, by compare-and-set; readers find the segments there.
//! 3. A while later the archive is read once, and where it is whole the segments are removed. Readers who knew only them
//!    have finished, or look into the archive.
//!
//! A log of which a segment is missing or damaged stays as it is: its readers show the rest.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::{Stream, TryStreamExt as _};
use slipway_blobs::{BlobError, Mark, SegmentKey};
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::chunk::DecodeError;
use slipway_logfmt::seek_table::SeekTable;
use slipway_logfmt::segment::Segment;
use slipway_store::log_archives::DueArchive;
use slipway_store::logs::LogSegment;
use tracing::{info, warn};

use crate::logs::Logs;
use crate::problem::ReadError;
use crate::reader;
use crate::storage::{READS, WRITES};

/// Between two looks for logs that are due.
const EVERY: Duration = Duration::from_secs(5);
/// Nobody else takes a log for so long; one of 4 GiB takes a few minutes.
const LEASE: TimeDelta = TimeDelta::minutes(15);
/// Until the segments of an archive are removed: longer than any answer that began with them.
pub(crate) const REMOVE_AFTER: TimeDelta = TimeDelta::minutes(30);
/// Rows that are read at once.
const ROWS: i64 = 256;

/// The loop.
pub(crate) async fn run(logs: Logs) -> anyhow::Result<()> {
    while !logs.life().is_stopping() {
        if let Err(error) = archive_once(&logs).await {
            warn!(error = format!("{error:#}"), "logs not archived; it is tried again");
        }
        tokio::select! {
            () = logs.clock().sleep(EVERY) => {}
            () = logs.life().stopping() => {}
        }
    }
    Ok(())
}

/// Does what is due, until nothing is, or storage fails.
pub(crate) async fn archive_once(logs: &Logs) -> Result<(), ReadError> {
    // What would fail is not begun: its lease would be lost.
    while !logs.life().is_stopping() && [READS, WRITES].iter().all(|calls| logs.storage().retry_in(calls).is_zero()) {
        let now = logs.db().now(logs.clock()).await?;
        let due = logs.db().lease_archives(now, now + LEASE, 1).await?;
        let Some(log) = due.first().copied() else { break };
        let attempt = log.attempt();
        let done = tokio::select! {
            done = look(logs, log) => done,
            () = logs.life().stopping() => break,
        };
        match done {
            Ok(()) => {}
            Err(error @ (ReadError::Damaged { .. } | ReadError::Blob(BlobError::NotFound(_)))) => {
                warn!(%attempt, error = format!("{error:#}"), "a log stays in segments");
                logs.db().settle_archive(log).await?;
            }
            // It is due again when the lease is over.
            Err(error) => {
                warn!(%attempt, error = format!("{error:#}"), "log not archived yet");
                break;
            }
        }
    }
    Ok(())
}

async fn look(logs: &Logs, log: DueArchive) -> Result<(), ReadError> {
    let attempt = log.attempt();
    let mark = Mark::of(&logs.db().attempt_log(attempt).await?.token_hash);
    if log.archived { remove_segments(logs, log, mark).await } else { archive(logs, log, mark).await }
}

async fn archive(logs: &Logs, log: DueArchive, mark: Mark) -> Result<(), ReadError> {
    let attempt = log.attempt();
    let segments = logs.db().log_segments(attempt, 0, 2).await?;
    // One needs no archive; those of older releases have no place in one. The others are looked at as they are read.
    if segments.len() < 2 || segments.iter().any(|row| row.object_start.is_none()) {
        return Ok(logs.db().settle_archive(log).await?);
    }
    logs.blobs().put_archive(attempt, mark, objects(logs.clone(), attempt, mark)).await?;
    let now = logs.db().now(logs.clock()).await?;
    if logs.db().archive_log(attempt, now, now + REMOVE_AFTER).await? {
        info!(%attempt, "log archived");
    }
    Ok(())
}

/// The objects of all segments, in order, and a table of their frames; an error where one is not what the archive must have
/// there. One at a time: what is not asked for just now would hold a place among the calls to storage.
fn objects(logs: Logs, attempt: AttemptRef, mark: Mark) -> impl Stream<Item = Result<Bytes, ReadError>> {
    async_stream::try_stream! {
        let (mut end, mut table) = (0, SeekTable::default());
        for await row in rows(logs.clone(), attempt) {
            let row = row?;
            let object = reader::segment_object(&logs, attempt, &row).await?;
            let bytes = object.len() as i64;
            if (row.object_start, row.object_bytes) != (Some(end), Some(bytes)) || !is_ours(&object, mark) {
                Err(ReadError::Damaged { start: row.start_offset, reason: DecodeError::Checksum })?;
            }
            end += bytes;
            table.push(&object).map_err(|reason| ReadError::Damaged { start: row.start_offset, reason })?;
            yield object;
        }
        if let Some(table) = table.finish() {
            yield table.into();
        }
    }
}

/// The segments of a log, in order.
fn rows(logs: Logs, attempt: AttemptRef) -> impl Stream<Item = Result<LogSegment, ReadError>> {
    async_stream::try_stream! {
        let mut from = 0;
        loop {
            let page = logs.db().log_segments(attempt, from, ROWS).await?;
            let Some(last) = page.last() else { break };
            from = last.end_offset;
            for row in page {
                yield row;
            }
        }
    }
}

async fn remove_segments(logs: &Logs, log: DueArchive, mark: Mark) -> Result<(), ReadError> {
    let attempt = log.attempt();
    let rows: Vec<LogSegment> = rows(logs.clone(), attempt).try_collect().await?;
    for row in &rows {
        // From now on it is the only copy.
        let whole = match reader::archived(logs, attempt, row).await {
            Ok(object) => is_ours(&object, mark),
            Err(ReadError::Blob(BlobError::NotFound(_))) => false,
            Err(error) => return Err(error),
        };
        if !whole {
            warn!(%attempt, start = row.start_offset, "the archive of a log is not whole; it is made anew");
            let now = logs.db().now(logs.clock()).await?;
            return Ok(logs.db().unarchive_log(log, now).await?);
        }
    }
    for row in &rows {
        let key = SegmentKey { attempt, start: row.start_offset, mark: None };
        // An attempt of a lost time may have the name without a mark.
        let mark = match logs.blobs().get_segment(key).await {
            Ok(object) if is_ours(&object, mark) => None,
            Ok(_) | Err(BlobError::NotFound(_)) => Some(mark),
            Err(error) => return Err(error.into()),
        };
        logs.blobs().delete_segment(SegmentKey { mark, ..key }).await?;
    }
    Ok(logs.db().settle_archive(log).await?)
}

/// Whether an object is unchanged, and of this attempt.
fn is_ours(object: &Bytes, Mark(mark): Mark) -> bool {
    Segment::is_intact(object) && Segment::mark(object) == Some(mark)
}
