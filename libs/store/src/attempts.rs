//! Attempts: claimed once, reported on, ended once. `(job, epoch)` fences every effect.

use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::agent::{ClaimRefusal, ClaimRequest, Finish, PushedImage, Report, ReportAck, StepReport};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef, AttemptState, Phase, StepState};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::ids::{BuilderId, ClaimId, JobId, SessionId, TenantId};
use slipway_domain::job::{JobEvent, JobState};
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::avoidance::avoids;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::{Job, Saved, delta, job_in, save};
use crate::sessions::{Session, lock_session, session_in};
use crate::tags::return_moved;

/// How often a change that lost its compare-and-set is decided anew before the caller is told.
const CAS_TRIES: usize = 8;

/// One try of a job.
#[derive(Debug, Clone, FromRow)]
pub struct Attempt {
    /// The job.
    pub job_id: JobId,
    /// Strictly rising per job.
    pub epoch: i64,
    /// The claim that opened it.
    pub claim_id: ClaimId,
    /// Where it runs.
    pub builder_id: BuilderId,
    /// That builder's name.
    pub builder_name: String,
    /// The session that holds its lease.
    pub session_id: SessionId,
    /// SHA-256 of its token.
    pub token_hash: Vec<u8>,
    /// Open or closed.
    pub state: AttemptState,
    /// The last phase that was reported.
    pub phase: Phase,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// Why it did not succeed.
    pub failure: Option<Json<Failure>>,
    /// What it pushed.
    pub images: Json<Vec<PushedImage>>,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it was closed.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A step of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Step {
    /// Its name within the attempt.
    pub digest: String,
    /// Order of first appearance.
    pub number: i64,
    /// What it does.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// Whether it came from the cache.
    pub cached: bool,
    /// When it first began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it last ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The command's exit code.
    pub exit_code: Option<i64>,
}

/// A claim as the dispatcher makes it.
pub struct Claim<'a> {
    /// What the builder asked.
    pub request: ClaimRequest,
    /// Refuse a second tenant on a shared engine.
    pub one_tenant_per_shared_engine: bool,
    /// Makes the token of (job, epoch, claim); only its hash is stored.
    pub token_hash: &'a (dyn Fn(AttemptRef, ClaimId) -> Vec<u8> + Send + Sync),
}

/// A claim that won, or a repeated one that had won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimWon {
    /// The attempt.
    pub attempt: AttemptRef,
    /// Seconds that it may take.
    pub timeout_secs: i64,
}

/// How an attempt ends.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// The outcome.
    pub outcome: AttemptOutcome,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// What it pushed.
    pub images: Vec<PushedImage>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What became of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ended now; the job is in this state.
    Now(JobState),
    /// It had ended in this very way: a repeated call.
    Before,
    /// It had ended in another way; the caller's word came too late.
    Stale,
}

const ATTEMPTS: &str = "select a.job_id, a.epoch, a.claim_id, a.builder_id, b.name as builder_name, a.session_id, \
    a.token_hash, a.state, a.phase, a.outcome, a.failure, a.images, a.started_at, a.finished_at \
    from attempts a join builders b on b.id = a.builder_id where a.job_id = $1 order by a.epoch";

const ATTEMPT: &str = "select a.job_id, a.epoch, a.claim_id, a.builder_id, b.name as builder_name, a.session_id, \
    a.token_hash, a.state, a.phase, a.outcome, a.failure, a.images, a.started_at, a.finished_at \
    from attempts a join builders b on b.id = a.builder_id where a.job_id = $1 and a.epoch = $2";

const STEPS: &str = "select digest, number, name, state, cached, started_at, finished_at, exit_code from steps \
    where job_id = $1 and epoch = $2 order by number";

impl Db {
    /// One attempt.
    pub async fn attempt(&self, attempt: AttemptRef) -> Result<Attempt> {
        on_db!(self, conn => sqlx::query_as::<_, Attempt>(ATTEMPT)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("attempt"))
    }

    /// All attempts of a job, oldest first.
    pub async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>> {
        Ok(on_db!(self, conn => sqlx::query_as::<_, Attempt>(ATTEMPTS).bind(job).fetch_all(conn).await?))
    }

    /// The steps of an attempt, in order.
    pub async fn steps(&self, attempt: AttemptRef) -> Result<Vec<Step>> {
        Ok(on_db!(self, conn => sqlx::query_as::<_, Step>(STEPS)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .fetch_all(conn)
            .await?))
    }

