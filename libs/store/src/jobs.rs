//! Jobs. Every change of a job is one compare-and-set on `version`: read the row, let `domain` decide, write
//! the whole row where the version is still the one that was read. Who loses reads again. The tenant's
//! running row and the build's state change in the same transaction, so they need no repair.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::build::{BuildState, CancelledBy, build_state};
use slipway_domain::ids::{BuildId, BuilderId, DispatchId, JobId, ProjectId, TenantId};
use slipway_domain::job::{IllegalTransition, JobEvent, JobKind, JobState};
use slipway_domain::placement::Pool;
use slipway_domain::spec::JobSpec;
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::leaders::{Lead, check_lead};

/// A row that could not be worked comes again after this time, so that those behind it have their turn.
pub(crate) const TRY_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// The hot row of a job.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// Its build.
    pub build_id: BuildId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// `region/class/platform`.
    #[sqlx(try_from = "String")]
    pub pool: Pool,
    /// Rises with every change.
    pub version: i64,
    /// The newest attempt's; 0 before the first claim.
    pub epoch: i64,
    /// Faults of ours that were tried again.
    pub infra_retries: i64,
    /// The dispatch that may be claimed.
    pub dispatch_id: Option<DispatchId>,
    /// The epoch that was given leave; from then on it cannot be cancelled.
    pub leave_epoch: Option<i64>,
    /// A builder that shall not have it for a moment, if another can take it.
    pub avoid_builder: Option<BuilderId>,
    /// Until when.
    pub avoid_until: Option<DateTime<Utc>>,
    /// Who cancelled it.
    pub cancelled_by: Option<CancelledBy>,
    /// Seconds that one attempt may take.
    pub timeout_secs: i64,
    /// When it last became `queued`.
    pub queued_at: DateTime<Utc>,
    /// Not admitted before.
    pub not_before: DateTime<Utc>,
    /// When the row's owner repairs it; `None` only when terminal.
    pub deadline_at: Option<DateTime<Utc>>,
    /// When it became terminal.
    pub finished_at: Option<DateTime<Utc>>,
}

/// What became of a wish to admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is ready.
    Admitted,
    /// The tenant runs as much as it may.
    LimitReached,
    /// It was cancelled or admitted by somebody else.
    Gone,
}

const JOB: &str = "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
    dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, \
    deadline_at, finished_at from jobs where id = $1";

const JOBS_OF_BUILD: &str = "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, \
    infra_retries, dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, \
    not_before, deadline_at, finished_at from jobs where build_id = $1 order by id";

const QUEUED: &str = "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
    dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, \
    deadline_at, finished_at from jobs where state = 'queued' and not_before <= $1 \
    and exists (select 1 from sessions s join builders b on b.id = s.builder_id where s.pool = jobs.pool \
    and s.state = 'open' and (b.serves_tenant is null or b.serves_tenant = jobs.tenant_id)) \
    and exists (select 1 from tenant_running t where t.tenant_id = jobs.tenant_id and t.running < t.running_limit) \
    order by id limit $2";

const READY: &str = "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
    dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, \
    deadline_at, finished_at from jobs where state = 'ready' order by id limit $1";

impl Db {
    /// One job, whoever owns it: for services, not for users.
    pub async fn job(&self, id: JobId) -> Result<Job> {
        on_db!(self, conn => sqlx::query_as::<_, Job>(JOB).bind(id).fetch_optional(conn).await?)
            .ok_or(StoreError::NotFound("job"))
    }

    /// The jobs of a build, in the order in which they were made.
    pub async fn jobs_of_build(&self, build: BuildId) -> Result<Vec<Job>> {
        Ok(on_db!(self, conn => sqlx::query_as::<_, Job>(JOBS_OF_BUILD).bind(build).fetch_all(conn).await?))
    }

    /// What the builder will be told.
    pub async fn job_spec(&self, id: JobId) -> Result<JobSpec> {
        const SPEC: &str = "select spec from job_specs where job_id = $1";
        on_db!(self, conn => sqlx::query_scalar::<_, Json<JobSpec>>(SPEC).bind(id).fetch_optional(conn).await?)
            .map(|Json(spec)| spec)
            .ok_or(StoreError::NotFound("job"))
    }

