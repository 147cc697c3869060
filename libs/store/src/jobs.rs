//! Jobs. Every change of a job is one compare-and-set on `version`: read the row, let `domain` decide, write
//! the whole row where the version is still the one that was read. Who loses reads again. The tenant's
//! running row and the build's state change in the same transaction, so they need no repair.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::build::{CancelledBy, build_state};
use slipway_domain::ids::{BuildId, BuilderId, DispatchId, JobId, ProjectId, SessionId, TenantId};
use slipway_domain::job::{IllegalTransition, JobEvent, JobKind, JobState};
use slipway_domain::placement::Pool;
use slipway_domain::spec::JobSpec;
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::batches;
use crate::batches::jobs::Change;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::leaders::{Lead, check_lead};
use crate::readable::readable;

/// A row that could not be worked comes again after this time, so that those behind it have their turn.
pub(crate) const TRY_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// How often what lost its compare-and-set is decided anew before the caller is told.
pub(crate) const CAS_TRIES: usize = 8;

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
    deadline_at, finished_at from jobs where state = 'queued' and pool = $2 and not_before <= $1 \
    and exists (select 1 from sessions s join builders b on b.id = s.builder_id where s.pool = jobs.pool \
    and s.state = 'open' and (b.serves_tenant is null or b.serves_tenant = jobs.tenant_id)) \
    and exists (select 1 from tenant_running t where t.tenant_id = jobs.tenant_id and t.running < t.running_limit) \
    order by id limit $3";

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

    /// The oldest jobs of a pool that the scheduler may admit, at most `limit`. Those that nobody could run now,
    /// because the pool has no builder for their tenant or that is at its limit, take no place among them.
    pub async fn queued_jobs(&self, pool: &Pool, now: DateTime<Utc>, limit: i64) -> Result<Vec<Job>> {
        let mut jobs: Vec<Job> = readable!(self, "jobs", QUEUED, [now, pool.to_string()], limits[limit]);
        jobs.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(jobs)
    }

    /// How many jobs more the tenants of these jobs may run.
    pub async fn tenant_rooms(&self, jobs: &[Job]) -> Result<HashMap<TenantId, i64>> {
        batches::jobs::tenant_rooms(self, &jobs.iter().map(|job| job.tenant_id).collect()).await
    }

    /// What builders will be told of these jobs, as far as they are there.
    pub async fn job_specs(&self, ids: &[JobId]) -> Result<HashMap<JobId, JobSpec>> {
        batches::jobs::job_specs(self, ids).await
    }

    /// The oldest jobs that wait for a dispatch, at most `limit`.
    pub async fn ready_jobs(&self, limit: i64) -> Result<Vec<Job>> {
        let mut jobs: Vec<Job> = readable!(self, "jobs", READY, [], limits[limit]);
        jobs.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(jobs)
    }

    /// `queued -> ready` under the tenant's limit, as the leader of `lead`. Fails with `Stale` when
    /// somebody else leads by now.
    pub async fn admit_job(&self, lead: &Lead, id: JobId, now: DateTime<Utc>) -> Result<Admission> {
        let job = self.job(id).await?;
        if job.state != JobState::Queued || job.not_before > now {
            return Ok(Admission::Gone);
        }
        let admitted = self.admit_jobs(lead, std::slice::from_ref(&job), now).await?;
        Ok(match admitted {
            None => Admission::LimitReached,
            Some(admitted) if admitted.contains(&id) => Admission::Admitted,
            Some(_) => Admission::Gone,
        })
    }

    /// The same for many queued jobs as they were read, all or, where a tenant would exceed its limit, none
    /// (`None`). Gives those that were admitted; the others were cancelled or changed meanwhile.
    pub async fn admit_jobs(&self, lead: &Lead, jobs: &[Job], now: DateTime<Utc>) -> Result<Option<HashSet<JobId>>> {
        let mut changes = Vec::with_capacity(jobs.len());
        for job in jobs {
            changes.push(Change { old: job.clone(), new: job.after(JobEvent::Admitted, now)? });
        }
        let mut tx = self.begin_write().await?;
        check_lead(&mut tx, lead, now).await?;
        let admitted = batches::jobs::save_jobs(&mut tx, &changes).await?;
        let by = by_tenant(changes.iter().filter(|change| admitted.contains(&change.new.id)), 1);
        if batches::jobs::move_running(&mut tx, &by).await? < by.len() as u64 {
            return Ok(None);
        }
        slipway_runtime::crash::point("admission.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("admission.after_commit");
        Ok(Some(admitted))
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
        self.take_back_job(id, declined, None, now).await
    }

    /// The same where its claim was refused, because the session's builder may not have the job: for a moment it is
    /// avoided, unless another one is, so that the next offer goes to one that was chosen and not to whoever is first.
    pub async fn refuse_job(
        &self,
        id: JobId,
        refused: DispatchId,
        session: SessionId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        self.take_back_job(id, refused, Some(session), now).await
    }

    async fn take_back_job(
        &self,
        id: JobId,
        dispatch: DispatchId,
        refused: Option<SessionId>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        const BUILDER: &str = "select builder_id from sessions where id = $1";
        let mut tx = self.begin_write().await?;
        let job = match job_in(&mut tx, id).await {
            Err(StoreError::NotFound(_)) => return Ok(false),
            other => other?,
        };
        if job.state != JobState::Dispatched || job.dispatch_id != Some(dispatch) {
            return Ok(false);
        }
        let mut next = job.after(JobEvent::OfferDeclined, now)?;
        if let Some(session) = refused
            && job.avoids(now).is_none()
        {
            next.avoid_builder =
                on_tx!(&mut tx, conn => sqlx::query_scalar(BUILDER).bind(session).fetch_optional(conn).await?);
            next.avoid_until = next.avoid_builder.map(|_| now + delta(timing::AVOID_BUILDER));
        }
        let saved = save(&mut tx, &job, &next, now).await? == Saved::Yes;
        if saved {
            tx.commit().await?;
        }
        Ok(saved)
    }

    /// `ready -> dispatched` under a new dispatch id. False when somebody was faster.
    pub async fn dispatch_job(&self, id: JobId, dispatch: DispatchId, now: DateTime<Utc>) -> Result<bool> {
        let job = self.job(id).await?;
        if job.state != JobState::Ready {
            return Ok(false);
        }
        Ok(self.dispatch_jobs(&[(&job, dispatch)], now).await?.contains(&id))
    }

    /// The same for many ready jobs as they were read. Gives those that were dispatched.
    pub async fn dispatch_jobs(&self, dispatches: &[(&Job, DispatchId)], now: DateTime<Utc>) -> Result<HashSet<JobId>> {
        let mut changes = Vec::with_capacity(dispatches.len());
        for (job, dispatch) in dispatches {
            let new = Job { dispatch_id: Some(*dispatch), ..job.after(JobEvent::Dispatched, now)? };
            changes.push(Change { old: (*job).clone(), new });
        }
        let mut tx = self.begin_write().await?;
        let dispatched = save_all(&mut tx, &changes, now).await?;
        slipway_runtime::crash::point("dispatch.before_commit");
        tx.commit().await?;
        Ok(dispatched)
    }
}

