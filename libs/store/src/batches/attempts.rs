//! Attempts, their logs and the sessions that hold them. Rows are locked in the order session, attempt, and those of
//! one kind in the order of their ids.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use slipway_domain::agent::{ClaimRequest, PushedImage};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::builder::Load;
use slipway_domain::failure::Failure;
use slipway_domain::ids::{BuilderId, ClaimId, JobId, SessionId, TenantId};
use slipway_domain::image::BuiltImage;
use slipway_domain::remarks::Remarks;
use sqlx::FromRow;
use sqlx::types::Json;

use super::Dialects;
use crate::Db;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::Result;
use crate::sessions::{Renewal, Session, SessionRow};

/// An attempt that a claim opened before.
#[derive(FromRow)]
pub(crate) struct OpenedBefore {
    pub(crate) claim_id: ClaimId,
    pub(crate) job_id: JobId,
    pub(crate) epoch: i64,
    pub(crate) timeout_secs: i64,
}

/// The open attempts of these claims.
pub(crate) async fn opened_before(tx: &mut Tx, claims: &[ClaimId]) -> Result<HashMap<ClaimId, OpenedBefore>> {
    const OPENED: Dialects = of_ids!(
        "select a.claim_id, a.job_id, a.epoch, j.timeout_secs from attempts a join jobs j on j.id = a.job_id \
        where a.state = 'open' and a.claim_id",
        ""
    );
    let sql = OPENED.in_tx(tx);
    let rows: Vec<OpenedBefore> = on_tx!(tx, conn => sqlx::query_as(sql).bind(Json(claims)).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|row| (row.claim_id, row)).collect())
}

/// A session with the tenant that its builder is bound to.
#[derive(FromRow)]
struct BoundSession {
    #[sqlx(flatten)]
    session: SessionRow,
    serves_tenant: Option<TenantId>,
}

/// Sessions by their ids, open or closed, with the tenants that their builders serve.
pub(crate) async fn sessions(
    tx: &mut Tx,
    ids: &BTreeSet<SessionId>,
) -> Result<HashMap<SessionId, (Session, Option<TenantId>)>> {
    const SESSIONS: Dialects = of_ids!(
        "select s.id, s.builder_id, s.pool, s.state, b.shared_engine, b.serves_tenant from sessions s \
        join builders b on b.id = s.builder_id where s.id",
        ""
    );
    let sql = SESSIONS.in_tx(tx);
    let rows: Vec<BoundSession> = on_tx!(tx, conn => sqlx::query_as(sql).bind(Json(ids)).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|row| (row.session.id, (Session::from(row.session), row.serves_tenant))).collect())
}

/// Keeps sessions from being closed until the transaction ends; gives those that are open.
pub(crate) async fn lock_sessions(tx: &mut Tx, ids: &BTreeSet<SessionId>) -> Result<HashSet<SessionId>> {
    const LOCK: Dialects = Dialects {
        postgres: "select id from sessions where id in (select r::uuid from jsonb_array_elements_text($1) as r) \
            and state = 'open' order by id for update",
        sqlite: "select id from sessions where id in (select unhex(value, '-') from json_each($1)) and state = 'open'",
    };
    let sql = LOCK.in_tx(tx);
    let open: Vec<SessionId> = on_tx!(tx, conn => sqlx::query_scalar(sql).bind(Json(ids)).fetch_all(conn).await?);
    Ok(open.into_iter().collect())
}

#[derive(Serialize)]
struct RenewalRow<'a> {
    id: SessionId,
    free: i64,
    draining: bool,
    load: &'a Load,
}

/// Renews sessions; gives those that are open.
pub(crate) async fn renew_sessions(tx: &mut Tx, renewals: &[Renewal], now: DateTime<Utc>) -> Result<Vec<SessionId>> {
    const RENEW: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(id uuid, free bigint, \
            draining boolean, load jsonb)), \
            held as materialized (select s.id as held_id from sessions s join r on r.id = s.id \
            where s.state = 'open' order by s.id for update of s) \
            update sessions s set renewed_at = $2, channel_closed_at = null, free = r.free, load = r.load, \
            draining = r.draining from held join r on r.id = held.held_id where s.id = held.held_id returning s.id",
        sqlite: "with r as materialized (select unhex(value ->> 'id', '-') as id, value as v from json_each($1)) \
            update sessions set renewed_at = $2, channel_closed_at = null, free = v ->> 'free', \
            load = v ->> 'load', draining = v ->> 'draining' \
            from r where sessions.id = r.id and sessions.state = 'open' returning sessions.id",
    };
    let rows: Vec<RenewalRow<'_>> = renewals
        .iter()
        .map(|Renewal { session, free, load, draining }| RenewalRow {
            id: *session,
            free: *free,
            draining: *draining,
            load,
        })
        .collect();
    let sql = RENEW.in_tx(tx);
    Ok(on_tx!(tx, conn => sqlx::query_scalar(sql).bind(Json(&rows)).bind(now).fetch_all(conn).await?))
}

