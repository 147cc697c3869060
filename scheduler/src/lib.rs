//! What may run: one leader admits queued jobs within the tenants' limits, a small window ahead of the slots
//! that are free. The backlog stays in the rows. The leader also writes down, minute by minute, how full the pools are.

mod admit;
mod choose;
mod sample;

use slipway_domain::ids::ProcessId;
use slipway_domain::timing;
use slipway_live::{Live, Topic, WakeKind};
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::random_id;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::wake::Wake;
use slipway_store::Db;
use slipway_store::leaders::Lead;
use tracing::{error, info};

use crate::sample::Sampler;

/// The lease row that the schedulers share.
const LEADERSHIP: &str = "scheduler";

/// Everything the scheduler stands on. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// The truth.
    pub db: Db,
    /// Wakes.
    pub live: Live,
    /// Time.
    pub clock: Clock,
    /// Tasks.
    pub life: Life,
}

/// Starts the loops; they live as long as the process.
pub fn start(deps: Deps) {
    let wake = Wake::default();
    let life = deps.life.clone();
    life.spawn("scheduler wakes", forward_wakes(deps.clone(), wake.clone()));
    life.spawn("scheduler", run(deps, wake));
}

async fn run(deps: Deps, wake: Wake) -> anyhow::Result<()> {
    let process: ProcessId = random_id();
    let mut lead: Option<Lead> = None;
    let mut sampler = Sampler::default();
    let mut renew_at = deps.clock.monotonic();
    loop {
        if deps.clock.monotonic() >= renew_at {
            lead = take_lead(&deps, process, lead).await;
            renew_at = deps.clock.monotonic() + timing::LEADER_RENEW;
        }
        if let Some(current) = &lead {
            if let Err(error) = admit::admit_once(&deps, current).await {
                error!(error = format!("{error:#}"), "scheduler pass failed");
                // Perhaps somebody else leads by now; ask before the next pass.
                renew_at = deps.clock.monotonic();
            }
            sampler.sample_once(&deps).await;
        }
        tokio::select! {
            () = deps.life.stopping() => break,
            () = wake.wait(timing::POLL) => {}
        }
    }
    if let Some(lead) = lead {
        deps.db.leave_lead(&lead, deps.db.now(&deps.clock).await?).await?;
    }
    Ok(())
}

async fn take_lead(deps: &Deps, process: ProcessId, before: Option<Lead>) -> Option<Lead> {
    let taken = async {
        let now = deps.db.now(&deps.clock).await?;
        deps.db.take_lead(LEADERSHIP, process, timing::LEADER_LEASE, now).await
    };
    match taken.await {
        Ok(lead) => {
            if lead != before {
                info!(leading = lead.is_some(), term = lead.as_ref().map(|lead| lead.term), "leadership changed");
            }
            lead
        }
        Err(error) => {
            error!(%error, "the lead could not be taken or renewed");
            None
        }
    }
}

async fn forward_wakes(deps: Deps, wake: Wake) -> anyhow::Result<()> {
    let mut jobs = deps.live.subscribe(Topic::Wake(WakeKind::Jobs)).await;
    let mut finished = deps.live.subscribe(Topic::Wake(WakeKind::Finished)).await;
    loop {
        tokio::select! {
            () = deps.life.stopping() => return Ok(()),
            _ = jobs.next() => wake.ring(),
            _ = finished.next() => wake.ring(),
        }
    }
}
