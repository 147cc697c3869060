//! The pass that admits: for each pool with room its oldest jobs, as many as fit, in one commit under the lead.

use slipway_live::{Topic, WakeKind};
use slipway_store::StoreError;
use slipway_store::jobs::{Admission, Job};
use slipway_store::leaders::Lead;
use slipway_store::queues::PoolRoom;
use tracing::{debug, error};

use crate::Deps;
use crate::choose::{choose, window};

/// Most jobs of a pool that are admitted in one commit.
const BATCH: i64 = 1000;

/// What a look at one pool led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looked {
    admitted: usize,
    /// Jobs were left out, and others may stand behind them.
    more: bool,
}

/// Admits what may run now. Safe to repeat, and safe beside another leader: each commit checks the term.
pub async fn admit_once(deps: &Deps, lead: &Lead) -> anyhow::Result<()> {
    // A tenant that reached its limit leaves the places that were meant for it to others; they are chosen anew.
    while admit_round(deps, lead).await? {}
    Ok(())
}

/// One look at every pool. True if another one would find more.
async fn admit_round(deps: &Deps, lead: &Lead) -> anyhow::Result<bool> {
    let (mut admitted, mut more) = (0, false);
    for room in deps.db.pool_rooms().await? {
        let looked = admit_to_pool(deps, lead, &room).await?;
        admitted += looked.admitted;
        // Only after an admission is there anything new to learn, so this ends.
        more |= looked.more && looked.admitted > 0;
    }
    if admitted > 0 {
        debug!(admitted, "jobs admitted");
        deps.live.publish(Topic::Wake(WakeKind::Ready), Default::default());
    }
    Ok(more)
}

async fn admit_to_pool(deps: &Deps, lead: &Lead, room: &PoolRoom) -> anyhow::Result<Looked> {
    let places = window(room).min(BATCH);
    if places <= 0 {
        return Ok(Looked { admitted: 0, more: false });
    }
    let now = deps.db.now(&deps.clock).await?;
    let queued = deps.db.queued_jobs(&room.pool, now, places).await?;
    if queued.is_empty() {
        return Ok(Looked { admitted: 0, more: false });
    }
    let rooms = deps.db.tenant_rooms(&queued).await?;
    let chosen: Vec<Job> = choose(&queued, rooms).into_iter().cloned().collect();
    let more = chosen.len() < queued.len();
    let admitted = match deps.db.admit_jobs(lead, &chosen, now).await {
        Ok(Some(admitted)) => admitted.len(),
        Err(StoreError::Stale(what)) => return Err(StoreError::Stale(what).into()),
        // A limit was lowered meanwhile, or one of the rows is bad: the others go on without it.
        Ok(None) => admit_each(deps, lead, &chosen).await?,
        Err(error) => {
            debug!(%error, "jobs not admitted together");
            admit_each(deps, lead, &chosen).await?
        }
    };
    Ok(Looked { admitted, more })
}

async fn admit_each(deps: &Deps, lead: &Lead, jobs: &[Job]) -> anyhow::Result<usize> {
    let now = deps.db.now(&deps.clock).await?;
    let mut admitted = 0;
    for job in jobs {
        match deps.db.admit_job(lead, job.id, now).await {
            Ok(Admission::Admitted) => admitted += 1,
            Ok(Admission::LimitReached | Admission::Gone) => {}
            Err(StoreError::Stale(what)) => return Err(StoreError::Stale(what).into()),
            // One bad row never stops the pass, nor does it keep its pool's place from the next one.
            Err(error) => {
                error!(job.id = %job.id, %error, "job not admitted");
                deps.db.postpone_admission(job.id, now).await?;
            }
        }
    }
    Ok(admitted)
}
