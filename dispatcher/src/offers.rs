//! Ready jobs become offers. A job is dispatched first (its row names the dispatch id), then the hint goes
//! out; a hint that is lost is repeated after the row's deadline under a new id.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use slipway_domain::agent::Offer;
use slipway_domain::ids::{BuilderId, DispatchId, JobId, SessionId, TenantId};
use slipway_domain::placement::Pool;
use slipway_domain::timing;
use slipway_runtime::crash;
use slipway_runtime::ids::random_id;
use slipway_store::jobs::Job;
use tracing::{debug, error};

use crate::fleet::Taker;
use crate::{Dispatcher, tally};

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
    }
}

/// Repairs jobs whose deadline passed: unclaimed offers among them.
async fn expire_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    let changed = deps.db.expire_jobs(now, REPAIRS).await?;
    for job in &changed {
        tally::job_expired(job);
        debug!(job.id = %job.id, state = %job.state, "deadline passed");
    }
    if changed.iter().any(|job| job.state.is_terminal()) {
        dispatcher.jobs_changed();
    }
    Ok(())
}

/// A dispatch to be committed, and where its offer goes.
struct Choice {
    job: Job,
    offer: Offer,
    session: SessionId,
    /// On the pool's queue somebody might take it who may not have it.
    direct: bool,
}

/// Dispatches ready jobs as far as builders of their pool are there to take them.
pub(crate) async fn dispatch_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let began = deps.clock.monotonic();
    let mut takers = dispatcher.fleet.unoffered(began);
    if takers.is_empty() {
        return Ok(());
    }
    let now = deps.db.now(&deps.clock).await?;
    let mut choices = Vec::new();
    for job in deps.db.ready_jobs(BATCH).await? {
        let avoided = deps.db.avoided_builder(&job, now).await?;
        let wish = Wish { pool: &job.pool, tenant: job.tenant_id, avoided };
        let direct = avoided.is_some() || takers.iter().any(|taker| taker.pool == job.pool && !wish.may_have(taker));
        let Some(taker) = choose(&mut takers, &wish) else { continue };
        taker.free -= 1;
        let offer = Offer { job: job.id, dispatch: random_id::<DispatchId>() };
        choices.push(Choice { session: taker.session, offer, direct, job });
    }
    let dispatched = commit(dispatcher, &choices, now).await;
    choices.retain(|choice| dispatched.contains(&choice.job.id));
    if choices.is_empty() {
        return Ok(());
    }
    crash::point("dispatch.before_publish");
    // What is not sent is brought back by the row's deadline.
    let sent = choices.iter().map(|choice| async {
        if choice.direct || !publish(dispatcher, &choice.job.pool, choice.offer).await {
            dispatcher.fleet.offer(choice.session, choice.offer, began);
        }
    });
    join_all(sent).await;
    Ok(())
}

/// Gives the jobs that are dispatched now: all in one commit or, when that fails, each in its own.
async fn commit(dispatcher: &Dispatcher, choices: &[Choice], now: DateTime<Utc>) -> HashSet<JobId> {
    let db = &dispatcher.deps.db;
    let dispatches: Vec<_> = choices.iter().map(|choice| (&choice.job, choice.offer.dispatch)).collect();
    if dispatches.is_empty() {
        return HashSet::new();
    }
    match db.dispatch_jobs(&dispatches, now).await {
        Ok(dispatched) => return dispatched,
        Err(error) => debug!(%error, jobs = dispatches.len(), "jobs not dispatched together"),
    }
    let mut dispatched = HashSet::new();
    for dispatch in &dispatches {
        match db.dispatch_jobs(std::slice::from_ref(dispatch), now).await {
            Ok(one) => dispatched.extend(one),
            // One bad row never stops the pass.
            Err(error) => error!(job.id = %dispatch.0.id, %error, "job not dispatched"),
        }
    }
    dispatched
}

/// Puts an offer on its pool's queue. False when that did not work: the session is the other way.
async fn publish(dispatcher: &Dispatcher, pool: &Pool, offer: Offer) -> bool {
    dispatcher.fleet.queued(pool, offer.dispatch, dispatcher.deps.clock.monotonic());
    match dispatcher.deps.bus.publish_offer(pool, offer).await {
        Ok(()) => {
            crash::point("offer.confirmed");
            true
        }
        Err(error) => {
            debug!(job.id = %offer.job, %error, "offer not published");
            false
        }
    }
}

/// Who may have a job.
struct Wish<'a> {
    pool: &'a Pool,
    tenant: TenantId,
    avoided: Option<BuilderId>,
}

impl Wish<'_> {
    fn may_have(&self, taker: &Taker) -> bool {
        taker.pool == *self.pool && Some(taker.builder) != self.avoided && !taker.refuses.contains(&self.tenant)
    }
}

/// The taker with the most room that may have the job.
fn choose<'a>(takers: &'a mut [Taker], wish: &Wish<'_>) -> Option<&'a mut Taker> {
    takers.iter_mut().filter(|taker| taker.free > 0 && wish.may_have(taker)).max_by_key(|taker| taker.free)
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::new_id;

    use super::*;

    #[test]
    fn the_roomiest_gets_the_job_unless_it_is_avoided_or_refuses_the_tenant() {
        let pool: Pool = "a/b/c".parse().expect("valid");
        let taker = |free, pool: &str| Taker {
            session: new_id(),
            builder: new_id(),
            pool: pool.parse().expect("valid"),
            refuses: [].into(),
            free,
            from_queue: false,
        };
        let mut takers = [taker(1, "a/b/c"), taker(3, "a/b/c"), taker(9, "x/b/c"), taker(2, "a/b/c")];
        let [small, large, _, middle] = takers.each_ref().map(|taker| taker.builder);
        let tenant = new_id();
        takers[3].refuses.insert(tenant);
        let mut chosen =
            |tenant, avoided| choose(&mut takers, &Wish { pool: &pool, tenant, avoided }).map(|taker| taker.builder);
        assert_eq!(chosen(new_id(), None), Some(large));
        assert_eq!(chosen(new_id(), Some(large)), Some(middle));
        assert_eq!(chosen(tenant, Some(large)), Some(small));
    }
}
