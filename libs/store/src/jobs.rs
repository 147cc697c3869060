//! Jobs. Every change of a job is one compare-and-set on `version`: read the row, let `domain` decide, write
//! the whole row where the version is still the one that was read. Who loses reads again. The tenant's
//! running row and the build's state change in the same transaction, so they need no repair.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::{BuildState, CancelledBy, build_state};
use slipway_domain::builder::BuilderState;
use slipway_domain::ids::{BuildId, BuilderId, DispatchId, JobId, ProjectId, TenantId};
use slipway_domain::job::{IllegalTransition, JobEvent, JobKind, JobState};
use slipway_domain::placement::Pool;
use slipway_domain::spec::JobSpec;
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::attempts::{AttemptEnd, end_attempt};
use crate::builders::BuilderView;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::leaders::{Lead, check_lead};

/// How often a change that lost its compare-and-set is decided anew before the caller is told.
const CAS_TRIES: usize = 8;

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
    /// A builder that shall not have it for a moment.
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

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Every job is terminal now.
    Cancelled,
    /// These attempts must be told to stop.
    Stopping(Vec<AttemptRef>),
    /// An attempt was given leave: its tags may be moving.
    AlreadyPublishing,
    /// The build was over before.
    AlreadyFinished,
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

/// How full a pool is.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PoolStatus {
    /// `region/class/platform`.
    #[sqlx(try_from = "String")]
    pub pool: Pool,
    /// Jobs that wait for the scheduler.
    pub queued: i64,
    /// Jobs that are admitted and wait for a builder.
    pub ready: i64,
    /// Jobs on a builder.
    pub running: i64,
    /// Builders with an open session.
    pub builders: i64,
    /// Jobs that these would take now.
    pub free: i64,
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// In words.
    pub reason: String,
    /// Jobs of its pool that are before it, plus one.
    pub position: Option<i64>,
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

const OVERDUE: &str = "select id from jobs where deadline_at < $1 order by deadline_at limit $2";

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

    /// Cancels every job of a build that can still be cancelled. The caller has authorised it.
    pub async fn cancel_build(&self, build: BuildId, by: CancelledBy, now: DateTime<Utc>) -> Result<CancelOutcome> {
        let jobs = self.jobs_of_build(build).await?;
        if jobs.iter().all(|job| job.state.is_terminal()) {
            return Ok(CancelOutcome::AlreadyFinished);
        }
        let mut stopping = Vec::new();
        let mut publishing = false;
        for job in jobs {
            match self.cancel_job(job.id, by, now).await? {
                JobCancel::Stopping(attempt) => stopping.push(attempt),
                JobCancel::AlreadyPublishing => publishing = true,
                JobCancel::Terminal => {}
            }
        }
        Ok(match (stopping.is_empty(), publishing) {
            (false, _) => CancelOutcome::Stopping(stopping),
            (true, true) => CancelOutcome::AlreadyPublishing,
            (true, false) => CancelOutcome::Cancelled,
        })
    }

    /// Repairs jobs whose deadline passed: void dispatches go back to `ready`, silent cancels end, what
    /// waited or ran too long ends with its class. Returns the jobs that changed.
    pub async fn expire_jobs(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Job>> {
        let ids: Vec<JobId> =
            on_db!(self, conn => sqlx::query_scalar(OVERDUE).bind(now).bind(limit).fetch_all(conn).await?);
        let mut changed = Vec::new();
        for id in ids {
            match self.expire_job(id, now).await {
                Ok(Some(job)) => changed.push(job),
                Ok(None) => {}
                // One bad row never stops the pass; it is found again by the next one.
                Err(error) => tracing::error!(job.id = %id, %error, "a job's deadline could not be worked"),
            }
        }
        Ok(changed)
    }

    /// Every pool that has jobs or builders.
    pub async fn pools(&self) -> Result<Vec<PoolStatus>> {
        // Sums are numeric on PostgreSQL, therefore the casts.
        const POOLS: &str = "select pool, \
            cast(sum(queued) as bigint) as queued, cast(sum(ready) as bigint) as ready, \
            cast(sum(running) as bigint) as running, cast(sum(builders) as bigint) as builders, \
            cast(sum(free) as bigint) as free from ( \
            select pool, \
                case when state = 'queued' then 1 else 0 end as queued, \
                case when state in ('ready', 'dispatched') then 1 else 0 end as ready, \
                case when state in ('running', 'cancelling') then 1 else 0 end as running, \
                0 as builders, 0 as free from jobs where deadline_at is not null \
            union all \
            select pool, 0, 0, 0, 1, free from sessions where state = 'open' \
            ) as counts group by pool order by pool";
        Ok(on_db!(self, conn => sqlx::query_as::<_, PoolStatus>(POOLS).fetch_all(conn).await?))
    }

    /// Why a job waits, in words; `None` once it runs.
    pub async fn waiting(&self, job: &Job, now: DateTime<Utc>) -> Result<Option<Waiting>> {
        const AHEAD: &str = "select count(*) from jobs where state in ('queued', 'ready', 'dispatched') \
            and pool = $1 and id < $2";
        const AT_LIMIT: &str = "select count(*) from tenant_running where tenant_id = $1 and running >= running_limit";
        if !matches!(job.state, JobState::Blocked | JobState::Queued | JobState::Ready | JobState::Dispatched) {
            return Ok(None);
        }
        let pool_name = job.pool.to_string();
        let ahead: i64 =
            on_db!(self, conn => sqlx::query_scalar(AHEAD).bind(&pool_name).bind(job.id).fetch_one(conn).await?);
        let at_limit: i64 =
            on_db!(self, conn => sqlx::query_scalar(AT_LIMIT).bind(job.tenant_id).fetch_one(conn).await?);
        let builders = self.list_builders(now).await?;
        let reason = waiting_reason(job, &builders, at_limit > 0, now);
        Ok(Some(Waiting { reason, position: Some(ahead + 1) }))
    }

    async fn cancel_job(&self, id: JobId, by: CancelledBy, now: DateTime<Utc>) -> Result<JobCancel> {
        for _ in 0..CAS_TRIES {
            let mut tx = self.begin_write().await?;
            let job = job_in(&mut tx, id).await?;
            if job.state.is_terminal() {
                return Ok(JobCancel::Terminal);
            }
            if job.state == JobState::Running && job.leave_epoch == Some(job.epoch) {
                return Ok(JobCancel::AlreadyPublishing);
            }
            let attempt = AttemptRef { job: id, epoch: job.epoch };
            if job.state == JobState::Cancelling {
                return Ok(JobCancel::Stopping(attempt));
            }
            let next = Job { cancelled_by: Some(by), ..job.after(JobEvent::CancelRequested, now)? };
            if save(&mut tx, &job, &next, now).await? == Saved::Yes {
                tx.commit().await?;
                return Ok(if next.state.is_terminal() { JobCancel::Terminal } else { JobCancel::Stopping(attempt) });
            }
        }
        Err(StoreError::Stale("job"))
    }

    async fn expire_job(&self, id: JobId, now: DateTime<Utc>) -> Result<Option<Job>> {
        let mut tx = self.begin_write().await?;
        let job = job_in(&mut tx, id).await?;
        if job.deadline_at.is_none_or(|deadline| deadline >= now) {
            return Ok(None);
        }
        if matches!(job.state, JobState::Running | JobState::Cancelling) {
            let attempt = AttemptRef { job: id, epoch: job.epoch };
            end_attempt(&mut tx, attempt, AttemptEnd::deadline(&job, now)).await?;
        } else {
            let mut next = job.after(JobEvent::DeadlinePassed, now)?;
            if next.state == JobState::Cancelled {
                next.cancelled_by = Some(CancelledBy::Deadline);
            }
            if save(&mut tx, &job, &next, now).await? != Saved::Yes {
                return Ok(None);
            }
        }
        let after = job_in(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Some(after))
    }
}

