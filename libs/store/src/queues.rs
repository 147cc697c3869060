//! The pools' queues as people and the scheduler see them: how full each is, and why a job in it waits.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};
use slipway_domain::builder::BuilderState;
use slipway_domain::ids::JobId;
use slipway_domain::job::JobState;
use slipway_domain::placement::Pool;
use sqlx::FromRow;

use crate::Db;
use crate::batches;
use crate::builders::BuilderView;
use crate::db::on_db;
use crate::error::Result;
use crate::jobs::Job;
use crate::readable::{Rows, split};

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

/// What a pool with builders would take, without a look at its backlog.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PoolRoom {
    /// `region/class/platform`.
    #[sqlx(try_from = "String")]
    pub pool: Pool,
    /// Jobs that are admitted and wait for a builder.
    pub ready: i64,
    /// Jobs that its builders would take now.
    pub free: i64,
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for.
    pub reason: WaitReason,
    /// The same for callers who belong to nobody here: no builder, no other tenant and no setting is named.
    pub public_reason: WaitReason,
    /// Jobs of its pool that are before it, plus one.
    pub position: Option<i64>,
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// A stranger's change wants a member's approval.
    Approval,
    /// The last try failed by our fault.
    NextTry(DateTime<Utc>),
    /// The tenant runs as many jobs as its plan allows.
    Plan,
    /// No builder of this pool is online.
    NoBuilder(Pool),
    /// All builders of this pool serve another tenant.
    OtherTenant(Pool),
    /// No builder of this pool takes it; no more is told.
    Nobody(Pool),
    /// All slots of this pool are busy.
    Busy(Pool),
    /// Who would have room takes nothing.
    NotTaking {
        /// The name of one of them.
        builder: String,
        /// What it says, without a full stop.
        why: String,
    },
    /// Nothing is in its way.
    Soon,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval => f.write_str("Strangers wrote it: it waits until a member with write access approves it."),
            Self::NextTry(at) => {
                let next = at.format("%H:%M:%S UTC");
                write!(f, "The last try failed by our fault; the next one begins at {next}.")
            }
            Self::Plan => f.write_str("The tenant runs as many jobs at once as its plan allows."),
            Self::NoBuilder(pool) => write!(f, "No builder of pool {pool} is online."),
            Self::OtherTenant(pool) => write!(
                f,
                "Every builder of pool {pool} serves another tenant, and one shared engine serves only one. Start \
                 another builder, or set SLIPWAY_TRUST_TENANTS=1 on the server if the tenants trust each other."
            ),
            Self::Nobody(pool) => write!(f, "No builder of pool {pool} takes it at the moment."),
            Self::Busy(pool) => write!(f, "All slots of pool {pool} are busy."),
            Self::NotTaking { builder, why } => write!(f, "Builder {builder} takes nothing at the moment: {why}."),
            Self::Soon => f.write_str("A builder takes it in a moment."),
        }
    }
}

impl Db {
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

    /// Every pool that has builders. Costs the same whatever waits in them.
    pub async fn pool_rooms(&self) -> Result<Vec<PoolRoom>> {
        const ROOMS: &str = "select s.pool, (select count(*) from jobs j where j.pool = s.pool \
            and j.state in ('ready', 'dispatched')) as ready, s.free from (select pool, \
            cast(sum(free) as bigint) as free from sessions where state = 'open' group by pool) as s order by s.pool";
        let rooms: Rows<PoolRoom> = on_db!(self, conn => split(&sqlx::query(ROOMS).fetch_all(conn).await?));
        Ok(rooms.tell("sessions"))
    }

    /// Why a job waits; `None` once it runs.
    pub async fn waiting(&self, job: &Job, now: DateTime<Utc>) -> Result<Option<Waiting>> {
        Ok(self.waiting_jobs(&[job], now).await?.remove(&job.id))
    }

    /// Why each of these jobs waits; those that do not are left out.
    pub async fn waiting_jobs(&self, jobs: &[&Job], now: DateTime<Utc>) -> Result<HashMap<JobId, Waiting>> {
        let waits = |job: &&&Job| {
            matches!(job.state, JobState::Blocked | JobState::Queued | JobState::Ready | JobState::Dispatched)
        };
        let jobs: HashMap<JobId, &Job> = jobs.iter().filter(waits).map(|job| (job.id, *job)).collect();
        if jobs.is_empty() {
            return Ok(HashMap::new());
        }
        let builders = self.list_builders(now).await?;
        let ids: Vec<JobId> = jobs.keys().copied().collect();
        let places = batches::queue_places(self, &ids).await?;
        let waiting = |(id, ahead, at_limit): (JobId, i64, i64)| {
            let (reason, public) = waiting_reason(jobs.get(&id)?, &builders, at_limit > 0, now);
            let public_reason = public.unwrap_or_else(|| reason.clone());
            Some((id, Waiting { reason, public_reason, position: Some(ahead + 1) }))
        };
        Ok(places.into_iter().filter_map(waiting).collect())
    }
}

/// For members, and for the public where that must not read the same.
fn waiting_reason(
    job: &Job,
    builders: &[BuilderView],
    at_limit: bool,
    now: DateTime<Utc>,
) -> (WaitReason, Option<WaitReason>) {
    let online = |builder: &&BuilderView| {
        builder.pool == job.pool && matches!(builder.state, BuilderState::Online | BuilderState::Draining)
    };
    let here: Vec<&BuilderView> = builders.iter().filter(online).collect();
    // Those that serve another tenant take none of its jobs, and nothing is told of them.
    let takes = |builder: &&BuilderView| builder.serves_tenant.is_none_or(|tenant| tenant == job.tenant_id);
    let own: Vec<&BuilderView> = here.iter().copied().filter(takes).collect();
    let refusing = |builder: &&&BuilderView| builder.busy < builder.slots && builder.load.not_taking.is_some();
    let pool = || job.pool.clone();
    if job.state == JobState::Blocked {
        (WaitReason::Approval, None)
    } else if job.not_before > now {
        (WaitReason::NextTry(job.not_before), None)
    } else if job.state == JobState::Queued && at_limit {
        (WaitReason::Plan, None)
    } else if here.is_empty() {
        (WaitReason::NoBuilder(pool()), None)
    } else if own.is_empty() {
        (WaitReason::OtherTenant(pool()), Some(WaitReason::Nobody(pool())))
    } else if own.iter().all(|builder| builder.busy >= builder.slots) {
        (WaitReason::Busy(pool()), None)
    } else if let Some(builder) = own.iter().find(refusing)
        && own.iter().all(|builder| builder.busy >= builder.slots || builder.load.not_taking.is_some())
    {
        let why = builder.load.not_taking.as_deref().unwrap_or_default().trim_end_matches('.').to_owned();
        (WaitReason::NotTaking { builder: builder.name.clone(), why }, Some(WaitReason::Nobody(pool())))
    } else {
        (WaitReason::Soon, None)
    }
}
