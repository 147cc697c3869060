//! Logs of attempts.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use sqlx::FromRow;
use sqlx::types::Json;

use super::Dialects;
use crate::db::{Tx, execute, on_tx};
use crate::error::Result;
use crate::log_archives::DueArchive;
use crate::logs::{LogState, NewSegment};

/// The end of a log as its builder said it.
#[derive(Serialize)]
pub(crate) struct EndRow<'a> {
    pub(crate) job_id: JobId,
    pub(crate) epoch: i64,
    pub(crate) end_offset: i64,
    pub(crate) sha256: &'a str,
}

/// Ends logs; the first word about each counts.
pub(crate) async fn end_logs(tx: &mut Tx, ends: &[EndRow<'_>], now: DateTime<Utc>) -> Result<()> {
    const END: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint, \
            end_offset bigint, sha256 text)), \
            held as materialized (select l.job_id as held_id, l.epoch as held_epoch from attempt_logs l \
            join r on r.job_id = l.job_id and r.epoch = l.epoch where l.end_offset is null and l.state = 'open' \
            order by l.job_id for update of l) \
            update attempt_logs l set end_offset = r.end_offset, sha256 = r.sha256, ended_at = $2 \
            from held join r on r.job_id = held.held_id and r.epoch = held.held_epoch \
            where l.job_id = held.held_id and l.epoch = held.held_epoch and l.end_offset is null",
        sqlite: "update attempt_logs set end_offset = v ->> 'end_offset', sha256 = v ->> 'sha256', ended_at = $2 \
            from (select unhex(value ->> 'job_id', '-') as ended, value ->> 'epoch' as at, value as v \
            from json_each($1)) as r where attempt_logs.job_id = r.ended and attempt_logs.epoch = r.at \
            and attempt_logs.end_offset is null and attempt_logs.state = 'open'",
    };
    let sql = END.in_tx(tx);
    execute!(tx, sql, Json(ends), now);
    Ok(())
}

/// How the logs of these attempts end, as far as it is known: job, epoch, length and hash.
pub(crate) async fn ends_of_logs(
    tx: &mut Tx,
    ends: &[EndRow<'_>],
) -> Result<Vec<(JobId, i64, Option<i64>, Option<String>)>> {
    const ENDS: Dialects = Dialects {
        postgres: "select l.job_id, l.epoch, l.end_offset, l.sha256 from attempt_logs l \
            join jsonb_to_recordset($1) as r(job_id uuid, epoch bigint) on r.job_id = l.job_id and r.epoch = l.epoch",
        sqlite: "select l.job_id, l.epoch, l.end_offset, l.sha256 from attempt_logs l join json_each($1) as r \
            on l.job_id = unhex(r.value ->> 'job_id', '-') and l.epoch = r.value ->> 'epoch'",
    };
    let sql = ENDS.in_tx(tx);
    Ok(on_tx!(tx, conn => sqlx::query_as(sql).bind(Json(ends)).fetch_all(conn).await?))
}

#[derive(Serialize)]
struct SegmentRow<'a> {
    job_id: JobId,
    epoch: i64,
    start_offset: i64,
    end_offset: i64,
    first_line: i64,
    lines: i64,
    outline: Option<&'a Value>,
    object_start: i64,
    object_bytes: i64,
    whole: bool,
}

impl<'a> SegmentRow<'a> {
    fn new(segment: &'a NewSegment, first_line: i64, object_start: i64) -> Self {
        Self {
            job_id: segment.attempt.job,
            epoch: segment.attempt.epoch,
            start_offset: segment.start,
            end_offset: segment.end,
            first_line,
            lines: segment.lines,
            outline: segment.outline.as_ref(),
            object_start,
            object_bytes: segment.object_bytes,
            whole: segment.whole,
        }
    }
}

/// A log that went on.
#[derive(FromRow)]
pub(crate) struct Advanced {
    pub(crate) job_id: JobId,
    pub(crate) epoch: i64,
    pub(crate) durable: i64,
    pub(crate) lines: i64,
    stored_bytes: i64,
    pub(crate) state: LogState,
}