    /// Opens the attempt of a claim: one compare-and-set on (state, dispatch id). The same claim id gets
    /// the same answer again while its attempt is open, so that a lost answer loses nothing.
    pub async fn claim_job(
        &self,
        claim: &Claim<'_>,
        now: DateTime<Utc>,
    ) -> Result<std::result::Result<ClaimWon, ClaimRefusal>> {
        let request = claim.request;
        let mut tx = self.begin_write().await?;
        if let Some(won) = repeated_claim(&mut tx, &request).await? {
            return Ok(Ok(won));
        }
        let Some(session) = session_in(&mut tx, request.session).await? else {
            return Ok(Err(ClaimRefusal::Session));
        };
        let job = match job_in(&mut tx, request.job).await {
            Err(StoreError::NotFound(_)) => return Ok(Err(ClaimRefusal::Gone)),
            other => other?,
        };
        if let Some(refusal) = refusal(&job, &session, &request) {
            return Ok(Err(refusal));
        }
        if avoids(&mut tx, &job, session.builder_id, now).await? {
            return Ok(Err(ClaimRefusal::Avoided));
        }
        // Rows are locked in the order builder, session, attempt, job, tenant, build: everywhere the same.
        if claim.one_tenant_per_shared_engine
            && session.shared_engine
            && !binds_tenant(&mut tx, session.builder_id, job.tenant_id).await?
        {
            return Ok(Err(ClaimRefusal::Tenant));
        }
        if !lock_session(&mut tx, session.id).await? {
            return Ok(Err(ClaimRefusal::Session));
        }
        let next = Job { epoch: job.epoch + 1, dispatch_id: None, ..job.after(JobEvent::Claimed, now)? };
        if save(&mut tx, &job, &next, now).await? != Saved::Yes {
            return Ok(Err(ClaimRefusal::Gone));
        }
        let attempt = AttemptRef { job: job.id, epoch: next.epoch };
        insert_attempt(&mut tx, attempt, &session, claim, now).await?;
        slipway_runtime::crash::point("claim.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("claim.after_commit");
        Ok(Ok(ClaimWon { attempt, timeout_secs: job.timeout_secs }))
    }

    /// Books a report. Old, doubled or reordered reports change nothing; a closed attempt is `Stale`.
    pub async fn report(&self, attempt: AttemptRef, report: &Report) -> Result<ReportAck> {
        const PHASE: &str = "update attempts set phase = $3 where job_id = $1 and epoch = $2 and state = 'open'";
        let mut tx = self.begin_write().await?;
        let open = open_attempt(&mut tx, attempt).await?.ok_or(StoreError::Stale("attempt"))?;
        let phase = report.phase.map_or(open, |reported| open.advance(reported));
        let written = execute!(&mut tx, PHASE, attempt.job, attempt.epoch, phase);
        if written == 0 {
            return Err(StoreError::Stale("attempt"));
        }
        for step in &report.steps {
            upsert_step(&mut tx, attempt, step).await?;
        }
        let job = job_in(&mut tx, attempt.job).await?;
        tx.commit().await?;
        Ok(ReportAck { cancel: job.state == JobState::Cancelling })
    }

    /// The builder's last word, in one compare-and-set; repeating it is `Before`.
    pub async fn finish_attempt(&self, attempt: AttemptRef, finish: &Finish, now: DateTime<Utc>) -> Result<Ended> {
        const LOG_END: &str = "update attempt_logs set end_offset = $3, sha256 = $4, ended_at = $5 \
            where job_id = $1 and epoch = $2 and end_offset is null and state = 'open'";
        let mut tx = self.begin_write().await?;
        let end =
            AttemptEnd { outcome: finish.outcome, failure: finish.failure.clone(), images: finish.images.clone(), now };
        let ended = end_attempt(&mut tx, attempt, end).await?;
        if matches!(ended, Ended::Now(_)) {
            return_moved(&mut tx, attempt, &finish.images).await?;
        }
        execute!(&mut tx, LOG_END, attempt.job, attempt.epoch, finish.log_end, &finish.log_sha256, now);
        slipway_runtime::crash::point("finish.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("finish.after_commit");
        Ok(ended)
    }

    /// Ends an attempt whose builder vanished; its job is tried again elsewhere while retries remain.
    pub async fn lose_attempt(&self, attempt: AttemptRef, why: &str, now: DateTime<Utc>) -> Result<Ended> {
        let mut tx = self.begin_write().await?;
        let ended = end_attempt(&mut tx, attempt, AttemptEnd::lost(why, now)).await?;
        tx.commit().await?;
        Ok(ended)
    }
}

impl AttemptEnd {
    /// The builder vanished.
    pub fn lost(why: &str, now: DateTime<Utc>) -> Self {
        let failure = Some(Failure::new(FailureClass::BuilderLost, why));
        Self { outcome: AttemptOutcome::Lost, failure, images: Vec::new(), now }
    }

    /// The row's deadline passed without a word from the builder.
    pub(crate) fn deadline(job: &Job, now: DateTime<Utc>) -> Self {
        let (outcome, failure) = if job.state == JobState::Cancelling {
            (AttemptOutcome::Cancelled, None)
        } else {
            let message = format!("The build ran longer than {} s and its builder did not stop it.", job.timeout_secs);
            (AttemptOutcome::TimedOut, Some(Failure::new(FailureClass::TimedOut, message)))
        };
        Self { outcome, failure, images: Vec::new(), now }
    }
}

/// Closes an attempt and moves its job, in the caller's transaction.
pub(crate) async fn end_attempt(tx: &mut Tx, attempt: AttemptRef, end: AttemptEnd) -> Result<Ended> {
    let job = job_in(tx, attempt.job).await?;
    let end = normalise(&job, end);
    if !close_attempt(tx, attempt, &end).await? {
        return compare_closed(tx, attempt, &end).await;
    }
    for _ in 0..CAS_TRIES {
        let job = job_in(tx, attempt.job).await?;
        let next = job_after_end(&job, attempt, &end, tx).await?;
        if save(tx, &job, &next, end.now).await? == Saved::Yes {
            return Ok(Ended::Now(next.state));
        }
    }
    Err(StoreError::Stale("job"))
}

/// A builder says `cancelled` only when it was asked to; otherwise something of ours went wrong.
fn normalise(job: &Job, end: AttemptEnd) -> AttemptEnd {
    if end.outcome == AttemptOutcome::Cancelled && job.state == JobState::Running {
        let message = "The builder stopped the build although nobody had asked it to.";
        let failure = Some(Failure::new(FailureClass::Internal, message));
        return AttemptEnd { outcome: AttemptOutcome::Infra, failure, ..end };
    }
    end
}

async fn job_after_end(job: &Job, attempt: AttemptRef, end: &AttemptEnd, tx: &mut Tx) -> Result<Job> {
    const BUILDER: &str = "select builder_id from attempts where job_id = $1 and epoch = $2";
    let retry_left = job.infra_retries < timing::INFRA_RETRIES;
    let mut next = job.after(JobEvent::AttemptEnded { outcome: end.outcome, retry_left }, end.now)?;
    if next.state == JobState::Queued && end.outcome != AttemptOutcome::HandedBack {
        let builder: BuilderId = on_tx!(tx, conn => sqlx::query_scalar(BUILDER)
            .bind(attempt.job)
            .bind(attempt.epoch)
            .fetch_one(conn)
            .await?);
        next.infra_retries += 1;
        next.avoid_builder = Some(builder);
        next.not_before = end.now + delta(retry_pause(end.outcome, job.infra_retries));
        next.avoid_until = Some(next.not_before + delta(timing::AVOID_BUILDER));
    }
    Ok(next)
}

/// After a loss the first retry begins at once; after other faults of ours, and later, pauses double.
fn retry_pause(outcome: AttemptOutcome, retries_before: i64) -> Duration {
    if outcome == AttemptOutcome::Lost && retries_before == 0 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(retries_before.clamp(0, 16)).unwrap_or(0);
    timing::INFRA_RETRY_FIRST.saturating_mul(2u32.saturating_pow(doublings)).min(timing::INFRA_RETRY_MAX)
}

async fn close_attempt(tx: &mut Tx, attempt: AttemptRef, end: &AttemptEnd) -> Result<bool> {
    const CLOSE: &str = "update attempts set state = 'closed', outcome = $3, failure = $4, images = $5, \
        finished_at = $6 where job_id = $1 and epoch = $2 and state = 'open'";
    const STOP_STEPS: &str = "update steps set state = 'cancelled', finished_at = $3 \
        where job_id = $1 and epoch = $2 and state in ('pending', 'running')";
    let closed = execute!(
        tx,
        CLOSE,
        attempt.job,
        attempt.epoch,
        end.outcome,
        end.failure.as_ref().map(Json),
        Json(&end.images),
        end.now
    );
    if closed == 1 {
        execute!(tx, STOP_STEPS, attempt.job, attempt.epoch, end.now);
    }
    Ok(closed == 1)
}

async fn compare_closed(tx: &mut Tx, attempt: AttemptRef, end: &AttemptEnd) -> Result<Ended> {
    const OUTCOME: &str = "select outcome from attempts where job_id = $1 and epoch = $2";
    let outcome: Option<Option<AttemptOutcome>> = on_tx!(tx, conn => sqlx::query_scalar(OUTCOME)
        .bind(attempt.job)
        .bind(attempt.epoch)
        .fetch_optional(conn)
        .await?);
    match outcome.ok_or(StoreError::NotFound("attempt"))? {
        Some(before) if before == end.outcome => Ok(Ended::Before),
        Some(_) | None => Ok(Ended::Stale),
    }
}

async fn repeated_claim(tx: &mut Tx, request: &ClaimRequest) -> Result<Option<ClaimWon>> {
    const BY_CLAIM: &str = "select a.job_id, a.epoch, j.timeout_secs from attempts a \
        join jobs j on j.id = a.job_id where a.claim_id = $1 and a.job_id = $2 and a.state = 'open'";
    let row: Option<(JobId, i64, i64)> = on_tx!(tx, conn => sqlx::query_as(BY_CLAIM)
        .bind(request.claim)
        .bind(request.job)
        .fetch_optional(conn)
        .await?);
    Ok(row.map(|(job, epoch, timeout_secs)| ClaimWon { attempt: AttemptRef { job, epoch }, timeout_secs }))
}

fn refusal(job: &Job, session: &Session, request: &ClaimRequest) -> Option<ClaimRefusal> {
    if !session.open || session.pool != job.pool {
        return Some(ClaimRefusal::Session);
    }
    let offered = job.state == JobState::Dispatched && job.dispatch_id == Some(request.dispatch);
    (!offered).then_some(ClaimRefusal::Gone)
}

/// The first claim binds a shared engine to its tenant, for good.
async fn binds_tenant(tx: &mut Tx, builder: BuilderId, tenant: TenantId) -> Result<bool> {
    const BIND: &str = "update builders set serves_tenant = $2 \
        where id = $1 and (serves_tenant is null or serves_tenant = $2)";
    Ok(execute!(tx, BIND, builder, tenant) == 1)
}

async fn insert_attempt(
    tx: &mut Tx,
    attempt: AttemptRef,
    session: &Session,
    claim: &Claim<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    const INSERT: &str = "insert into attempts (job_id, epoch, claim_id, builder_id, session_id, token_hash, state, \
        phase, images, started_at) values ($1, $2, $3, $4, $5, $6, 'open', 'preparing', $7, $8)";
    const LOG: &str = "insert into attempt_logs (job_id, epoch, state, durable, lines, created_at) \
        values ($1, $2, 'open', 0, 0, $3)";
    execute!(
        tx,
        INSERT,
        attempt.job,
        attempt.epoch,
        claim.request.claim,
        session.builder_id,
        session.id,
        (claim.token_hash)(attempt, claim.request.claim),
        Json(Vec::<PushedImage>::new()),
        now
    );
    execute!(tx, LOG, attempt.job, attempt.epoch, now);
    Ok(())
}

async fn open_attempt(tx: &mut Tx, attempt: AttemptRef) -> Result<Option<Phase>> {
    const OPEN: &str = "select phase from attempts where job_id = $1 and epoch = $2 and state = 'open'";
    Ok(on_tx!(tx, conn => sqlx::query_scalar(OPEN)
        .bind(attempt.job)
        .bind(attempt.epoch)
        .fetch_optional(conn)
        .await?))
}

/// A step that ended is changed only by a later end: a vertex may run again after it was cached.
async fn upsert_step(tx: &mut Tx, attempt: AttemptRef, step: &StepReport) -> Result<()> {
    const UPSERT: &str = "insert into steps (job_id, epoch, digest, number, name, state, cached, started_at, \
        finished_at, exit_code) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
        on conflict (job_id, epoch, digest) do update set state = excluded.state, cached = excluded.cached, \
        name = excluded.name, started_at = coalesce(steps.started_at, excluded.started_at), \
        finished_at = excluded.finished_at, exit_code = excluded.exit_code \
        where steps.finished_at is null or excluded.finished_at >= steps.finished_at";
    execute!(
        tx,
        UPSERT,
        attempt.job,
        attempt.epoch,
        &step.digest,
        step.number,
        &step.name,
        step.state,
        step.cached,
        step.started_at,
        step.finished_at,
        step.exit_code
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_after_a_loss_begins_at_once_and_pauses_double() {
        assert_eq!(retry_pause(AttemptOutcome::Lost, 0), Duration::ZERO);
        assert_eq!(retry_pause(AttemptOutcome::Lost, 1), Duration::from_secs(10));
        assert_eq!(retry_pause(AttemptOutcome::Infra, 0), Duration::from_secs(5));
        assert_eq!(retry_pause(AttemptOutcome::Infra, 2), Duration::from_secs(20));
        assert_eq!(retry_pause(AttemptOutcome::Infra, 60), timing::INFRA_RETRY_MAX);
    }
}
