//! Finds bytes of a log by their offset, wherever they lie: in memory here, else in object storage.

pub(crate) mod packed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use moka::sync::Cache;
use slipway_blobs::{BlobError, Mark, SegmentKey};
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::chunk::Chunk;
use slipway_logfmt::segment::Segment;
use slipway_runtime::lifecycle::Task;
use slipway_store::logs::{LogRow, LogSegment};
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use crate::flush::STORAGE_TIMEOUT;
use crate::hole::{Hole, Why};
use crate::logs::Logs;
use crate::problem::ReadError;
use crate::tail::Piece;

/// Stored pieces that are read at once for one reader of many: enough that none waits for each answer.
const AHEAD: usize = 8;
/// Rows that are read at once for it, at first and at most.
const FIRST_ROWS: i64 = 8;
const ROWS: i64 = 256;
/// The end of a line that has no break yet is looked for in so many bytes.
pub(crate) const NEAR_BYTES: i64 = 64 * 1024;
/// What is kept of unpacked pieces, bytes.
const KEPT_BYTES: u64 = 32 << 20;
/// One that nobody reads again is dropped after this time.
const KEPT_IDLE: Duration = Duration::from_secs(60);

/// The piece that holds a byte; `None` if nothing is there (yet).
/// `durable` is what the row said: a log that is open here may have gone on elsewhere.
pub(crate) async fn piece_at(
    logs: &Logs,
    (attempt, durable): (AttemptRef, i64),
    offset: i64,
) -> Result<Option<Arc<Piece>>, ReadError> {
    match piece_here(logs, (attempt, durable), offset) {
        Here::Yes(piece) => Ok(Some(piece)),
        Here::NotYet => Ok(None),
        Here::Elsewhere => stored_piece_at(logs, attempt, offset).await,
    }
}

/// The same for a reader of a few lines, who soon comes again for those beside them: what was unpacked for it is kept a while.
pub(crate) async fn kept_piece_at(logs: &Logs, log: &LogRow, offset: i64) -> Result<Option<Arc<Piece>>, ReadError> {
    let attempt = log.attempt();
    match piece_here(logs, (attempt, log.durable), offset) {
        Here::Yes(piece) => return Ok(Some(piece)),
        Here::NotYet => return Ok(None),
        Here::Elsewhere => {}
    }
    let Some(row) = logs.db().log_segment_at(attempt, offset).await? else { return Ok(None) };
    // A database that was brought back from a backup may give the epoch and the place again, but not the token.
    let key = (attempt, row.start_offset, row.token_hash.clone());
    if let Some(piece) = logs.pieces().get(&key) {
        return Ok(Some(piece));
    }
    let piece = piece_of(logs, attempt, &row).await?;
    if piece.hole.is_none() {
        logs.pieces().insert(key, Arc::clone(&piece));
    }
    Ok(Some(piece))
}

/// Whether a byte is in memory.
enum Here {
    Yes(Arc<Piece>),
    /// Nobody has it yet, as far as is known here.
    NotYet,
    Elsewhere,
}

fn piece_here(logs: &Logs, (attempt, durable): (AttemptRef, i64), offset: i64) -> Here {
    let Some(log) = logs.open_log(attempt) else { return Here::Elsewhere };
    let (piece, ack) = logs.with_tail(&log, |tail| (tail.piece_at(offset), tail.ack()));
    match piece {
        Some(piece) => Here::Yes(piece),
        None if offset >= ack.received.max(durable) => Here::NotYet,
        None => Here::Elsewhere,
    }
}

/// The pieces that hold the bytes in `[from, to)`, in order, up to the first that is not there; stored ones are read while
/// those before them are still looked at. A piece may begin before the last one ended: another writer's, or merged ones.
pub(crate) fn pieces_of(
    logs: Logs,
    attempt: AttemptRef,
    from: i64,
    to: i64,
) -> impl Stream<Item = Result<Arc<Piece>, ReadError>> {
    walk(logs, attempt, (from, to), move |logs, row| async move { piece_of(&logs, attempt, &row).await })
}

