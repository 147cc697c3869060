//! Builder sessions: the lease of everything that a builder runs. Renewed by heartbeats, closed by a newer
//! session, a goodbye or silence; what a closed session held is lost in the same pass.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use slipway_domain::agent::OpenSession;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::builder::Load;
use slipway_domain::ids::{BuilderId, ClaimId, JobId, JoinTokenId, SessionId};
use slipway_domain::placement::Pool;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::attempt_ends::{AttemptEnd, end_attempts};
use crate::batches;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};

/// A session as claims and heartbeats need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Its builder.
    pub builder_id: BuilderId,
    /// The pool whose jobs it may claim.
    pub pool: Pool,
    /// False once it was closed.
    pub open: bool,
    /// Whether the builder's engine is shared between tenants.
    pub shared_engine: bool,
}

/// What a new session brings along.
pub struct NewSession<'a> {
    /// The session.
    pub id: SessionId,
    /// SHA-256 of its token.
    pub token_hash: &'a [u8],
    /// SHA-256 of the join token that was shown.
    pub join_hash: &'a [u8],
    /// SHA-256 of the builder's own key.
    pub key_hash: &'a [u8],
    /// What the builder said.
    pub open: &'a OpenSession,
    /// Tenants may share its engine, so that it serves all of them from now on.
    pub trust_tenants: bool,
}

/// What a new session meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The pool of its join token.
    pub pool: Pool,
    /// Presented attempts that are not its own any more.
    pub stop: Vec<AttemptRef>,
    /// The older session, closed by this one.
    pub closed: Option<SessionId>,
    /// Attempts of the older session that were not presented: lost now.
    pub lost: Vec<AttemptRef>,
}

/// Why a session was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionRefusal {
    /// The join token is unknown or revoked.
    JoinToken,
    /// The builder id belongs to somebody with another key.
    BuilderKey,
}

/// One heartbeat, to be committed with others.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The session.
    pub session: SessionId,
    /// Jobs it would take now.
    pub free: i64,
    /// How busy it is.
    pub load: Load,
    /// It takes nothing new and leaves once it is empty.
    pub draining: bool,
}

/// An open attempt of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldAttempt {
    /// The attempt.
    pub attempt: AttemptRef,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// Its job is being cancelled.
    pub cancelling: bool,
}

/// A session that went without a goodbye, and what it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostSession {
    /// The session.
    pub session: SessionId,
    /// Its builder.
    pub builder: BuilderId,
    /// What it held; each is requeued or ended by now.
    pub attempts: Vec<AttemptRef>,
}

#[derive(FromRow)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    builder_id: BuilderId,
    #[sqlx(try_from = "String")]
    pool: Pool,
    state: String,
    shared_engine: bool,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            builder_id: row.builder_id,
            pool: row.pool,
            open: row.state == "open",
            shared_engine: row.shared_engine,
        }
    }
}

