//! Ready jobs become offers. A job is dispatched first (its row names the dispatch id), then the hint goes
//! out; a hint that is lost is repeated after the row's deadline under a new id.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use slipway_domain::agent::Offer;
use slipway_domain::ids::{DispatchId, JobId, SessionId};
use slipway_domain::placement::Pool;
use slipway_domain::timing;
use slipway_runtime::crash;
use slipway_runtime::ids::random_id;
use slipway_store::jobs::Job;
use tracing::{debug, error};

use crate::choice::{Room, Wish};
use crate::declines::abandoned;
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
            () = dispatcher.offers.wait(pause(&dispatcher)) => {}
        }
        // What went to a warm cache and was not decided there in time goes to anybody.
        let late = dispatcher.fleet.late(dispatcher.deps.clock.monotonic());
        abandoned(&dispatcher, late).await;
        for (pass, result) in
            [("expire", expire_once(&dispatcher).await), ("dispatch", dispatch_once(&dispatcher).await)]
        {
            if let Err(error) = result {
                error!(pass, error = format!("{error:#}"), "dispatcher pass failed");
            }
        }
    }
}

/// Until somebody has to look again, rung or not.
fn pause(dispatcher: &Dispatcher) -> Duration {
    let now = dispatcher.deps.clock.monotonic();
    dispatcher.fleet.next_late(now).map_or(timing::POLL, |late| late.min(timing::POLL))
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
    way: Way,
}

/// How an offer reaches a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the pool's queue; the session is the other way.
    Queue,
    /// To the session: on the pool's queue somebody might take it who may not have it.
    Direct,
    /// To the session, because its engine's cache is warm.
    Warm,
}

/// Dispatches ready jobs as far as builders of their pool are there to take them.
pub(crate) async fn dispatch_once(dispatcher: &Dispatcher) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let began = deps.clock.monotonic();
    let takers = dispatcher.fleet.unoffered(began);
    if takers.is_empty() {
        return Ok(());
    }
    let now = deps.db.now(&deps.clock).await?;
    let mut choices = Vec::new();
    let jobs = deps.db.ready_jobs(BATCH).await?;
    let mut room = Room::new(takers, dispatcher.fleet.climate(jobs.iter(), began));
    for job in jobs {
        let avoided = deps.db.avoided_builder(&job, now).await?;
        let wish = Wish { pool: &job.pool, tenant: job.tenant_id, project: job.project_id, avoided };
        let direct = avoided.is_some() || room.is_mixed(&wish);
        let (session, way) = match room.warmest(&wish) {
            Some(session) => (session, Way::Warm),
            None => match room.roomiest(&wish) {
                Some(session) => (session, if direct { Way::Direct } else { Way::Queue }),
                None => continue,
            },
        };
        let offer = Offer { job: job.id, dispatch: random_id::<DispatchId>() };
        choices.push(Choice { session, offer, way, job });
    }
    let dispatched = commit(dispatcher, &choices, now).await;
    choices.retain(|choice| dispatched.contains(&choice.job.id));
    if choices.is_empty() {
        return Ok(());
    }
    crash::point("dispatch.before_publish");
    // What is not sent is brought back by the row's deadline.
    join_all(choices.iter().map(|choice| send(dispatcher, choice, began))).await;
    Ok(())
}

async fn send(dispatcher: &Dispatcher, choice: &Choice, began: Instant) {
    let Choice { job, offer, session, way } = choice;
    if *way == Way::Warm && dispatcher.fleet.offer_for_warmth(*session, *offer, job.project_id, began) {
        debug!(job.id = %job.id, session.id = %session, "offered where the cache is warm");
        return tally::offered(true);
    }
    if *way == Way::Direct || !publish(dispatcher, &job.pool, *offer).await {
        dispatcher.fleet.offer(*session, *offer, began);
    }
    tally::offered(false);
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

#[cfg(test)]
mod tests;