/// The same with a way to read what is stored.
fn walk<T, F>(
    logs: Logs,
    attempt: AttemptRef,
    (from, to): (i64, i64),
    read: impl Fn(Logs, LogSegment) -> F,
) -> impl Stream<Item = Result<T, ReadError>>
where
    T: From<Arc<Piece>> + Send + 'static,
    F: Future<Output = Result<T, ReadError>> + Send + 'static,
{
    async_stream::try_stream! {
        let mut places = Places { logs, attempt, at: from, to, rows: VecDeque::new(), page: FIRST_ROWS };
        let mut ahead: VecDeque<Reading<T>> = VecDeque::new();
        loop {
            while ahead.len() < AHEAD {
                // One is always read: whoever is slow to take it holds up nobody else.
                let leave = if ahead.is_empty() { None } else { places.logs.read_ahead() };
                if leave.is_none() && !ahead.is_empty() {
                    break;
                }
                match places.next().await? {
                    Some(Place::Here(piece)) => ahead.push_back(Reading::Done(piece.into())),
                    Some(Place::Stored(row)) => {
                        let read = read(places.logs.clone(), row);
                        // A task of its own, so that it ends also where nobody asks for it any more just now.
                        let read = places.logs.life().task("read log segment", read);
                        ahead.push_back(Reading::Running(read, leave));
                    }
                    None => break,
                }
            }
            match ahead.pop_front() {
                Some(Reading::Done(piece)) => yield piece,
                Some(Reading::Running(read, _leave)) => yield read.join().await.map_err(|_| ReadError::Unpacking)??,
                None => break,
            }
        }
    }
}

/// A piece that will be asked for.
enum Reading<T> {
    Done(T),
    Running(Task<Result<T, ReadError>>, Option<OwnedSemaphorePermit>),
}

/// Where the next piece lies.
enum Place {
    Here(Arc<Piece>),
    Stored(LogSegment),
}

/// Finds the places of pieces that follow each other.
struct Places {
    logs: Logs,
    attempt: AttemptRef,
    at: i64,
    to: i64,
    rows: VecDeque<LogSegment>,
    /// Rows that are read next.
    page: i64,
}

impl Places {
    /// `None` where all was found, or the rest is not there yet.
    async fn next(&mut self) -> Result<Option<Place>, ReadError> {
        if self.at >= self.to {
            return Ok(None);
        }
        if self.rows.is_empty() {
            match piece_here(&self.logs, (self.attempt, self.to), self.at) {
                Here::Yes(piece) => {
                    self.at = piece.chunk.end();
                    return Ok(Some(Place::Here(piece)));
                }
                Here::NotYet => return Ok(None),
                Here::Elsewhere => {}
            }
            self.rows.extend(self.logs.db().log_segments(self.attempt, self.at, self.page).await?);
            self.page = (self.page * 4).min(ROWS);
        }
        let row = self.rows.pop_front().filter(|row| row.start_offset <= self.at);
        if let Some(row) = &row {
            self.at = row.end_offset;
        }
        Ok(row.map(Place::Stored))
    }
}

/// Pieces that were read lately: whose, their first byte, and the hash of the attempt's token.
pub(crate) type Pieces = Cache<(AttemptRef, i64, Vec<u8>), Arc<Piece>>;

pub(crate) fn pieces() -> Pieces {
    let weigh =
        |_: &(AttemptRef, i64, Vec<u8>), piece: &Arc<Piece>| u32::try_from(piece.chunk.cost()).unwrap_or(u32::MAX);
    Cache::builder().weigher(weigh).max_capacity(KEPT_BYTES).time_to_idle(KEPT_IDLE).build()
}

/// The stored piece that holds a byte. What is booked and cannot be had any more is a hole, which names itself.
pub(crate) async fn stored_piece_at(
    logs: &Logs,
    attempt: AttemptRef,
    offset: i64,
) -> Result<Option<Arc<Piece>>, ReadError> {
    match logs.db().log_segment_at(attempt, offset).await? {
        Some(row) => piece_of(logs, attempt, &row).await.map(Some),
        None => Ok(None),
    }
}

