//! Offers: hints that a job may be claimed, for competing consumers, one queue per pool. Wiping the bus loses
//! time, never a job: the row's deadline rings again.
//!
//! An offer is void after [`timing::DISPATCH_DEADLINE`], in the queue too. Whoever has a free place gives credit,
//! gets an offer, claims, acks, and works; no offer is held while a job runs. What is dropped without an ack is
//! given back, and so is everything whose holder dies.

use std::time::Duration;

use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_domain::timing;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;

mod amqp;
mod memory;
mod message;
#[cfg(test)]
mod tests;

pub use amqp::AmqpBus;
pub use memory::MemoryBus;

/// Where offers lie between the dispatcher that makes them and who takes them. Clones share everything.
#[derive(Debug, Clone)]
pub enum Bus {
    /// Inside this process.
    Memory(MemoryBus),
    /// On a RabbitMQ broker.
    Amqp(AmqpBus),
}

/// One of a pool's competing consumers. Takes nothing until it is given credit. Dropping it gives back what nobody
/// has taken from it; deliveries that were taken stay good.
pub struct Consumer(Source);

/// An offer in hand. Dropping it gives it back.
pub struct Delivery {
    /// What may be claimed.
    pub offer: Offer,
    hold: Hold,
}

/// Why an offer did not get onto the bus. Each heals by itself: the row's deadline rings again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The URL cannot be used; what is wrong with it, without quoting it.
    #[error("bad bus URL: {0}")]
    BadUrl(String),
    /// The pool's queue is full.
    #[error("the queue of pool {0} is full")]
    Full(Pool),
    /// The broker had no queue for the pool; it is being made.
    #[error("the queue of pool {0} was missing and is made again")]
    NoQueue(Pool),
    /// The broker cannot be used just now, and why.
    #[error("{0}")]
    Unavailable(String),
}

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most offers that wait; what does not fit is offered again after its deadline.
    pub(crate) queue_length: u32,
    /// How long an offer waits.
    pub(crate) ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queue_length: 10_000, ttl: timing::DISPATCH_DEADLINE }
    }
}

enum Source {
    Memory(memory::MemoryConsumer),
    Amqp(amqp::consume::AmqpConsumer),
}

enum Hold {
    Memory(memory::MemoryDelivery),
    Amqp(amqp::consume::AmqpDelivery),
}

impl Bus {
    /// Opens a bus by URL: `memory:`, or `amqp://user:password@host:port/vhost` (`amqps` for TLS) with the
    /// parameters `queues=classic|quorum` and `cacertfile=/path.pem`. Only a malformed URL is an error: connecting
    /// happens behind it, when something is published or consumed, and is tried for ever.
    pub fn open(url: &str, life: &Life, clock: &Clock) -> Result<Self, BusError> {
        Self::open_limited(url, Limits::default(), life, clock)
    }

    /// Queues inside this process.
    pub fn memory(clock: &Clock) -> Self {
        Self::Memory(MemoryBus::new(Limits::default(), clock))
    }

    pub(crate) fn open_limited(url: &str, limits: Limits, life: &Life, clock: &Clock) -> Result<Self, BusError> {
        match url {
            "memory:" => Ok(Self::Memory(MemoryBus::new(limits, clock))),
            other => AmqpBus::open(other, limits, life, clock).map(Self::Amqp),
        }
    }

    /// What is wrong with the bus, for operators and without the password; `Ok` when everything that was asked for
    /// works.
    pub fn health(&self) -> Result<(), String> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Amqp(bus) => bus.health(),
        }
    }

    /// Connects for publishing now and not with the first offer, so that [`Bus::health`] tells of a wrong setting
    /// from the start.
    pub fn connect(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Amqp(bus) => bus.connect(),
        }
    }

    /// Makes the queue of a pool, now and whenever the broker has lost it. For dispatchers: a builder's user may
    /// not. Waits up to 10 s; after an error it goes on being tried with each new connection.
    pub async fn declare(&self, pool: &Pool) -> Result<(), BusError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Amqp(bus) => bus.declare(pool).await,
        }
    }

    /// Puts an offer onto its pool's queue; `Ok` when it lies there. Errors at once without a usable connection and
    /// after 2 s without a confirm. Any number of calls may run at once; those of one task keep their order.
    pub async fn publish_offer(&self, pool: &Pool, offer: Offer) -> Result<(), BusError> {
        match self {
            Self::Memory(bus) => bus.publish(pool, offer),
            Self::Amqp(bus) => bus.publish(pool, offer).await,
        }
    }

    /// A new consumer of a pool's offers, without credit.
    pub fn consume(&self, pool: &Pool) -> Consumer {
        Consumer(match self {
            Self::Memory(bus) => Source::Memory(bus.consume(pool)),
            Self::Amqp(bus) => Source::Amqp(bus.consume(pool)),
        })
    }
}

impl Consumer {
    /// Sets how many more offers `next` may give, beyond those it gave already. Each offer that it gives lowers
    /// this by one; an ack does not raise it. Returns once it holds: after `credit(0)` nothing more comes. What had
    /// come in and is too much then is given back. From a credit of 4 on, up to a quarter more may lie ready here
    /// for a while, out of the reach of other consumers.
    pub async fn credit(&self, more: u32) {
        match &self.0 {
            Source::Memory(consumer) => consumer.credit(more),
            Source::Amqp(consumer) => consumer.credit(more).await,
        }
    }

    /// The next offer, as soon as there is one and credit for it. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Delivery {
        match &mut self.0 {
            Source::Memory(consumer) => {
                let (offer, hold) = consumer.next().await;
                Delivery { offer, hold: Hold::Memory(hold) }
            }
            Source::Amqp(consumer) => {
                let (offer, hold) = consumer.next().await;
                Delivery { offer, hold: Hold::Amqp(hold) }
            }
        }
    }
}

impl Delivery {
    /// The offer was decided: claimed by us, or void. After a reconnect it does nothing, because the broker has
    /// given the offer to somebody already.
    pub async fn ack(self) {
        match self.hold {
            Hold::Memory(delivery) => delivery.ack(),
            Hold::Amqp(delivery) => delivery.settle(amqp::consume::Fate::Ack).await,
        }
    }

    /// Somebody else shall have it: it goes back to the front.
    pub async fn give_back(self) {
        match self.hold {
            Hold::Memory(delivery) => drop(delivery),
            Hold::Amqp(delivery) => delivery.settle(amqp::consume::Fate::GiveBack).await,
        }
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("offer", &self.offer).finish_non_exhaustive()
    }
}
