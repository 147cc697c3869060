//! Attempts: claimed once ([`crate::claims`]), reported on, ended once ([`crate::attempt_ends`]). `(job, epoch)` fences
//! every effect.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::agent::{PushedImage, Report, ReportAck, StepReport};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef, AttemptState, Phase, StepState};
use slipway_domain::failure::Failure;
use slipway_domain::ids::{BuilderId, ClaimId, JobId, SessionId};
use slipway_domain::job::JobState;
use slipway_domain::remarks::Remarks;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::job_in;

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
    /// What people should know of it beside that, once it is closed.
    pub remarks: Json<Remarks>,
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
    /// Bytes that it has moved so far.
    pub moved_bytes: Option<i64>,
    /// Bytes that it will have moved, where that is known.
    pub total_bytes: Option<i64>,
    /// Numbers of the steps whose results it takes; none where that is not known.
    pub inputs: Json<Vec<i64>>,
    /// Milliseconds between its first begin and its last end in which it did not run.
    pub paused_ms: Option<i64>,
}

impl Step {
    /// When it ended last; `now` while it runs, though it may have ended before.
    pub fn until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.state {
            StepState::Running => now,
            StepState::Pending | StepState::Succeeded | StepState::Failed | StepState::Cancelled => {
                self.finished_at.unwrap_or(now)
            }
        }
    }

    /// How long it has run until then, without the pauses between its runs; `None` before it began.
    pub fn ran(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let lasted = self.until(now) - self.started_at?;
        let paused = TimeDelta::milliseconds(self.paused_ms.unwrap_or(0).max(0));
        Some((lasted.max(TimeDelta::zero()) - paused).max(TimeDelta::zero()))
    }
}

const ATTEMPTS: &str = "select a.job_id, a.epoch, a.claim_id, a.builder_id, b.name as builder_name, a.session_id, \
    a.token_hash, a.state, a.phase, a.outcome, a.failure, a.images, a.remarks, a.started_at, \
    a.finished_at from attempts a join builders b on b.id = a.builder_id where a.job_id = $1 order by a.epoch";

const ATTEMPT: &str = "select a.job_id, a.epoch, a.claim_id, a.builder_id, b.name as builder_name, a.session_id, \
    a.token_hash, a.state, a.phase, a.outcome, a.failure, a.images, a.remarks, a.started_at, \
    a.finished_at from attempts a join builders b on b.id = a.builder_id where a.job_id = $1 and a.epoch = $2";

const STEPS: &str = "select digest, number, name, state, cached, started_at, finished_at, exit_code, moved_bytes, \
    total_bytes, inputs, paused_ms from steps \
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
        finished_at, exit_code, moved_bytes, total_bytes, inputs, paused_ms) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
        on conflict (job_id, epoch, digest) do update set state = excluded.state, cached = excluded.cached, \
        name = excluded.name, started_at = coalesce(steps.started_at, excluded.started_at), \
        finished_at = excluded.finished_at, exit_code = excluded.exit_code, \
        moved_bytes = coalesce(excluded.moved_bytes, steps.moved_bytes), \
        total_bytes = case when excluded.moved_bytes is null then steps.total_bytes else excluded.total_bytes end, \
        inputs = excluded.inputs, paused_ms = excluded.paused_ms \
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
        step.exit_code,
        step.moved_bytes,
        step.total_bytes,
        Json(&step.inputs),
        step.paused_ms
    );
    Ok(())
}