async fn piece_of(logs: &Logs, attempt: AttemptRef, row: &LogSegment) -> Result<Arc<Piece>, ReadError> {
    let why = match stored(logs, attempt, row).await {
        Ok(chunk) => return Ok(Piece::stored(chunk)),
        Err(ReadError::Blob(BlobError::NotFound(_))) => Why::Missing,
        Err(ReadError::Damaged { .. }) => Why::Damaged,
        Err(error) => return Err(error),
    };
    let hole = Hole::of(row, why);
    warn!(%attempt, start = hole.from, end = hole.to, ?why, "a stored part of a log cannot be had");
    let chunk = hole.filled(logs.clock().now());
    Ok(Piece::instead(chunk, Some(hole)))
}

/// The stored segment that holds a byte, or why it cannot be had.
pub(crate) async fn stored_at(logs: &Logs, attempt: AttemptRef, offset: i64) -> Result<Option<Chunk>, ReadError> {
    let Some(row) = logs.db().log_segment_at(attempt, offset).await? else { return Ok(None) };
    stored(logs, attempt, &row).await.map(Some)
}

async fn stored(logs: &Logs, attempt: AttemptRef, row: &LogSegment) -> Result<Chunk, ReadError> {
    let object = async || unpacked(logs, row, segment_object(logs, attempt, row).await?).await;
    let archived = async || unpacked(logs, row, archived(logs, attempt, row).await?).await;
    // Whoever reads a row that is older than the archive, or newer than its loss, finds it in the other place.
    let first = if row.archived { archived().await } else { object().await };
    match first {
        Err(error @ (ReadError::Blob(BlobError::NotFound(_)) | ReadError::Damaged { .. })) => {
            let second = if row.archived { object().await } else { archived().await };
            match (error, second) {
                (damaged @ ReadError::Damaged { .. }, Err(ReadError::Blob(BlobError::NotFound(_)))) => Err(damaged),
                (_, second) => second,
            }
        }
        first => first,
    }
}

/// A segment as it was stored.
async fn unpacked(logs: &Logs, row: &LogSegment, stored: Bytes) -> Result<Chunk, ReadError> {
    let damaged = |reason| ReadError::Damaged { start: row.start_offset, reason };
    let unpacked = logs.life().blocking("unpack log segment", move || Segment::decode(&stored));
    let Segment(chunk) = unpacked.await.map_err(|_| ReadError::Unpacking)?.map_err(damaged)?;
    if (chunk.offset, chunk.end()) != (row.start_offset, row.end_offset) {
        return Err(damaged(slipway_logfmt::chunk::DecodeError::Cover));
    }
    Ok(chunk)
}

/// The object of a segment.
pub(crate) async fn segment_object(logs: &Logs, attempt: AttemptRef, row: &LogSegment) -> Result<Bytes, ReadError> {
    let (key, mark) = (SegmentKey { attempt, start: row.start_offset, mark: None }, Mark::of(&row.token_hash));
    let stored = in_time(logs.blobs().get_segment(key)).await?;
    if is_of(&stored, mark) {
        return Ok(stored);
    }
    in_time(logs.blobs().get_segment(SegmentKey { mark: Some(mark), ..key })).await
}

/// A segment out of its log's archive.
pub(crate) async fn archived(logs: &Logs, attempt: AttemptRef, row: &LogSegment) -> Result<Bytes, ReadError> {
    let place = row.object_start.zip(row.object_bytes);
    let place = place.and_then(|(start, bytes)| Some(u64::try_from(start).ok()?..u64::try_from(start + bytes).ok()?));
    // An older release stored it, and no archive holds it.
    let place = place.ok_or_else(|| BlobError::NotFound(format!("segment at {} of {attempt}", row.start_offset)))?;
    in_time(logs.blobs().archive_range(attempt, Mark::of(&row.token_hash), place)).await
}

/// Whether an object is of the attempt with this mark. A database that was brought back from a backup gives epochs
/// again; what the attempts stored that had them before keeps its name, and nobody reads it.
pub(crate) fn is_of(stored: &[u8], Mark(mark): Mark) -> bool {
    Segment::mark(stored).is_none_or(|found| found == mark)
}

async fn in_time(call: impl Future<Output = Result<Bytes, BlobError>>) -> Result<Bytes, ReadError> {
    Ok(tokio::time::timeout(STORAGE_TIMEOUT, call).await.map_err(|_| ReadError::Timeout)??)
}

