//! The pass that admits: reads queue and pools, lets `choose` decide, commits one by one under the lead.

use slipway_live::{Topic, WakeKind};
use slipway_store::StoreError;
use slipway_store::jobs::Admission;
use slipway_store::leaders::Lead;
use tracing::{debug, error};

use crate::Deps;
use crate::choose::choose;

/// Queued jobs looked at in one pass.
const BATCH: i64 = 1000;

/// Admits what may run now. Safe to repeat, and safe beside another leader: each commit checks the term.
pub async fn admit_once(deps: &Deps, lead: &Lead) -> anyhow::Result<()> {
    // A tenant that reached its limit leaves the places that were meant for it to others; they are chosen anew.
    while admit_chosen(deps, lead).await? {}
    Ok(())
}

/// One choice. True if it met a tenant's limit, whose jobs the next choice leaves out.
async fn admit_chosen(deps: &Deps, lead: &Lead) -> anyhow::Result<bool> {
    let now = deps.db.now(&deps.clock).await?;
    let queued = deps.db.queued_jobs(now, BATCH).await?;
    if queued.is_empty() {
        return Ok(false);
    }
    let pools = deps.db.pools().await?;
    let mut admitted = 0;
    let mut full = Vec::new();
    for job in choose(&queued, &pools) {
        if full.contains(&job.tenant_id) {
            continue;
        }
        match deps.db.admit_job(lead, job.id, now).await {
            Ok(Admission::Admitted) => admitted += 1,
            Ok(Admission::LimitReached) => full.push(job.tenant_id),
            Ok(Admission::Gone) => {}
            Err(StoreError::Stale(what)) => return Err(StoreError::Stale(what).into()),
            // One bad row never stops the pass, nor does it keep its pool's place from the next one.
            Err(error) => {
                error!(job.id = %job.id, %error, "job not admitted");
                deps.db.postpone_admission(job.id, now).await?;
            }
        }
    }
    if admitted > 0 {
        debug!(admitted, "jobs admitted");
        deps.live.publish(Topic::Wake(WakeKind::Ready), Default::default());
    }
    // Only after an admission is there anything new to learn, so this ends.
    Ok(admitted > 0 && !full.is_empty())
}