/// The open attempts of sessions: session, job, epoch, when it was claimed, and 1 if its job is being cancelled.
pub(crate) async fn attempts_of_sessions(
    db: &Db,
    sessions: &[SessionId],
) -> Result<Vec<(SessionId, JobId, i64, DateTime<Utc>, i32)>> {
    const HELD: Dialects = of_ids!(
        "select a.session_id, a.job_id, a.epoch, a.started_at, \
        case when j.state = 'cancelling' then 1 else 0 end as cancelling from attempts a \
        join jobs j on j.id = a.job_id where a.state = 'open' and a.session_id",
        ""
    );
    let sql = HELD.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(sessions)).fetch_all(conn).await?))
}

/// An attempt that a claim opens.
pub(crate) struct NewAttempt {
    pub(crate) attempt: AttemptRef,
    pub(crate) claim: ClaimRequest,
    pub(crate) builder: BuilderId,
    pub(crate) token_hash: Vec<u8>,
}

#[derive(Serialize)]
struct AttemptRow {
    job_id: JobId,
    epoch: i64,
    claim_id: ClaimId,
    builder_id: BuilderId,
    session_id: SessionId,
    token_hash: String,
}

/// Opens attempts, each with its log.
pub(crate) async fn insert_attempts(tx: &mut Tx, new: &[NewAttempt], now: DateTime<Utc>) -> Result<()> {
    const INSERT: Dialects = Dialects {
        postgres: "insert into attempts (job_id, epoch, claim_id, builder_id, session_id, token_hash, state, phase, \
            images, started_at) select r.job_id, r.epoch, r.claim_id, r.builder_id, r.session_id, \
            decode(r.token_hash, 'hex'), 'open', 'preparing', '[]', $2 \
            from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint, claim_id uuid, builder_id uuid, \
            session_id uuid, token_hash text)",
        sqlite: "insert into attempts (job_id, epoch, claim_id, builder_id, session_id, token_hash, state, phase, \
            images, started_at) select unhex(value ->> 'job_id', '-'), value ->> 'epoch', \
            unhex(value ->> 'claim_id', '-'), unhex(value ->> 'builder_id', '-'), unhex(value ->> 'session_id', '-'), \
            unhex(value ->> 'token_hash'), 'open', 'preparing', '[]', $2 from json_each($1)",
    };
    const LOGS: Dialects = Dialects {
        postgres: "insert into attempt_logs (job_id, epoch, state, durable, lines, created_at) \
            select r.job_id, r.epoch, 'open', 0, 0, $2 from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint)",
        sqlite: "insert into attempt_logs (job_id, epoch, state, durable, lines, created_at) \
            select unhex(value ->> 'job_id', '-'), value ->> 'epoch', 'open', 0, 0, $2 from json_each($1)",
    };
    let row = |new: &NewAttempt| AttemptRow {
        job_id: new.attempt.job,
        epoch: new.attempt.epoch,
        claim_id: new.claim.claim,
        builder_id: new.builder,
        session_id: new.claim.session,
        token_hash: hex::encode(&new.token_hash),
    };
    let rows: Vec<AttemptRow> = new.iter().map(row).collect();
    let (attempts, logs) = (INSERT.in_tx(tx), LOGS.in_tx(tx));
    execute!(tx, attempts, Json(&rows), now);
    execute!(tx, logs, Json(&rows), now);
    Ok(())
}

/// How an attempt stood when its end was told.
#[derive(FromRow)]
pub(crate) struct Standing {
    pub(crate) job_id: JobId,
    pub(crate) epoch: i64,
    pub(crate) builder_id: BuilderId,
    pub(crate) outcome: Option<AttemptOutcome>,
}

#[derive(Serialize)]
struct Key {
    job_id: JobId,
    epoch: i64,
}

fn keys<'a>(attempts: impl IntoIterator<Item = &'a AttemptRef>) -> Vec<Key> {
    attempts.into_iter().map(|attempt| Key { job_id: attempt.job, epoch: attempt.epoch }).collect()
}