    /// The oldest jobs that the scheduler may admit, at most `limit`. Those that nobody could run now, because
    /// their pool has no builder for their tenant or that is at its limit, take no place among them.
    pub async fn queued_jobs(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Job>> {
        Ok(on_db!(self, conn => sqlx::query_as::<_, Job>(QUEUED).bind(now).bind(limit).fetch_all(conn).await?))
    }

    /// The oldest jobs that wait for a dispatch, at most `limit`.
    pub async fn ready_jobs(&self, limit: i64) -> Result<Vec<Job>> {
        Ok(on_db!(self, conn => sqlx::query_as::<_, Job>(READY).bind(limit).fetch_all(conn).await?))
    }

    /// `queued -> ready` under the tenant's limit, as the leader of `lead`. Fails with `Stale` when
    /// somebody else leads by now.
    pub async fn admit_job(&self, lead: &Lead, id: JobId, now: DateTime<Utc>) -> Result<Admission> {
        let mut tx = self.begin_write().await?;
        check_lead(&mut tx, lead, now).await?;
        let job = job_in(&mut tx, id).await?;
        if job.state != JobState::Queued || job.not_before > now {
            return Ok(Admission::Gone);
        }
        let next = job.after(JobEvent::Admitted, now)?;
        match save(&mut tx, &job, &next, now).await? {
            Saved::Yes => {
                tx.commit().await?;
                Ok(Admission::Admitted)
            }
            Saved::Raced => Ok(Admission::Gone),
            Saved::LimitReached => Ok(Admission::LimitReached),
        }
    }

    /// Lets others be admitted first for a while, because admitting this one failed.
    pub async fn postpone_admission(&self, id: JobId, now: DateTime<Utc>) -> Result<()> {
        const POSTPONE: &str = "update jobs set not_before = $2 where id = $1 and state = 'queued'";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, POSTPONE, id, now + TRY_AGAIN);
        tx.commit().await
    }

    /// `dispatched -> ready` where the dispatch still is `declined`: the builder that got it does not want it.
    /// False for a repeated or late word, which changes nothing.
    pub async fn decline_job(&self, id: JobId, declined: DispatchId, now: DateTime<Utc>) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        let job = match job_in(&mut tx, id).await {
            Err(StoreError::NotFound(_)) => return Ok(false),
            other => other?,
        };
        if job.state != JobState::Dispatched || job.dispatch_id != Some(declined) {
            return Ok(false);
        }
        let next = job.after(JobEvent::OfferDeclined, now)?;
        let saved = save(&mut tx, &job, &next, now).await? == Saved::Yes;
        if saved {
            tx.commit().await?;
        }
        Ok(saved)
    }

    /// `ready -> dispatched` under a new dispatch id. False when somebody was faster.
    pub async fn dispatch_job(&self, id: JobId, dispatch: DispatchId, now: DateTime<Utc>) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        let job = job_in(&mut tx, id).await?;
        if job.state != JobState::Ready {
            return Ok(false);
        }
        let next = Job { dispatch_id: Some(dispatch), ..job.after(JobEvent::Dispatched, now)? };
        let saved = save(&mut tx, &job, &next, now).await? == Saved::Yes;
        if saved {
            tx.commit().await?;
        }
        Ok(saved)
    }
}

/// What became of a compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    Yes,
    Raced,
    LimitReached,
}

