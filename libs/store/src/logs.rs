//! Logs of attempts: how far each is durable, which segments hold it, how it ended.
//!
//! Race: two log services store the segment that begins at `durable`. Row: `attempt_logs.durable`, moved by
//! compare-and-set together with the segment's row, after the object exists. The loser reads the row again
//! and goes on behind the winner. If we die between object and row, the next writer finds the object at
//! this start and books it instead of its own.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use slipway_domain::agent::LogEnd;
use slipway_domain::attempt::{AttemptRef, AttemptState};
use slipway_domain::ids::{BuildId, JobId};
use slipway_domain::job::JobState;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::batches;
use crate::batches::logs::EndRow;
use crate::db::{execute, on_db};
use crate::error::{Result, StoreError};
use crate::jobs::TRY_AGAIN;
use crate::readable::readable;
use crate::scope::Scope;

/// Whether a log may still grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum LogState {
    /// It grows, or its rest is awaited.
    Open,
    /// Whole: its bytes have the hash that the builder announced.
    Sealed,
    /// Its rest never came; it is cut at `durable`.
    Cut,
    /// Stored, but not what the builder announced.
    Damaged,
}

/// The row of a log.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LogRow {
    /// The job.
    pub job_id: JobId,
    /// The attempt's epoch.
    pub epoch: i64,
    /// Whether it may still grow.
    pub state: LogState,
    /// Bytes below this are in object storage.
    pub durable: i64,
    /// Line breaks below `durable`.
    pub lines: i64,
    /// Length of the whole stream, once announced.
    pub end_offset: Option<i64>,
    /// SHA-256 of it, lower-case hexadecimal.
    pub sha256: Option<String>,
    /// SHA-256 of the attempt's token.
    pub token_hash: Vec<u8>,
    /// Whether the attempt still runs.
    pub attempt_state: AttemptState,
    /// When the attempt was closed.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A job's newest log, or that of one attempt, as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView {
    /// The job's build.
    pub build: BuildId,
    /// Where the job stands.
    pub job_state: JobState,
    /// The newest attempt's epoch; 0 before the first claim.
    pub newest_epoch: i64,
    /// The log; `None` before the first claim.
    pub log: Option<LogRow>,
}

/// One stored run of a log.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LogSegment {
    /// Its first byte.
    pub start_offset: i64,
    /// The byte after its last one.
    pub end_offset: i64,
    /// Line breaks before it.
    pub first_line: i64,
    /// Line breaks in it.
    pub lines: i64,
    /// SHA-256 of the attempt's token, by which its object is named.
    pub token_hash: Vec<u8>,
    /// The log has an archive, and this is to be read there.
    pub archived: bool,
    /// Where its object begins in the archive; `None` where an older release stored it.
    pub object_start: Option<i64>,
    /// Bytes of its object.
    pub object_bytes: Option<i64>,
}

/// The lines of a stored run.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SegmentOutline {
    /// Its first byte.
    pub start_offset: i64,
    /// The byte after its last one.
    pub end_offset: i64,
    /// Line breaks before it.
    pub first_line: i64,
    /// Line breaks in it.
    pub lines: i64,
    /// Whose lines; `None` where nobody wrote it down.
    pub outline: Option<Json<Value>>,
}

/// A segment whose object exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSegment {
    /// Whose log.
    pub attempt: AttemptRef,
    /// Its first byte; must be `durable`.
    pub start: i64,
    /// The byte after its last one.
    pub end: i64,
    /// Line breaks in it.
    pub lines: i64,
    /// Whose lines, as the service that takes logs in writes it.
    pub outline: Option<Value>,
    /// Bytes of its object.
    pub object_bytes: i64,
    /// The stream up to its end has the announced hash: where that end is the announced one, the log is sealed.
    pub whole: bool,
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    /// It is part of the log.
    Yes,
    /// It is, and the log is sealed with it.
    Sealed,
    /// `durable` was no longer at its start, or the log is not open: read the row again.
    No,
}

/// Segments of a log, its job as `$1` and its epoch as `$2`.
macro_rules! segments {
    ($which:literal) => {
        concat!(
            "select s.start_offset, s.end_offset, s.first_line, s.lines, a.token_hash, \
            l.archived_at is not null as archived, s.object_start, s.object_bytes from log_segments s \
            join attempt_logs l on l.job_id = s.job_id and l.epoch = s.epoch \
            join attempts a on a.job_id = s.job_id and a.epoch = s.epoch where s.job_id = $1 and s.epoch = $2 and ",
            $which
        )
    };
}