/// How these attempts stand.
pub(crate) async fn standings(
    tx: &mut Tx,
    attempts: impl IntoIterator<Item = &AttemptRef>,
) -> Result<HashMap<AttemptRef, Standing>> {
    const STANDINGS: Dialects = Dialects {
        postgres: "select a.job_id, a.epoch, a.builder_id, a.outcome from attempts a \
            join jsonb_to_recordset($1) as r(job_id uuid, epoch bigint) on r.job_id = a.job_id and r.epoch = a.epoch",
        sqlite: "select a.job_id, a.epoch, a.builder_id, a.outcome from attempts a join json_each($1) as r \
            on a.job_id = unhex(r.value ->> 'job_id', '-') and a.epoch = r.value ->> 'epoch'",
    };
    let sql = STANDINGS.in_tx(tx);
    let rows: Vec<Standing> = on_tx!(tx, conn => sqlx::query_as(sql).bind(Json(keys(attempts))).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|row| (AttemptRef { job: row.job_id, epoch: row.epoch }, row)).collect())
}

/// How an attempt ends.
pub(crate) struct End<'a> {
    pub(crate) attempt: AttemptRef,
    pub(crate) outcome: AttemptOutcome,
    pub(crate) failure: Option<&'a Failure>,
    pub(crate) images: &'a [PushedImage],
    pub(crate) built: &'a [BuiltImage],
    pub(crate) remarks: &'a Remarks,
}

#[derive(Serialize)]
struct EndRow<'a> {
    job_id: JobId,
    epoch: i64,
    outcome: AttemptOutcome,
    failure: Option<&'a Failure>,
    images: &'a [PushedImage],
    built: &'a [BuiltImage],
    remarks: &'a Remarks,
}

/// Closes attempts, and the steps that still ran in them. Gives those that were open.
pub(crate) async fn close_attempts(tx: &mut Tx, ends: &[End<'_>], now: DateTime<Utc>) -> Result<BTreeSet<AttemptRef>> {
    const CLOSE: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint, \
            outcome text, failure jsonb, images jsonb, built jsonb, remarks jsonb)), \
            held as materialized (select a.job_id as held_id, a.epoch as held_epoch from attempts a \
            join r on r.job_id = a.job_id and r.epoch = a.epoch where a.state = 'open' \
            order by a.job_id for update of a) \
            update attempts a set state = 'closed', outcome = r.outcome, failure = r.failure, images = r.images, \
            built = r.built, remarks = r.remarks, finished_at = $2 \
            from held join r on r.job_id = held.held_id and r.epoch = held.held_epoch \
            where a.job_id = held.held_id and a.epoch = held.held_epoch returning a.job_id, a.epoch",
        sqlite: "with r as materialized (select unhex(value ->> 'job_id', '-') as job_id, value ->> 'epoch' as epoch, \
            value as v from json_each($1)) \
            update attempts set state = 'closed', outcome = v ->> 'outcome', failure = v ->> 'failure', \
            images = v ->> 'images', built = v ->> 'built', remarks = v ->> 'remarks', finished_at = $2 from r \
            where attempts.job_id = r.job_id and attempts.epoch = r.epoch and attempts.state = 'open' \
            returning attempts.job_id, attempts.epoch",
    };
    const STOP_STEPS: Dialects = Dialects {
        postgres: "update steps s set state = 'cancelled', finished_at = $2 \
            from jsonb_to_recordset($1) as r(job_id uuid, epoch bigint) \
            where s.job_id = r.job_id and s.epoch = r.epoch and s.state in ('pending', 'running')",
        sqlite: "update steps set state = 'cancelled', finished_at = $2 \
            from (select unhex(value ->> 'job_id', '-') as ended, value ->> 'epoch' as at from json_each($1)) as r \
            where steps.job_id = r.ended and steps.epoch = r.at and steps.state in ('pending', 'running')",
    };
    let rows: Vec<EndRow<'_>> = ends
        .iter()
        .map(|&End { attempt, outcome, failure, images, built, remarks }| EndRow {
            job_id: attempt.job,
            epoch: attempt.epoch,
            outcome,
            failure,
            images,
            built,
            remarks,
        })
        .collect();
    let (close, stop) = (CLOSE.in_tx(tx), STOP_STEPS.in_tx(tx));
    let closed: Vec<(JobId, i64)> =
        on_tx!(tx, conn => sqlx::query_as(close).bind(Json(&rows)).bind(now).fetch_all(conn).await?);
    let closed: BTreeSet<AttemptRef> = closed.into_iter().map(|(job, epoch)| AttemptRef { job, epoch }).collect();
    execute!(tx, stop, Json(keys(&closed)), now);
    Ok(closed)
}