impl Db {
    /// Opens a session for a builder and closes its older one at once. Presented attempts, and those of claims
    /// whose answer is still awaited, move to the new session; what the older one held beside them is lost.
    pub async fn open_session(
        &self,
        new: &NewSession<'_>,
        now: DateTime<Utc>,
    ) -> Result<std::result::Result<Opened, SessionRefusal>> {
        let mut tx = self.begin_write().await?;
        let Some((join, pool)) = join_token(&mut tx, new.join_hash).await? else {
            return Ok(Err(SessionRefusal::JoinToken));
        };
        if !upsert_builder(&mut tx, new, join, &pool, now).await? {
            return Ok(Err(SessionRefusal::BuilderKey));
        }
        let builder = new.open.builder;
        let closed = close_open_session(&mut tx, builder, "a newer session of the same builder", now).await?;
        insert_session(&mut tx, new, &pool, now).await?;
        let open = lock_open_attempts(&mut tx, builder).await?;
        let (kept, stop): (Vec<_>, Vec<_>) = new.open.held.iter().partition(|attempt| open.contains(attempt));
        let claimed = attempts_of_claims(&mut tx, &new.open.claiming).await?;
        let (held, lost): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|attempt| kept.contains(attempt) || claimed.contains(attempt));
        for attempt in held {
            move_attempt(&mut tx, attempt, new.id).await?;
        }
        lose(&mut tx, &lost, "The builder started again without this build.", now).await?;
        tx.commit().await?;
        Ok(Ok(Opened { pool, stop, closed, lost }))
    }

    /// The session of a token, open or closed.
    pub async fn session_by_token(&self, id: SessionId, token_hash: &[u8]) -> Result<Option<Session>> {
        const BY_TOKEN: &str = "select s.id, s.builder_id, s.pool, s.state, b.shared_engine from sessions s \
            join builders b on b.id = s.builder_id where s.id = $1 and s.token_hash = $2";
        let row: Option<SessionRow> = on_db!(self, conn => sqlx::query_as(BY_TOKEN)
            .bind(id)
            .bind(token_hash)
            .fetch_optional(conn)
            .await?);
        Ok(row.map(Session::from))
    }

    /// Commits a batch of heartbeats. Returns the sessions that are still open; the others are told to
    /// open a new one. Sessions are locked in one order, as everywhere.
    pub async fn renew_sessions(&self, renewals: &[Renewal], now: DateTime<Utc>) -> Result<Vec<SessionId>> {
        let mut tx = self.begin_write().await?;
        let open = batches::attempts::renew_sessions(&mut tx, renewals, now).await?;
        tx.commit().await?;
        Ok(open)
    }

    /// Notes that a session's channel closed; it has a moment to come back.
    pub async fn channel_closed(&self, session: SessionId, now: DateTime<Utc>) -> Result<()> {
        const CLOSED: &str = "update sessions set channel_closed_at = $2, free = 0 \
            where id = $1 and state = 'open' and channel_closed_at is null";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, CLOSED, session, now);
        tx.commit().await
    }

    /// Ends a session that said goodbye. What it still held, against its word, is lost.
    pub async fn end_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<Vec<AttemptRef>> {
        self.close_session(session, "goodbye", now).await.map(|lost| lost.map_or(Vec::new(), |lost| lost.attempts))
    }

    /// Open sessions that are silent since `silent_before`, or whose channel is closed since
    /// `closed_before`.
    pub async fn overdue_sessions(
        &self,
        silent_before: DateTime<Utc>,
        closed_before: DateTime<Utc>,
    ) -> Result<Vec<SessionId>> {
        const OVERDUE: &str = "select id from sessions where state = 'open' \
            and (renewed_at < $1 or channel_closed_at < $2) order by renewed_at";
        Ok(on_db!(self, conn => sqlx::query_scalar(OVERDUE)
            .bind(silent_before)
            .bind(closed_before)
            .fetch_all(conn)
            .await?))
    }

    /// How many sessions are open.
    pub async fn open_session_count(&self) -> Result<i64> {
        const COUNT: &str = "select count(*) from sessions where state = 'open'";
        Ok(on_db!(self, conn => sqlx::query_scalar(COUNT).fetch_one(conn).await?))
    }

    /// Declares a session lost if it is still open, with everything that it held.
    pub async fn lose_session(&self, session: SessionId, now: DateTime<Utc>) -> Result<Option<LostSession>> {
        self.close_session(session, "lost", now).await
    }

    /// The open attempts of each of these sessions that has any.
    pub async fn held_attempts(&self, sessions: &[SessionId]) -> Result<HashMap<SessionId, Vec<HeldAttempt>>> {
        let mut held: HashMap<SessionId, Vec<HeldAttempt>> = HashMap::new();
        for (session, job, epoch, claimed_at, cancelling) in
            batches::attempts::attempts_of_sessions(self, sessions).await?
        {
            let attempt = HeldAttempt { attempt: AttemptRef { job, epoch }, claimed_at, cancelling: cancelling == 1 };
            held.entry(session).or_default().push(attempt);
        }
        Ok(held)
    }

    /// Open attempts whose jobs are being cancelled, with the session that must hear of it.
    pub async fn cancelling_attempts(&self) -> Result<Vec<(SessionId, AttemptRef)>> {
        const CANCELLING: &str = "select a.session_id, a.job_id, a.epoch from jobs j \
            join attempts a on a.job_id = j.id and a.epoch = j.epoch \
            where j.state = 'cancelling' and j.deadline_at is not null and a.state = 'open'";
        let rows: Vec<(SessionId, JobId, i64)> =
            on_db!(self, conn => sqlx::query_as(CANCELLING).fetch_all(conn).await?);
        Ok(rows.into_iter().map(|(session, job, epoch)| (session, AttemptRef { job, epoch })).collect())
    }

    async fn close_session(&self, session: SessionId, reason: &str, now: DateTime<Utc>) -> Result<Option<LostSession>> {
        const CLOSE: &str = "update sessions set state = 'closed', closed_at = $2, close_reason = $3, free = 0 \
            where id = $1 and state = 'open' returning builder_id";
        let mut tx = self.begin_write().await?;
        let builder: Option<BuilderId> = on_tx!(&mut tx, conn => sqlx::query_scalar(CLOSE)
            .bind(session)
            .bind(now)
            .bind(reason)
            .fetch_optional(conn)
            .await?);
        let Some(builder) = builder else { return Ok(None) };
        let attempts = lock_open_attempts(&mut tx, builder).await?;
        lose(&mut tx, &attempts, "The builder vanished while it worked on this build.", now).await?;
        tx.commit().await?;
        Ok(Some(LostSession { session, builder, attempts }))
    }
}