impl Job {
    /// This row after `event`; the caller adds what the event brought along.
    pub(crate) fn after(&self, event: JobEvent, now: DateTime<Utc>) -> std::result::Result<Job, IllegalTransition> {
        let mut next = Job { state: self.state.next(event)?, version: self.version + 1, ..self.clone() };
        match next.state {
            JobState::Blocked => {}
            JobState::Queued => {
                next.queued_at = now;
                next.not_before = now;
                next.dispatch_id = None;
                next.deadline_at = Some(now + delta(timing::WAIT_DEADLINE));
            }
            JobState::Ready => {
                next.dispatch_id = None;
                next.deadline_at = Some(self.queued_at + delta(timing::WAIT_DEADLINE));
            }
            JobState::Dispatched => next.deadline_at = Some(now + delta(timing::DISPATCH_DEADLINE)),
            JobState::Running => {
                let allowed = TimeDelta::seconds(self.timeout_secs) + delta(timing::RUNNING_GRACE);
                next.deadline_at = Some(now + allowed);
            }
            JobState::Cancelling => next.deadline_at = Some(now + delta(timing::CANCEL_DEADLINE)),
            JobState::Succeeded
            | JobState::Failed
            | JobState::TimedOut
            | JobState::Errored
            | JobState::Cancelled
            | JobState::Skipped => {
                next.dispatch_id = None;
                next.deadline_at = None;
                next.finished_at = Some(now);
            }
        }
        Ok(next)
    }
}

/// A domain interval as the difference of two timestamps.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Reads a job inside a transaction.
pub(crate) async fn job_in(tx: &mut Tx, id: JobId) -> Result<Job> {
    on_tx!(tx, conn => sqlx::query_as::<_, Job>(JOB).bind(id).fetch_optional(conn).await?)
        .ok_or(StoreError::NotFound("job"))
}

/// Writes `new` where the row still is `old`, moves the tenant's running row when the job enters or leaves
/// ready..cancelling, and settles the build. Lock order: job, tenant, build.
pub(crate) async fn save(tx: &mut Tx, old: &Job, new: &Job, now: DateTime<Utc>) -> Result<Saved> {
    const SAVE: &str = "update jobs set state = $3, version = $4, epoch = $5, infra_retries = $6, dispatch_id = $7, \
        leave_epoch = $8, avoid_builder = $9, avoid_until = $10, cancelled_by = $11, queued_at = $12, \
        not_before = $13, deadline_at = $14, finished_at = $15 where id = $1 and version = $2";
    let written = execute!(
        tx,
        SAVE,
        old.id,
        old.version,
        new.state,
        new.version,
        new.epoch,
        new.infra_retries,
        new.dispatch_id,
        new.leave_epoch,
        new.avoid_builder,
        new.avoid_until,
        new.cancelled_by,
        new.queued_at,
        new.not_before,
        new.deadline_at,
        new.finished_at
    );
    if written == 0 {
        return Ok(Saved::Raced);
    }
    match (old.state.is_admitted(), new.state.is_admitted()) {
        (false, true) => {
            if !raise_running(tx, new.tenant_id).await? {
                return Ok(Saved::LimitReached);
            }
        }
        (true, false) => lower_running(tx, new.tenant_id).await?,
        (true, true) | (false, false) => {}
    }
    if old.state != new.state {
        settle_build(tx, new.build_id, now).await?;
    }
    Ok(Saved::Yes)
}

async fn raise_running(tx: &mut Tx, tenant: TenantId) -> Result<bool> {
    const RAISE: &str =
        "update tenant_running set running = running + 1 where tenant_id = $1 and running < running_limit";
    Ok(execute!(tx, RAISE, tenant) == 1)
}

async fn lower_running(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    const LOWER: &str = "update tenant_running set running = running - 1 where tenant_id = $1";
    execute!(tx, LOWER, tenant);
    Ok(())
}

/// Writes what `domain` says the build is now. The first statement locks the build's row, so that two jobs
/// ending at once do not each miss the other.
pub(crate) async fn settle_build(tx: &mut Tx, build: BuildId, now: DateTime<Utc>) -> Result<()> {
    const LOCK: &str = "update builds set state = state where id = $1";
    const STATES: &str = "select state, cancelled_by from jobs where build_id = $1";
    const SETTLE: &str = "update builds set state = $2, started_at = coalesce(started_at, $3), finished_at = $4 \
        where id = $1 and finished_at is null";
    execute!(tx, LOCK, build);
    let states: Vec<(JobState, Option<CancelledBy>)> =
        on_tx!(tx, conn => sqlx::query_as(STATES).bind(build).fetch_all(conn).await?);
    let state = build_state(&states);
    let started = (state != BuildState::Pending).then_some(now);
    let finished = state.is_terminal().then_some(now);
    execute!(tx, SETTLE, build, state, started, finished);
    Ok(())
}