/// How one job took a cancel.
enum JobCancel {
    Terminal,
    Stopping(AttemptRef),
    AlreadyPublishing,
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

fn waiting_reason(job: &Job, builders: &[BuilderView], at_limit: bool, now: DateTime<Utc>) -> String {
    let online = |builder: &&BuilderView| {
        builder.pool == job.pool && matches!(builder.state, BuilderState::Online | BuilderState::Draining)
    };
    let here: Vec<&BuilderView> = builders.iter().filter(online).collect();
    let refusing = |builder: &&&BuilderView| builder.busy < builder.slots && builder.load.not_taking.is_some();
    if job.state == JobState::Blocked {
        "It waits for other jobs of the build, or for an approval.".to_owned()
    } else if job.not_before > now {
        format!("The last try failed by our fault; the next one begins at {}.", job.not_before.format("%H:%M:%S UTC"))
    } else if job.state == JobState::Queued && at_limit {
        "The tenant runs as many jobs at once as its plan allows.".to_owned()
    } else if here.is_empty() {
        format!("No builder of pool {} is online.", job.pool)
    } else if here.iter().all(|builder| builder.serves_tenant.is_some_and(|tenant| tenant != job.tenant_id)) {
        format!(
            "Every builder of pool {} serves another tenant, and one shared engine serves only one. Start another \
             builder, or set SLIPWAY_TRUST_TENANTS=1 on the server if the tenants trust each other.",
            job.pool
        )
    } else if here.iter().all(|builder| builder.busy >= builder.slots) {
        format!("All slots of pool {} are busy.", job.pool)
    } else if let Some(builder) = here.iter().find(refusing)
        && here.iter().all(|builder| builder.busy >= builder.slots || builder.load.not_taking.is_some())
    {
        let why = builder.load.not_taking.as_deref().unwrap_or_default().trim_end_matches('.');
        format!("Builder {} takes nothing at the moment: {why}.", builder.name)
    } else {
        "A builder takes it in a moment.".to_owned()
    }
}