/// Ends attempts whose builder vanished.
async fn lose(tx: &mut Tx, attempts: &[AttemptRef], why: &str, now: DateTime<Utc>) -> Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    let ends = attempts.iter().map(|attempt| (*attempt, AttemptEnd::lost(why))).collect();
    end_attempts(tx, ends, now).await.map(drop)
}

async fn join_token(tx: &mut Tx, hash: &[u8]) -> Result<Option<(JoinTokenId, Pool)>> {
    const JOIN: &str = "select id, pool from join_tokens where hash = $1 and revoked_at is null";
    let row: Option<(JoinTokenId, String)> =
        on_tx!(tx, conn => sqlx::query_as(JOIN).bind(hash).fetch_optional(conn).await?);
    row.map(|(id, pool)| {
        let pool = pool.parse().map_err(|error| StoreError::Damaged("pool", format!("{error}")))?;
        Ok((id, pool))
    })
    .transpose()
}

/// False when the builder exists with another key.
async fn upsert_builder(
    tx: &mut Tx,
    new: &NewSession<'_>,
    join: JoinTokenId,
    pool: &Pool,
    now: DateTime<Utc>,
) -> Result<bool> {
    const UPSERT: &str = "insert into builders (id, join_token_id, key_hash, name, pool, slots, release, \
        shared_engine, drained, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
        on conflict (id) do update set join_token_id = excluded.join_token_id, name = excluded.name, \
        pool = excluded.pool, slots = excluded.slots, release = excluded.release, \
        shared_engine = excluded.shared_engine, \
        serves_tenant = case when $11 then null else builders.serves_tenant end \
        where builders.key_hash = excluded.key_hash";
    let open = new.open;
    let written = on_tx!(tx, conn => sqlx::query(UPSERT)
        .bind(open.builder)
        .bind(join)
        .bind(new.key_hash)
        .bind(&open.name)
        .bind(pool.to_string())
        .bind(open.slots)
        .bind(&open.release)
        .bind(open.shared_engine)
        .bind(false)
        .bind(now)
        .bind(new.trust_tenants)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(written == 1)
}

async fn close_open_session(
    tx: &mut Tx,
    builder: BuilderId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Option<SessionId>> {
    const CLOSE: &str = "update sessions set state = 'closed', closed_at = $2, close_reason = $3, free = 0 \
        where builder_id = $1 and state = 'open' returning id";
    Ok(on_tx!(tx, conn => sqlx::query_scalar(CLOSE)
        .bind(builder)
        .bind(now)
        .bind(reason)
        .fetch_optional(conn)
        .await?))
}

async fn insert_session(tx: &mut Tx, new: &NewSession<'_>, pool: &Pool, now: DateTime<Utc>) -> Result<()> {
    const INSERT: &str = "insert into sessions (id, builder_id, token_hash, pool, state, free, draining, load, \
        opened_at, renewed_at) values ($1, $2, $3, $4, 'open', 0, $5, $6, $7, $7)";
    execute!(tx, INSERT, new.id, new.open.builder, new.token_hash, pool.to_string(), false, Json(Load::default()), now);
    Ok(())
}

/// Locks every open attempt of a builder, so that none ends while the caller decides.
async fn lock_open_attempts(tx: &mut Tx, builder: BuilderId) -> Result<Vec<AttemptRef>> {
    const ATTEMPTS: &str = "update attempts set state = state where builder_id = $1 and state = 'open'";
    const JOBS: &str = "update jobs set version = version where id in \
        (select job_id from attempts where builder_id = $1 and state = 'open')";
    const OPEN: &str = "select a.job_id, a.epoch from attempts a join jobs j on j.id = a.job_id \
        where a.builder_id = $1 and a.state = 'open' order by j.id";
    execute!(tx, ATTEMPTS, builder);
    execute!(tx, JOBS, builder);
    let rows: Vec<(JobId, i64)> = on_tx!(tx, conn => sqlx::query_as(OPEN).bind(builder).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|(job, epoch)| AttemptRef { job, epoch }).collect())
}

async fn attempts_of_claims(tx: &mut Tx, claims: &[ClaimId]) -> Result<Vec<AttemptRef>> {
    const OF_CLAIM: &str = "select job_id, epoch from attempts where claim_id = $1";
    let mut attempts = Vec::new();
    for claim in claims {
        let found: Option<(JobId, i64)> =
            on_tx!(tx, conn => sqlx::query_as(OF_CLAIM).bind(*claim).fetch_optional(conn).await?);
        attempts.extend(found.map(|(job, epoch)| AttemptRef { job, epoch }));
    }
    Ok(attempts)
}

async fn move_attempt(tx: &mut Tx, attempt: AttemptRef, session: SessionId) -> Result<()> {
    const MOVE: &str = "update attempts set session_id = $3 where job_id = $1 and epoch = $2 and state = 'open'";
    execute!(tx, MOVE, attempt.job, attempt.epoch, session);
    Ok(())
}
