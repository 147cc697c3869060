//! The contract of the bus, the same in memory and on a broker, and what only a broker can do to us.
//! `TEST_AMQP_URL` names the broker; without it these tests are skipped, with `REQUIRE_BACKENDS=1` they fail.

use std::time::{Duration, Instant};

use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::{new_id, random_bytes, random_id};
use slipway_runtime::lifecycle::Life;
use tokio::time::timeout;

use crate::{Bus, BusError, Consumer, Delivery, Limits};

mod contract;
mod rabbitmq;

/// Longest wait for anything that must happen; a reconnect fits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bus and a pool that no other test uses.
struct Place {
    bus: Bus,
    pool: Pool,
    life: Life,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Memory,
    RabbitMq,
}

impl Place {
    /// `None`, said loudly, without a broker.
    async fn new(kind: Kind, limits: Limits) -> Option<Self> {
        let url = match kind {
            Kind::Memory => "memory:".to_owned(),
            Kind::RabbitMq => broker("TEST_AMQP_URL")?,
        };
        let place = Self::at(&url, limits);
        place.declare().await;
        Some(place)
    }

    fn at(url: &str, limits: Limits) -> Self {
        let life = Life::new();
        let bus = Bus::open_limited(url, limits, &life, &Clock::system()).expect("a good URL");
        Self { bus, pool: some_pool(), life }
    }

    async fn declare(&self) {
        eventually("the queue to be made", async || self.bus.declare(&self.pool).await.ok()).await;
    }

    async fn publish(&self) -> Offer {
        let offer = offer();
        self.bus.publish_offer(&self.pool, offer).await.expect("published");
        offer
    }

    fn consumer(&self) -> Consumer {
        self.bus.consume(&self.pool)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.life.kill();
    }
}

fn broker(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let is_required = std::env::var("REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
        assert!(!is_required, "REQUIRE_BACKENDS is set, but {variable} does not name a RabbitMQ broker");
        eprintln!("SKIPPED on RabbitMQ: {variable} is not set; run the tests by `make test`");
    }
    url
}

fn some_pool() -> Pool {
    let bytes: [u8; 6] = random_bytes();
    let region: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{region}/standard/linux-amd64").parse().expect("valid")
}

fn now() -> Instant {
    Clock::system().monotonic()
}

fn offer() -> Offer {
    Offer { job: new_id(), dispatch: random_id() }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("an offer comes")
}

/// Takes and acks that many.
async fn take(consumer: &mut Consumer, count: usize) -> Vec<Offer> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivery = next(consumer).await;
        taken.push(delivery.offer);
        delivery.ack().await;
    }
    taken
}

async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let end = now() + PATIENCE;
    loop {
        if let Some(answer) = check().await {
            return answer;
        }
        assert!(now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the bus says something about its health that holds these words.
async fn health_says(bus: &Bus, words: &str) {
    let mut last = String::new();
    let end = now() + PATIENCE;
    while now() < end {
        last = bus.health().err().unwrap_or_else(|| "ok".to_owned());
        if last.contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited for \"{words}\"; health says \"{last}\"");
}