/// Books segments whose objects exist, where `durable` is at their start and the log is open; gives what went on.
pub(crate) async fn add_segments(tx: &mut Tx, new: &[NewSegment], now: DateTime<Utc>) -> Result<Vec<Advanced>> {
    const ADVANCE: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint, \
            start_offset bigint, end_offset bigint, lines bigint, object_bytes bigint, whole boolean)), \
            held as materialized (select l.job_id as held_id, l.epoch as held_epoch from attempt_logs l \
            join r on r.job_id = l.job_id and r.epoch = l.epoch where l.durable = r.start_offset and l.state = 'open' \
            order by l.job_id for update of l) \
            update attempt_logs l set durable = r.end_offset, lines = l.lines + r.lines, grown_at = $2, \
            stored_bytes = l.stored_bytes + r.object_bytes, \
            state = case when r.whole and l.end_offset = r.end_offset then 'sealed' else l.state end, \
            sealed_at = case when r.whole and l.end_offset = r.end_offset then $2 else l.sealed_at end, \
            archive_after = case when r.whole and l.end_offset = r.end_offset and r.start_offset > 0 then $2 end \
            from held join r on r.job_id = held.held_id and r.epoch = held.held_epoch \
            where l.job_id = held.held_id and l.epoch = held.held_epoch and l.durable = r.start_offset \
            returning l.job_id, l.epoch, l.durable, l.lines, l.stored_bytes, l.state",
        sqlite: "update attempt_logs set durable = v ->> 'end_offset', lines = lines + (v ->> 'lines'), grown_at = $2, \
            stored_bytes = stored_bytes + (v ->> 'object_bytes'), \
            state = case when v ->> 'whole' and end_offset = v ->> 'end_offset' then 'sealed' else state end, \
            sealed_at = case when v ->> 'whole' and end_offset = v ->> 'end_offset' then $2 else sealed_at end, \
            archive_after = case when v ->> 'whole' and end_offset = v ->> 'end_offset' and v ->> 'start_offset' > 0 \
            then $2 end \
            from (select unhex(value ->> 'job_id', '-') as grown, value ->> 'epoch' as at, value as v \
            from json_each($1)) as r where attempt_logs.job_id = r.grown and attempt_logs.epoch = r.at \
            and attempt_logs.durable = v ->> 'start_offset' and attempt_logs.state = 'open' \
            returning job_id, epoch, durable, lines, stored_bytes, state",
    };
    const INSERT: Dialects = Dialects {
        postgres: "insert into log_segments (job_id, epoch, start_offset, end_offset, first_line, lines, outline, \
            object_start, object_bytes) \
            select r.job_id, r.epoch, r.start_offset, r.end_offset, r.first_line, r.lines, r.outline, \
            r.object_start, r.object_bytes \
            from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint, start_offset bigint, end_offset bigint, \
            first_line bigint, lines bigint, outline jsonb, object_start bigint, object_bytes bigint)",
        sqlite: "insert into log_segments (job_id, epoch, start_offset, end_offset, first_line, lines, outline, \
            object_start, object_bytes) \
            select unhex(value ->> 'job_id', '-'), value ->> 'epoch', value ->> 'start_offset', \
            value ->> 'end_offset', value ->> 'first_line', value ->> 'lines', value ->> 'outline', \
            value ->> 'object_start', value ->> 'object_bytes' from json_each($1)",
    };
    let rows: Vec<SegmentRow<'_>> = new.iter().map(|segment| SegmentRow::new(segment, 0, 0)).collect();
    let (advance, insert) = (ADVANCE.in_tx(tx), INSERT.in_tx(tx));
    let advanced: Vec<Advanced> =
        on_tx!(tx, conn => sqlx::query_as(advance).bind(Json(&rows)).bind(now).fetch_all(conn).await?);
    let booked: Vec<SegmentRow<'_>> = new
        .iter()
        .filter_map(|segment| {
            let log = advanced.iter().find(|log| log.booked(segment))?;
            let object_start = log.stored_bytes - segment.object_bytes;
            Some(SegmentRow::new(segment, log.lines - segment.lines, object_start))
        })
        .collect();
    if !booked.is_empty() {
        execute!(tx, insert, Json(&booked));
    }
    Ok(advanced)
}

impl Advanced {
    /// Whether it went on by this segment.
    pub(crate) fn booked(&self, segment: &NewSegment) -> bool {
        let attempt = AttemptRef { job: self.job_id, epoch: self.epoch };
        attempt == segment.attempt && self.durable == segment.end
    }
}

/// Moves on when logs are looked at next, of those whose time has come.
pub(crate) async fn lease_archives(
    tx: &mut Tx,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DueArchive>> {
    const LEASE: Dialects = Dialects {
        postgres: "update attempt_logs l set archive_after = $2 from (select job_id, epoch from attempt_logs \
            where archive_after <= $1 order by archive_after limit $3 for update skip locked) as due \
            where l.job_id = due.job_id and l.epoch = due.epoch \
            returning l.job_id, l.epoch, l.archived_at is not null as archived, l.archive_after",
        sqlite: "update attempt_logs set archive_after = $2 where (job_id, epoch) in (select job_id, epoch \
            from attempt_logs where archive_after <= $1 order by archive_after limit $3) \
            returning job_id, epoch, archived_at is not null as archived, archive_after",
    };
    let lease = LEASE.in_tx(tx);
    Ok(on_tx!(tx, conn => sqlx::query_as(lease).bind(now).bind(lease_until).bind(limit).fetch_all(conn).await?))
}
