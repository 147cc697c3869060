//! What becomes of offers when their broker is blocked, frozen, killed and started again. It has a broker of its
//! own; the rest of the bus's contract is tested beside the bus.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use slipway_bus::{Bus, BusError, Consumer, Delivery};
use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::{new_id, random_id};
use slipway_runtime::lifecycle::Life;
use slipway_tests::env::rabbitmq::RabbitMq;
use slipway_tests::env::services::is_required;
use slipway_tests::wait::eventually;
use tokio::time::timeout;

/// Two missed heartbeats, the longest pause and a connect fit.
const PATIENCE: Duration = Duration::from_secs(60);
/// What "at once" means on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn offers_outlive_the_troubles_of_their_broker() -> Result<()> {
    if let Some(missing) = RabbitMq::missing() {
        ensure!(!is_required(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let mut broker = RabbitMq::start().await?;
    let mut users = Users::new(&broker.url()).await?;
    users.work().await.context("at first")?;
    blocked(&mut users, &broker).await.context("while the broker is blocked")?;
    users.work().await.context("after it was blocked")?;
    frozen(&mut users, &broker).await.context("while the broker is frozen")?;
    users.work().await.context("after it was frozen")?;
    killed(&mut users, &mut broker).await.context("while the broker is dead")?;
    users.work().await.context("after it was killed")?;
    users.life.kill();
    Ok(())
}

/// Who publishes and who consumes.
struct Users {
    bus: Bus,
    pool: Pool,
    consumer: Consumer,
    life: Life,
}

impl Users {
    async fn new(url: &str) -> Result<Self> {
        let life = Life::new();
        let bus = Bus::open(url, &life, &Clock::system())?;
        let pool: Pool = "local/standard/linux-amd64".parse()?;
        eventually("the queue", PATIENCE, || async { Ok(bus.declare(&pool).await.ok()) }).await?;
        let consumer = bus.consume(&pool);
        Ok(Self { bus, pool, consumer, life })
    }

    async fn publish(&self) -> Result<Offer, BusError> {
        let offer = Offer { job: new_id(), dispatch: random_id() };
        self.bus.publish_offer(&self.pool, offer).await.map(|()| offer)
    }

    /// Publishes as soon as that works.
    async fn publish_soon(&self) -> Result<Offer> {
        eventually("an offer to be taken", PATIENCE, || async { Ok(self.publish().await.ok()) }).await
    }

    async fn next(&mut self) -> Result<Delivery> {
        timeout(PATIENCE, self.consumer.next()).await.context("waiting for an offer")
    }

    /// A refusal that comes at once and says why.
    async fn refused_at_once(&self, words: &str) -> Result<()> {
        eventually(&format!("to be refused at once with \"{words}\""), PATIENCE, || async {
            let since = Instant::now();
            let answer = self.publish().await;
            let is_it = matches!(&answer, Err(BusError::Unavailable(why)) if why.contains(words));
            Ok((is_it && since.elapsed() < AT_ONCE).then_some(()))
        })
        .await
    }

    async fn health_says(&self, words: &str) -> Result<()> {
        eventually(&format!("health to say \"{words}\""), PATIENCE, || async {
            Ok(self.bus.health().err().filter(|said| said.contains(words)).map(drop))
        })
        .await
    }

    /// Everything works: offers come through, once and in order.
    async fn work(&mut self) -> Result<()> {
        eventually("good health", PATIENCE, || async { Ok(self.bus.health().ok()) }).await?;
        // What was published in troubled times may or may not have arrived; it is cleared away by the last one.
        let last = self.publish_soon().await?;
        self.consumer.credit(100).await;
        loop {
            let delivery = self.next().await?;
            let offer = delivery.offer;
            delivery.ack().await;
            if offer == last {
                break;
            }
        }
        let published = [self.publish().await?, self.publish().await?];
        for offer in published {
            let delivery = self.next().await?;
            ensure!(delivery.offer == offer, "in order and once");
            delivery.ack().await;
        }
        self.consumer.credit(0).await;
        // lapin has a thread per connection; one to publish and one to consume, and none of those that failed.
        eventually("two threads for two connections", PATIENCE, || async { Ok((lapin_threads()? == 2).then_some(())) })
            .await
    }
}

/// Only this test of the program speaks AMQP itself.
fn lapin_threads() -> Result<usize> {
    let threads = std::fs::read_dir("/proc/self/task").context("listing our threads")?;
    // One that ends meanwhile has no name any more.
    let names = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    Ok(names.filter(|name| name.trim() == "lapin-io-loop").count())
}

async fn blocked(users: &mut Users, broker: &RabbitMq) -> Result<()> {
    let offers = [users.publish().await?, users.publish().await?];
    users.consumer.credit(2).await;
    let (first, second) = (users.next().await?, users.next().await?);
    ensure!([first.offer, second.offer] == offers);
    broker.control().pretend_memory_is_full(true)?;
    users.refused_at_once("has blocked publishing").await?;
    users.health_says("has blocked publishing").await?;
    // Acks do not wait for that: they have a connection of their own.
    first.ack().await;
    second.give_back().await;
    users.consumer.credit(1).await;
    let again = users.next().await?;
    ensure!(again.offer == offers[1], "given back and taken again while blocked");
    again.ack().await;
    broker.control().pretend_memory_is_full(false)?;
    users.publish_soon().await?;
    Ok(())
}

async fn frozen(users: &mut Users, broker: &RabbitMq) -> Result<()> {
    users.consumer.credit(1).await;
    broker.freeze(true)?;
    let since = Instant::now();
    let answer = users.publish().await;
    let took = since.elapsed();
    ensure!(matches!(answer, Err(BusError::Unavailable(_))), "{answer:?}");
    ensure!(took < Duration::from_secs(3), "the wait for a confirm is bounded; it took {took:?}");
    // Whoever comes next does not wait as long.
    users.refused_at_once("").await?;
    // Found by heartbeats on both connections, and again by what connects anew.
    users.health_says("does not answer").await?;
    broker.freeze(false)
}

async fn killed(users: &mut Users, broker: &mut RabbitMq) -> Result<()> {
    users.publish().await?;
    users.publish().await?;
    users.consumer.credit(2).await;
    let (first, second) = (users.next().await?, users.next().await?);
    broker.kill();
    users.refused_at_once("cannot reach").await?;
    users.health_says("cannot reach").await?;
    timeout(AT_ONCE, users.consumer.credit(1)).await.context("credit waits for no broker")?;
    timeout(AT_ONCE, first.ack()).await.context("an ack waits for no broker")?;
    broker.restart().await?;
    let offer = users.publish_soon().await?;
    let delivery = users.next().await?;
    ensure!(delivery.offer == offer, "the consumer is back, too");
    // It was taken from a connection that is gone; this must not ack anything else.
    second.ack().await;
    delivery.give_back().await;
    users.consumer.credit(1).await;
    let delivery = users.next().await?;
    ensure!(delivery.offer == offer);
    delivery.ack().await;
    Ok(())
}
