//! Ready jobs become offers. A job is dispatched first (its row names the dispatch id), then the hint goes
//! out; a hint that is lost is repeated after the row's deadline under a new id.

use slipway_domain::agent::Offer;
use slipway_domain::ids::{BuilderId, DispatchId};
use slipway_domain::timing;
use slipway_runtime::crash;
use slipway_runtime::ids::random_id;
use slipway_store::jobs::Job;
use tracing::{debug, error, warn};

use crate::Dispatcher;
use crate::fleet::Taker;

/// Ready jobs looked at in one pass.
const BATCH: i64 = 256;
/// Overdue rows repaired in one pass.
const REPAIRS: i64 = 256;

/// Runs until the process stops.
pub async fn run(dispatcher: Dispatcher) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = dispatcher.deps.life.stopping() => return Ok(()),
            () = dispatcher.offers.wait(timing::POLL) => {}
        }
        for (pass, result) in
            [("expire", expire_once(&dispatcher).await), ("dispatch", dispatch_once(&dispatcher).await)]
        {
            if let Err(error) = result {
                error!(pass, error = format!("{error:#}"), "dispatcher pass failed");
            }
        }
        hand_out(&dispatcher);
    }
}

/// Repairs jobs whose deadline passed: unclaimed offers among them.
async fn expire_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    let changed = deps.db.expire_jobs(now, REPAIRS).await?;
    for job in &changed {
        debug!(job.id = %job.id, state = %job.state, "deadline passed");
    }
    if changed.iter().any(|job| job.state.is_terminal()) {
        dispatcher.jobs_changed();
    }
    Ok(())
}

/// Dispatches ready jobs as far as builders of their pool are there to take them.
async fn dispatch_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let mut takers = dispatcher.fleet.takers(deps.clock.monotonic());
    if takers.is_empty() {
        return Ok(());
    }
    let now = deps.db.now(&deps.clock).await?;
    for job in deps.db.ready_jobs(BATCH).await? {
        let avoided = job.avoid_until.filter(|until| now < *until).and(job.avoid_builder);
        let Some(taker) = choose(&mut takers, &job, avoided) else { continue };
        taker.free -= 1;
        let offer = Offer { job: job.id, dispatch: random_id::<DispatchId>() };
        if !deps.db.dispatch_job(job.id, offer.dispatch, now).await? {
            continue;
        }
        crash::point("dispatch.before_publish");
        if let Err(error) = deps.bus.publish(&job.pool, offer) {
            // The row's deadline brings it back.
            warn!(job.id = %job.id, %error, "offer not published");
        }
    }
    Ok(())
}

/// The taker with the most room whose turn it is not to be avoided.
fn choose<'a>(takers: &'a mut [Taker], job: &Job, avoided: Option<BuilderId>) -> Option<&'a mut Taker> {
    takers
        .iter_mut()
        .filter(|taker| taker.pool == job.pool && taker.free > 0 && Some(taker.builder) != avoided)
        .max_by_key(|taker| taker.free)
}

/// Moves offers from the pools' queues to connected builders with room.
fn hand_out(dispatcher: &Dispatcher) {
    let now = dispatcher.deps.clock.monotonic();
    for taker in dispatcher.fleet.takers(now) {
        for _ in 0..taker.free {
            let Some(offer) = dispatcher.deps.bus.take(&taker.pool, |_| true) else { break };
            if !dispatcher.fleet.offer(taker.session, offer, now) {
                debug!(job.id = %offer.job, session.id = %taker.session, "offer not sent; its deadline brings it back");
            }
        }
    }
}
