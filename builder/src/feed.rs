//! Offers from the pool's queue on the broker, where this builder has a path to it: taken only while a slot is free and
//! the host is not under pressure, so that whoever is less busy takes more. What is not taken stays for others.

use std::sync::Arc;

use slipway_bus::Bus;
use slipway_domain::placement::Pool;
use tracing::debug;

use crate::agent::Agent;
use crate::claim::{self, Claims};
use crate::session::unwilling;

/// Runs as long as the session does; dropped, it gives back what it has not claimed.
pub async fn run(agent: &Arc<Agent>, bus: &Bus, pool: &Pool, claims: &Claims) -> std::convert::Infallible {
    let mut consumer = bus.consume(pool);
    let (mut slots, mut readiness) = (agent.slots.changes(), agent.readiness.clone());
    let mut draining = agent.draining.subscribe();
    let mut credit = 0;
    loop {
        slots.mark_unchanged();
        readiness.mark_unchanged();
        draining.mark_unchanged();
        let wanted = if unwilling(agent).is_none() { u32::try_from(agent.slots.free()).unwrap_or(0) } else { 0 };
        if wanted != credit {
            consumer.credit(wanted).await;
            credit = wanted;
        }
        tokio::select! {
            delivery = consumer.next() => {
                credit = credit.saturating_sub(1);
                let offer = delivery.offer;
                match unwilling(agent) {
                    None => claim::consider(agent, claims, offer, Some(delivery)),
                    Some(reason) => {
                        debug!(job.id = %offer.job, ?reason, "offer given back");
                        delivery.give_back().await;
                    }
                }
            }
            Ok(()) = slots.changed() => {}
            Ok(()) = readiness.changed() => {}
            Ok(()) = draining.changed() => {}
        }
    }
}
