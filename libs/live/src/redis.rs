//! The fan-out between processes, over Redis' publish and subscribe.
//!
//! Whoever listens in this process is served by the fan-out in memory, at once and whether Redis is there or
//! not. Redis carries a copy to the other processes: one connection publishes from a bounded queue, one
//! listens to every topic that somebody here listens to, one counts. What may have been lost on the way is told as
//! [`Event::Lagged`]: to all listeners here when the listening connection came back, to all listeners
//! everywhere when the publishing one dropped something.

mod counter;
mod frame;
mod link;
mod publisher;
mod subscriber;
mod target;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::random_bytes;
use slipway_runtime::lifecycle::Life;
use tokio::sync::{mpsc, oneshot};

use self::counter::Counter;
use self::frame::Origin;
use self::link::Status;
use self::publisher::{Outbox, Publisher};
use self::subscriber::{Ask, Subscriber};
use self::target::Target;
use crate::limit::{Counted, Exceeded, Limit};
use crate::memory::{Memory, MemorySubscription};
use crate::{BadUrl, Event, Topic};

/// A new listener waits this long for Redis' confirmation; later it is told that it may have missed something.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// After the process was asked to stop, its last messages still go out this long.
const LINGER: Duration = Duration::from_millis(100);

/// One installation's fan-out on a Redis. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Redis {
    here: Memory,
    outbox: Outbox,
    asks: mpsc::UnboundedSender<Ask>,
    publishing: Arc<Status>,
    listening: Arc<Status>,
    counter: Counter,
    counting: Arc<Status>,
}

/// Listens to one topic.
#[derive(Debug)]
pub struct RedisSubscription {
    // Dropped before the farewell, which then finds whether others still listen.
    inner: MemorySubscription,
    _farewell: Farewell,
}

/// Tells on drop that a topic may have lost its last listener.
#[derive(Debug)]
struct Farewell {
    topic: Topic,
    asks: mpsc::UnboundedSender<Ask>,
}

/// What all connections know.
#[derive(Debug, Clone)]
struct Common {
    target: Arc<Target>,
    origin: Origin,
    clock: Clock,
}

impl Redis {
    /// Starts the connections, which are made and kept in the background.
    pub(crate) fn open(url: &str, life: &Life, clock: &Clock) -> Result<Self, BadUrl> {
        let target = Arc::new(Target::parse(url)?);
        let common = Common { target, origin: random_bytes(), clock: clock.clone() };
        let here = Memory::default();
        let publishing = Arc::new(Status::new("publishing", &common.target));
        let listening = Arc::new(Status::new("listening", &common.target));
        let (outbox, publisher) = Publisher::new(common.clone(), Arc::clone(&publishing));
        let (asks, asked) = mpsc::unbounded_channel();
        let counting = Arc::new(Status::new("counting", &common.target));
        let (counter, counts) = Counter::new(common.clone(), Arc::clone(&counting));
        let subscriber = Subscriber::new(common, here.clone(), asked, Arc::clone(&listening));
        keep(life, clock, "live publisher", publisher.run());
        keep(life, clock, "live subscriber", subscriber.run());
        keep(life, clock, "live counter", counts.run());
        Ok(Self { here, outbox, asks, publishing, listening, counter, counting })
    }

    pub(crate) fn publish(&self, topic: Topic, message: Bytes) {
        self.here.publish(topic, message.clone());
        self.outbox.put(topic, message);
    }

    pub(crate) async fn subscribe(&self, topic: Topic) -> RedisSubscription {
        let inner = self.here.subscribe(topic);
        let subscription = RedisSubscription { inner, _farewell: Farewell { topic, asks: self.asks.clone() } };
        let (confirmed, confirmation) = oneshot::channel();
        // A stopped loop leaves what is heard inside this process.
        let _ = self.asks.send(Ask { topic, confirmed: Some(confirmed) });
        // Whether confirmed, late or known to be away: the loop tells the listener if it missed something.
        let _ = tokio::time::timeout(CONFIRMATION, confirmation).await;
        subscription
    }

    pub(crate) async fn allow(&self, counted: Counted, limit: Limit) -> Result<(), Exceeded> {
        self.counter.take(counted, limit).await
    }

    pub(crate) fn health(&self) -> Result<(), String> {
        self.listening.health()?;
        self.publishing.health()?;
        self.counting.health()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }
}

impl RedisSubscription {
    pub(crate) async fn next(&mut self) -> Event {
        self.inner.next().await
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // A stopped loop has no topics to let go of.
        let _ = self.asks.send(Ask { topic: self.topic, confirmed: None });
    }
}

/// Runs a connection until its last handle is gone. Other loops tell their last news while they stop, so it outlives
/// them a little.
fn keep(life: &Life, clock: &Clock, name: &'static str, run: impl Future<Output = ()> + Send + 'static) {
    let (watched, clock) = (life.clone(), clock.clone());
    life.support(name, async move {
        let lingered = async {
            watched.others_ended().await;
            clock.sleep(LINGER).await;
        };
        tokio::select! {
            () = run => {}
            () = watched.killed() => {}
            () = lingered => {}
        }
    });
}
