//! The bus inside one process: the same rules as on a broker, without one.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::clock::Clock;
use tokio::sync::Notify;

use crate::{BusError, Limits};

/// Queues in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryBus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queues: Mutex<HashMap<Pool, Arc<Queue>>>,
    limits: Limits,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Queue {
    items: Mutex<Items>,
    /// Rings for all consumers of the pool.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Items {
    next: u64,
    ready: VecDeque<Item>,
}

/// An offer and its place in the order.
#[derive(Debug, Clone, Copy)]
struct Item {
    number: u64,
    offer: Offer,
    void_at: Instant,
}

/// One of a pool's competing consumers.
#[derive(Debug)]
pub(crate) struct MemoryConsumer {
    bus: MemoryBus,
    queue: Arc<Queue>,
    wanted: AtomicU32,
}

/// An offer in somebody's hand.
#[derive(Debug)]
pub(crate) struct MemoryDelivery {
    bus: MemoryBus,
    queue: Arc<Queue>,
    item: Option<Item>,
}

impl MemoryBus {
    pub(crate) fn new(limits: Limits, clock: &Clock) -> Self {
        Self(Arc::new(Inner { queues: Mutex::default(), limits, clock: clock.clone() }))
    }

    pub(crate) fn publish(&self, pool: &Pool, offer: Offer) -> Result<(), BusError> {
        let queue = self.queue(pool);
        let now = self.0.clock.monotonic();
        {
            let mut items = queue.lock();
            items.ready.retain(|item| item.void_at > now);
            if items.ready.len() >= usize::try_from(self.0.limits.queue_length).unwrap_or(usize::MAX) {
                return Err(BusError::Full(pool.clone()));
            }
            let number = items.next;
            items.next += 1;
            items.ready.push_back(Item { number, offer, void_at: now + self.0.limits.ttl });
        }
        queue.arrived.notify_waiters();
        Ok(())
    }

    pub(crate) fn consume(&self, pool: &Pool) -> MemoryConsumer {
        MemoryConsumer { bus: self.clone(), queue: self.queue(pool), wanted: AtomicU32::new(0) }
    }

    fn queue(&self, pool: &Pool) -> Arc<Queue> {
        let mut queues = self.0.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(pool.clone()).or_default())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Items> {
        // Whole after every operation, so a panic elsewhere does not spoil it.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryConsumer {
    pub(crate) fn credit(&self, wanted: u32) {
        self.wanted.store(wanted, Ordering::Release);
    }

    pub(crate) async fn next(&mut self) -> (Offer, MemoryDelivery) {
        loop {
            let mut arrived = std::pin::pin!(self.queue.arrived.notified());
            arrived.as_mut().enable();
            if let Some(item) = self.pop() {
                let item = (item.offer, Some(item));
                return (
                    item.0,
                    MemoryDelivery { bus: self.bus.clone(), queue: Arc::clone(&self.queue), item: item.1 },
                );
            }
            arrived.await;
        }
    }

    fn pop(&self) -> Option<Item> {
        let wanted = self.wanted.load(Ordering::Acquire);
        let left = wanted.checked_sub(1)?;
        let now = self.bus.0.clock.monotonic();
        let mut items = self.queue.lock();
        while let Some(item) = items.ready.pop_front() {
            if item.void_at > now {
                self.wanted.store(left, Ordering::Release);
                return Some(item);
            }
        }
        None
    }
}

impl MemoryDelivery {
    pub(crate) fn ack(mut self) {
        self.item = None;
    }
}

impl Drop for MemoryDelivery {
    /// Back to its old place, unless its time is over.
    fn drop(&mut self) {
        let Some(item) = self.item.take() else { return };
        if item.void_at <= self.bus.0.clock.monotonic() {
            return;
        }
        {
            let mut items = self.queue.lock();
            let at = items.ready.iter().position(|other| other.number > item.number).unwrap_or(items.ready.len());
            items.ready.insert(at, item);
        }
        self.queue.arrived.notify_waiters();
    }
}
