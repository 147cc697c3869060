//! Offers: hints that a job may be claimed, for competing consumers, one queue per pool. Wiping the bus loses
//! time, never a job: the row's deadline rings again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;

/// Longest queue of a pool; what does not fit is offered again after its deadline.
const QUEUE_LIMIT: usize = 10_000;

/// Where offers lie between the dispatcher that makes them and the one that hands them to a builder.
#[derive(Debug, Clone)]
pub enum Bus {
    /// Inside this process.
    Memory(MemoryBus),
}

/// Queues in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryBus {
    queues: Arc<Mutex<HashMap<Pool, VecDeque<Offer>>>>,
}

/// A bus that could not be opened, or a queue that is full.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The URL is of no kind that we know.
    #[error("bus URL \"{0}\": write memory:")]
    BadUrl(String),
    /// The pool's queue is full; the offer is made again after its deadline.
    #[error("the queue of pool {0} is full")]
    Full(Pool),
}

impl Bus {
    /// Opens a bus by URL: `memory:`.
    pub fn from_url(url: &str) -> Result<Self, BusError> {
        match url {
            "memory:" => Ok(Self::Memory(MemoryBus::default())),
            other => Err(BusError::BadUrl(other.to_owned())),
        }
    }

    /// Puts an offer on its pool's queue.
    pub fn publish(&self, pool: &Pool, offer: Offer) -> Result<(), BusError> {
        match self {
            Self::Memory(bus) => bus.publish(pool, offer),
        }
    }

    /// Takes the oldest offer of a pool that `wanted` accepts; the others keep their place.
    pub fn take(&self, pool: &Pool, wanted: impl Fn(&Offer) -> bool) -> Option<Offer> {
        match self {
            Self::Memory(bus) => bus.take(pool, wanted),
        }
    }

    /// Forgets the offers of a pool that `stale` names.
    pub fn forget(&self, pool: &Pool, stale: impl Fn(&Offer) -> bool) {
        match self {
            Self::Memory(bus) => bus.forget(pool, stale),
        }
    }
}

impl MemoryBus {
    fn publish(&self, pool: &Pool, offer: Offer) -> Result<(), BusError> {
        let mut queues = self.lock();
        let queue = queues.entry(pool.clone()).or_default();
        if queue.len() >= QUEUE_LIMIT {
            return Err(BusError::Full(pool.clone()));
        }
        queue.push_back(offer);
        Ok(())
    }

    fn take(&self, pool: &Pool, wanted: impl Fn(&Offer) -> bool) -> Option<Offer> {
        let mut queues = self.lock();
        let queue = queues.get_mut(pool)?;
        let at = queue.iter().position(wanted)?;
        queue.remove(at)
    }

    fn forget(&self, pool: &Pool, stale: impl Fn(&Offer) -> bool) {
        if let Some(queue) = self.lock().get_mut(pool) {
            queue.retain(|offer| !stale(offer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pool, VecDeque<Offer>>> {
        // A queue is whole after every single operation, so a panic elsewhere does not spoil it.
        self.queues.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::ids::{DispatchId, JobId};
    use slipway_runtime::ids::{new_id, random_id};

    use super::*;

    fn offer() -> Offer {
        Offer { job: new_id::<JobId>(), dispatch: random_id::<DispatchId>() }
    }

    #[test]
    fn offers_leave_in_order_and_once() {
        let bus = Bus::from_url("memory:").expect("a known kind");
        let pool: Pool = "local/standard/linux-amd64".parse().expect("valid");
        let (first, second) = (offer(), offer());
        bus.publish(&pool, first).expect("room");
        bus.publish(&pool, second).expect("room");
        assert_eq!(bus.take(&pool, |o| *o == second), Some(second), "a wish may skip the first");
        assert_eq!(bus.take(&pool, |_| true), Some(first));
        assert_eq!(bus.take(&pool, |_| true), None);
    }

    #[test]
    fn other_pools_and_stale_offers_are_not_seen() {
        let bus = Bus::from_url("memory:").expect("a known kind");
        let pool: Pool = "local/standard/linux-amd64".parse().expect("valid");
        let other: Pool = "local/large/linux-amd64".parse().expect("valid");
        bus.publish(&pool, offer()).expect("room");
        assert_eq!(bus.take(&other, |_| true), None);
        bus.forget(&pool, |_| true);
        assert_eq!(bus.take(&pool, |_| true), None);
        assert!(Bus::from_url("amqp://x").is_err());
    }
}
