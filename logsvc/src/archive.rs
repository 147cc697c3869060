//! Makes one object of a sealed log: its segments one behind the other, which any reader of zstd reads as the whole log,
//! and of which each segment is a range. Any number of services may run this.
//!
//! 1. A log that was sealed with several segments is due. Whoever takes the lease copies them; if it dies, the next one
//!    does so again, to the same name and with the same bytes.
//! 2. When the archive is durable, its row says so, by compare-and-set; readers find the segments there.
//! 3. A while later the archive is looked for once more, and then the segments are removed. Readers who knew only them
//!    have finished, or look into the archive.
//!
//! A log of which a segment is missing or damaged stays as it is: its readers show the rest.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use slipway_blobs::{BlobError, Mark, SegmentKey};
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::segment::{Segment, TRAILER_BYTES};
use slipway_store::log_archives::DueArchive;
use slipway_store::logs::LogSegment;
use tracing::{info, warn};

use crate::logs::Logs;
use crate::problem::ReadError;
use crate::reader;
use crate::storage::{READS, WRITES};

/// Between two looks for logs that are due.
const EVERY: Duration = Duration::from_secs(5);
/// Logs that are taken at once.
const BATCH: i64 = 8;
/// Nobody else takes a log for so long; a log of 4 GiB takes a minute or two.
const LEASE: TimeDelta = TimeDelta::minutes(15);
/// Until the segments of an archive are removed: longer than any answer that began with them.
const REMOVE_AFTER: TimeDelta = TimeDelta::minutes(30);
/// Rows that are read at once.
const ROWS: i64 = 256;
/// Segments that are read at once.
const AHEAD: usize = 4;

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

/// Does what is due, until nothing is.
pub(crate) async fn archive_once(logs: &Logs) -> Result<(), ReadError> {
    // What would fail is not begun: its lease would be lost.
    while !logs.life().is_stopping() && !logs.storage().is_out(READS) && !logs.storage().is_out(WRITES) {
        let now = logs.db().now(logs.clock()).await?;
        let due = logs.db().lease_archives(now, now + LEASE, BATCH).await?;
        if due.is_empty() {
            break;
        }
        for log in due {
            let attempt = log.attempt();
            let done = if log.archived { remove_segments(logs, log, now).await } else { archive(logs, log, now).await };
            match done {
                Ok(()) => {}
                Err(error @ (ReadError::Damaged { .. } | ReadError::Blob(BlobError::NotFound(_)))) => {
                    warn!(%attempt, error = format!("{error:#}"), "a log stays in segments");
                    logs.db().settle_archive(attempt).await?;
                }
                // It is due again when the lease is over.
                Err(error) => warn!(%attempt, error = format!("{error:#}"), "log not archived yet"),
            }
        }
    }
    Ok(())
}

async fn archive(logs: &Logs, log: DueArchive, now: DateTime<Utc>) -> Result<(), ReadError> {
    let attempt = log.attempt();
    let row = logs.db().attempt_log(attempt).await?;
    let segments = logs.db().log_segments(attempt, 0, 2).await?;
    let known = |row: &LogSegment| row.object_start.is_some();
    if segments.len() < 2 || !segments.iter().all(known) {
        return Ok(logs.db().settle_archive(attempt).await?);
    }
    let objects = objects(logs.clone(), attempt);
    logs.blobs().put_archive(attempt, Mark::of(&row.token_hash), objects).await?;
    if logs.db().archive_log(attempt, now, now + REMOVE_AFTER).await? {
        info!(%attempt, bytes = row.durable, "log archived");
    }
    Ok(())
}

/// The objects of all segments, in order; an error where one is not where the archive must have it.
fn objects(logs: Logs, attempt: AttemptRef) -> impl Stream<Item = Result<Bytes, ReadError>> {
    rows(logs.clone(), attempt)
        .map_ok(move |row| {
            let logs = logs.clone();
            async move {
                let (_, object) = reader::segment_object(&logs, attempt, &row).await?;
                Ok((row, object))
            }
        })
        .try_buffered(AHEAD)
        .scan(0, |at, object: Result<(LogSegment, Bytes), ReadError>| {
            let placed = object.and_then(|(row, object)| {
                let bytes = object.len() as i64;
                if (row.object_start, row.object_bytes) != (Some(*at), Some(bytes)) {
                    let reason = slipway_logfmt::chunk::DecodeError::Cover;
                    return Err(ReadError::Damaged { start: row.start_offset, reason });
                }
                *at += bytes;
                Ok(object)
            });
            std::future::ready(Some(placed))
        })
}

/// The segments of a log, in order.
fn rows(logs: Logs, attempt: AttemptRef) -> impl Stream<Item = Result<LogSegment, ReadError>> {
    let pages = stream::try_unfold(Some(0), move |from| {
        let logs = logs.clone();
        async move {
            let Some(from) = from else { return Ok(None) };
            let rows = logs.db().log_segments(attempt, from, ROWS).await?;
            let next = rows.last().map(|row| row.end_offset);
            Ok::<_, ReadError>((!rows.is_empty()).then(|| (stream::iter(rows.into_iter().map(Ok)), next)))
        }
    });
    pages.try_flatten()
}

async fn remove_segments(logs: &Logs, log: DueArchive, now: DateTime<Utc>) -> Result<(), ReadError> {
    let attempt = log.attempt();
    let mark = Mark::of(&logs.db().attempt_log(attempt).await?.token_hash);
    let rows: Vec<LogSegment> = rows(logs.clone(), attempt).try_collect().await?;
    let end = rows.last().and_then(|row| u64::try_from(row.object_start? + row.object_bytes?).ok());
    let there = logs.blobs().archive_bytes(attempt, mark).await?;
    if there.is_none() || there != end {
        warn!(%attempt, ?there, expected = ?end, "the archive of a log is gone; it is made anew");
        return Ok(logs.db().unarchive_log(attempt, now).await?);
    }
    for row in &rows {
        let key = SegmentKey { attempt, start: row.start_offset, mark: None };
        if is_ours(logs, key, row, mark).await? {
            logs.blobs().delete_segment(key).await?;
        }
        logs.blobs().delete_segment(SegmentKey { mark: Some(mark), ..key }).await?;
    }
    Ok(logs.db().settle_archive(attempt).await?)
}

/// Whether the object under the name without a mark is of this attempt, and none that another left there.
async fn is_ours(logs: &Logs, key: SegmentKey, row: &LogSegment, mark: Mark) -> Result<bool, ReadError> {
    let bytes = row.object_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    let trailer = bytes.saturating_sub(TRAILER_BYTES as u64)..bytes;
    match logs.blobs().segment_range(key, trailer).await {
        Ok(trailer) => Ok(Segment::mark(&trailer) == Some(mark.0)),
        Err(BlobError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Until segments are removed.
#[cfg(test)]
pub(crate) fn remove_after() -> Duration {
    REMOVE_AFTER.to_std().unwrap_or_default()
}