/// How far a log can be read now.
pub(crate) fn readable_end(logs: &Logs, log: &LogRow) -> i64 {
    let here = logs.open_log(log.attempt()).map(|open| logs.with_tail(&open, |tail| tail.ack().received));
    here.unwrap_or(0).max(log.durable)
}

/// How far a log can be read now, and the line breaks up to there.
pub(crate) async fn readable(logs: &Logs, log: &LogRow) -> Result<(i64, i64), ReadError> {
    let (mut durable, mut lines) = (log.durable, log.lines);
    while let Some(open) = logs.open_log(log.attempt()) {
        let (ack, waiting) = logs.with_tail(&open, |tail| (tail.ack(), tail.lines_behind(durable)));
        if let Some(waiting) = waiting {
            return Ok((ack.received.max(durable), lines + waiting));
        }
        // Some of it was stored since the row was read, and is here no more.
        let row = logs.db().attempt_log(log.attempt()).await?;
        if row.durable <= durable {
            break;
        }
        (durable, lines) = (row.durable, row.lines);
    }
    Ok((durable, lines))
}

/// Where whoever has read a line up to `from` finds its break: the beginning of the piece that has it, or nearly `end` where
/// it is not there yet; what is between has none.
pub(crate) async fn near_break(
    logs: &Logs,
    log: &LogRow,
    line: i64,
    (from, end): (i64, i64),
) -> Result<i64, ReadError> {
    let attempt = log.attempt();
    if let Some(row) = logs.db().log_segment_of_break(attempt, line).await? {
        return Ok(row.start_offset.max(from));
    }
    let mut at = from.max(log.durable);
    while at < end {
        match piece_here(logs, (attempt, log.durable), at) {
            Here::Yes(piece) => {
                let rest = piece.chunk.slice(at, end);
                if rest.is_some_and(|rest| memchr::memchr(b'\n', &rest.bytes).is_some()) {
                    return Ok(at);
                }
                at = piece.chunk.end();
            }
            // Stored meanwhile.
            Here::Elsewhere => match logs.db().log_segment_at(attempt, at).await? {
                Some(row) if row.lines == 0 => at = row.end_offset,
                Some(_) => return Ok(at),
                None => break,
            },
            Here::NotYet => break,
        }
    }
    Ok(from.max(end - NEAR_BYTES))
}

/// Offset of the first byte of a line, counted from 1; `end` if the log has fewer lines below it.
pub(crate) async fn start_of_line(logs: &Logs, log: &LogRow, line: i64, end: i64) -> Result<i64, ReadError> {
    if line <= 1 {
        return Ok(0);
    }
    let wanted = line - 1;
    let (mut at, mut breaks) = match logs.db().log_segment_of_break(log.attempt(), wanted).await? {
        Some(segment) => (segment.start_offset, segment.first_line),
        // Not in storage at the moment of this question: count from what the row said.
        None if wanted > log.lines => (log.durable, log.lines),
        None => (0, 0),
    };
    while at < end {
        let Some(piece) = kept_piece_at(logs, log, at).await? else { break };
        let Some(part) = piece.chunk.slice(at, end) else { break };
        for place in memchr::memchr_iter(b'\n', &part.bytes) {
            breaks += 1;
            if breaks == wanted {
                return Ok(part.offset + place as i64 + 1);
            }
        }
        at = part.end();
    }
    Ok(end)
}

/// Offset of the first byte of the last `lines` lines below `end`; a line that has no end yet counts.
pub(crate) async fn start_of_tail(logs: &Logs, log: &LogRow, lines: u64, end: i64) -> Result<i64, ReadError> {
    let mut left = lines;
    if left == 0 {
        return Ok(end);
    }
    let mut at = end;
    while at > 0 {
        let Some(piece) = piece_at(logs, (log.attempt(), log.durable), at - 1).await? else { break };
        let Some(part) = piece.chunk.slice(0, at) else { break };
        for place in memchr::memrchr_iter(b'\n', &part.bytes) {
            let after = part.offset + place as i64 + 1;
            // The break at the very end closes the last line, it begins none.
            if after == end {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(after);
            }
        }
        at = part.offset;
    }
    Ok(at)
}