const LOG: &str = "select l.job_id, l.epoch, l.state, l.durable, l.lines, l.end_offset, l.sha256, a.token_hash, \
    a.state as attempt_state, a.finished_at from attempt_logs l \
    join attempts a on a.job_id = l.job_id and a.epoch = l.epoch where l.job_id = $1 and l.epoch = $2";

const UNSEALED: &str = "select l.job_id, l.epoch, l.state, l.durable, l.lines, l.end_offset, l.sha256, a.token_hash, \
    a.state as attempt_state, a.finished_at from attempt_logs l \
    join attempts a on a.job_id = l.job_id and a.epoch = l.epoch \
    where l.state = 'open' \
    and (l.durable >= l.end_offset or (a.finished_at < $1 and (l.grown_at is null or l.grown_at < $1))) \
    and (l.seal_after is null or l.seal_after <= $2) order by l.created_at limit $3";

impl Db {
    /// The log of an attempt, for the service that takes it in. Whose it is, is checked by the token.
    pub async fn attempt_log(&self, attempt: AttemptRef) -> Result<LogRow> {
        on_db!(self, conn => sqlx::query_as::<_, LogRow>(LOG)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("attempt"))
    }

    /// A job's log, if the caller may see its build: that of one epoch, or the newest.
    pub async fn log_view(&self, scope: &Scope, job: JobId, epoch: Option<i64>) -> Result<LogView> {
        const VISIBLE: &str = "select j.build_id, j.state, j.epoch from jobs j join projects p on p.id = j.project_id \
            where j.id = $1 and ($2 or j.tenant_id = $3 or p.visibility = 'public')";
        let sight = scope.sight();
        let row: Option<(BuildId, JobState, i64)> = on_db!(self, conn => sqlx::query_as(VISIBLE)
            .bind(job)
            .bind(sight.all)
            .bind(sight.tenant)
            .fetch_optional(conn)
            .await?);
        let (build, job_state, newest_epoch) = row.ok_or(StoreError::NotFound("job"))?;
        let wanted = epoch.unwrap_or(newest_epoch);
        let log = match self.attempt_log(AttemptRef { job, epoch: wanted }).await {
            Ok(log) => Some(log),
            Err(StoreError::NotFound(_)) if epoch.is_none() => None,
            Err(error) => return Err(error),
        };
        Ok(LogView { build, job_state, newest_epoch, log })
    }

    /// The segment that holds a byte.
    pub async fn log_segment_at(&self, attempt: AttemptRef, offset: i64) -> Result<Option<LogSegment>> {
        const AT: &str = segments!("s.start_offset <= $3 and s.end_offset > $3 order by s.start_offset desc limit 1");
        self.one_segment(AT, attempt, offset).await
    }

    /// The segments that hold bytes from this one on, at most so many, in order.
    pub async fn log_segments(&self, attempt: AttemptRef, from: i64, limit: i64) -> Result<Vec<LogSegment>> {
        const FROM: &str = segments!(
            "s.end_offset > $3 and s.start_offset >= (select coalesce(max(b.start_offset), 0) from log_segments b \
            where b.job_id = $1 and b.epoch = $2 and b.start_offset <= $3) order by s.start_offset limit $4"
        );
        Ok(on_db!(self, conn => sqlx::query_as(FROM)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .bind(from)
            .bind(limit)
            .fetch_all(conn)
            .await?))
    }

    /// The segment in which the given line break lies, counted from 1; the first byte of line `n + 1`
    /// stands behind line break `n`.
    pub async fn log_segment_of_break(&self, attempt: AttemptRef, line_break: i64) -> Result<Option<LogSegment>> {
        const OF_BREAK: &str =
            segments!("s.first_line < $3 and s.first_line + s.lines >= $3 order by s.start_offset limit 1");
        self.one_segment(OF_BREAK, attempt, line_break).await
    }

    /// The lines of everything that is stored from this byte on, at most so many runs, in order.
    pub async fn log_outlines(&self, attempt: AttemptRef, from: i64, limit: i64) -> Result<Vec<SegmentOutline>> {
        const OUTLINES: &str = "select start_offset, end_offset, first_line, lines, outline from log_segments \
            where job_id = $1 and epoch = $2 and start_offset >= $3 order by start_offset limit $4";
        Ok(on_db!(self, conn => sqlx::query_as(OUTLINES)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .bind(from)
            .bind(limit)
            .fetch_all(conn)
            .await?))
    }