/// What became of a compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    Yes,
    Raced,
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

/// Writes `new` where the row still is `old`, with all that follows from it ([`save_all`]).
pub(crate) async fn save(tx: &mut Tx, old: &Job, new: &Job, now: DateTime<Utc>) -> Result<Saved> {
    let change = Change { old: old.clone(), new: new.clone() };
    let saved = save_all(tx, std::slice::from_ref(&change), now).await?;
    Ok(if saved.contains(&old.id) { Saved::Yes } else { Saved::Raced })
}

/// Writes each new row where the old one still stands, lowers the running rows of the tenants whose jobs leave
/// ready..cancelling, and settles the builds. Gives the jobs that were written. Only an admission raises a running
/// row, and has its own way. Lock order: job, tenant, build.
pub(crate) async fn save_all(tx: &mut Tx, changes: &[Change], now: DateTime<Utc>) -> Result<HashSet<JobId>> {
    let saved = batches::jobs::save_jobs(tx, changes).await?;
    let written = || changes.iter().filter(|change| saved.contains(&change.new.id));
    let left = |change: &&Change| change.old.state.is_admitted() && !change.new.state.is_admitted();
    let lowered = by_tenant(written().filter(left), -1);
    if !lowered.is_empty() {
        batches::jobs::move_running(tx, &lowered).await?;
    }
    let turned = |change: &&Change| !looks_the_same(change.old.state, change.new.state);
    let builds: BTreeSet<BuildId> = written().filter(turned).map(|change| change.new.build_id).collect();
    if !builds.is_empty() {
        batches::jobs::lock_builds(tx, &builds).await?;
        let states = batches::jobs::states_of_builds(tx, &builds).await?;
        let settled = states.into_iter().map(|(build, jobs)| (build, build_state(&jobs)));
        batches::jobs::settle_builds(tx, settled, now).await?;
    }
    Ok(saved)
}

/// How much the running row of each tenant moves.
fn by_tenant<'a>(changes: impl Iterator<Item = &'a Change>, each: i64) -> BTreeMap<TenantId, i64> {
    let mut by = BTreeMap::new();
    for change in changes {
        *by.entry(change.new.tenant_id).or_default() += each;
    }
    by
}

/// Whether a build looks the same with a job in either state: alone, and so among others.
fn looks_the_same(old: JobState, new: JobState) -> bool {
    old == new || !old.is_terminal() && !new.is_terminal() && build_state(&[(old, None)]) == build_state(&[(new, None)])
}
