//! The pools' queues, for builders without a path of their own to the bus: as many offers are taken as those builders
//! have free slots, and each is acked when its claim is decided. What this process holds when it dies goes back to
//! its queue; what lies there too long is void, and its row's deadline rings again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use slipway_domain::placement::Pool;
use slipway_domain::timing;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::Dispatcher;

/// The pools that are fed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Feeds(Arc<Mutex<HashSet<Pool>>>);

impl Feeds {
    /// Makes the pool's queue and begins to feed its builders, unless that was begun already.
    pub fn begin(&self, dispatcher: &Dispatcher, pool: &Pool) {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pool.clone()) {
            return;
        }
        dispatcher.deps.life.spawn("feed", feed(dispatcher.clone(), pool.clone()));
    }
}

/// Runs until the process stops.
async fn feed(dispatcher: Dispatcher, pool: Pool) -> anyhow::Result<()> {
    let (bus, clock) = (&dispatcher.deps.bus, &dispatcher.deps.clock);
    if let Err(error) = bus.declare(&pool).await {
        warn!(%pool, %error, "the pool's queue could not be made yet; offers go over the sessions");
    }
    let mut consumer = bus.consume(&pool);
    let mut changes = dispatcher.fleet.changes();
    let mut credit = 0;
    loop {
        changes.mark_unchanged();
        let room = dispatcher.fleet.room(&pool, clock.monotonic());
        if room != credit {
            consumer.credit(room).await;
            credit = room;
        }
        tokio::select! {
            () = dispatcher.deps.life.stopping() => return Ok(()),
            delivery = consumer.next() => {
                credit = credit.saturating_sub(1);
                let job = delivery.offer.job;
                if let Err(delivery) = dispatcher.fleet.feed(&pool, delivery, clock.monotonic()) {
                    debug!(job.id = %job, "no room for an offer any more");
                    delivery.give_back().await;
                }
            }
            // A session that fell silent rings nothing.
            _ = timeout(timing::POLL, changes.changed()) => {}
        }
    }
}