    /// Books segments whose objects exist, in their order; no two of one log.
    pub async fn add_log_segments(&self, new: &[NewSegment], now: DateTime<Utc>) -> Result<Vec<Booked>> {
        let mut tx = self.begin_write().await?;
        let advanced = batches::logs::add_segments(&mut tx, new, now).await?;
        tx.commit().await?;
        let booked = |segment| match advanced.iter().find(|log| log.booked(segment)) {
            Some(log) if log.state == LogState::Sealed => Booked::Sealed,
            Some(_) => Booked::Yes,
            None => Booked::No,
        };
        Ok(new.iter().map(booked).collect())
    }

    /// The builders announced whole streams. The first word about each counts; gives what is stored, in their
    /// order, and `None` for a log that was closed without an end.
    pub async fn end_logs(&self, ends: &[(AttemptRef, LogEnd)], now: DateTime<Utc>) -> Result<Vec<Option<LogEnd>>> {
        let rows: Vec<EndRow<'_>> = ends
            .iter()
            .map(|(attempt, end)| EndRow {
                job_id: attempt.job,
                epoch: attempt.epoch,
                end_offset: end.end,
                sha256: &end.sha256,
            })
            .collect();
        let mut tx = self.begin_write().await?;
        batches::logs::end_logs(&mut tx, &rows, now).await?;
        let stored = batches::logs::ends_of_logs(&mut tx, &rows).await?;
        tx.commit().await?;
        let stored: HashMap<AttemptRef, LogEnd> = stored
            .into_iter()
            .filter_map(|(job, epoch, end, sha256)| {
                Some((AttemptRef { job, epoch }, LogEnd { end: end?, sha256: sha256? }))
            })
            .collect();
        Ok(ends.iter().map(|(attempt, _)| stored.get(attempt).cloned()).collect())
    }

    /// Open logs that can be sealed: all announced bytes are durable, or the attempt was closed before `cut_before`, nothing
    /// came since then, and the rest is given up. Oldest first, without those that were postponed beyond `now`.
    pub async fn unsealed_logs(
        &self,
        now: DateTime<Utc>,
        cut_before: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<LogRow>> {
        let mut logs: Vec<LogRow> = readable!(self, "attempt_logs", UNSEALED, [cut_before, now], limits[limit]);
        logs.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(logs)
    }

    /// Lets others be sealed first for a while, because sealing this one failed.
    pub async fn postpone_seal(&self, attempt: AttemptRef, now: DateTime<Utc>) -> Result<()> {
        const POSTPONE: &str = "update attempt_logs set seal_after = $3 where job_id = $1 and epoch = $2";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, POSTPONE, attempt.job, attempt.epoch, now + TRY_AGAIN);
        tx.commit().await
    }

    /// Closes a log for good at the given length. False if it was closed already or has grown.
    pub async fn seal_log(&self, log: &LogRow, state: LogState, now: DateTime<Utc>) -> Result<bool> {
        const SEAL: &str = "update attempt_logs set state = $4, sealed_at = $5, \
            archive_after = case when $4 = 'sealed' then $5 end \
            where job_id = $1 and epoch = $2 and durable = $3 and state = 'open'";
        let mut tx = self.begin_write().await?;
        let sealed = execute!(&mut tx, SEAL, log.job_id, log.epoch, log.durable, state, now);
        tx.commit().await?;
        Ok(sealed == 1)
    }

    async fn one_segment(&self, sql: &'static str, attempt: AttemptRef, place: i64) -> Result<Option<LogSegment>> {
        Ok(on_db!(self, conn => sqlx::query_as::<_, LogSegment>(sql)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .bind(place)
            .fetch_optional(conn)
            .await?))
    }
}

impl LogRow {
    /// The announced end.
    pub fn announced(&self) -> Option<LogEnd> {
        Some(LogEnd { end: self.end_offset?, sha256: self.sha256.clone()? })
    }

    /// Whose log.
    pub fn attempt(&self) -> AttemptRef {
        AttemptRef { job: self.job_id, epoch: self.epoch }
    }
}
