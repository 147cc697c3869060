//! Fan-out of small messages to whoever listens just now: wakes, cancels, tails of logs. Lossy on purpose:
//! nobody is waited for, a slow listener loses the oldest messages and is told so, and every receiver
//! re-reads the row (or the log by its offset). And counting how often something happens, over all processes.
//! Wiping it loses time and counts, never truth.

mod channel;
#[cfg(test)]
mod contract;
pub mod limit;
mod memory;
mod redis;

use bytes::Bytes;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::{BuildId, SessionId};
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;

use crate::limit::{Counted, Exceeded, Limit};
use crate::memory::{Memory, MemorySubscription};
use crate::redis::{Redis, RedisSubscription};

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Chunks of an attempt's log, as they were sent.
    Log(AttemptRef),
    /// There is work for a pass.
    Wake(WakeKind),
    /// A build or one of its jobs changed.
    Build(BuildId),
    /// Cancels and drains for the dispatcher that holds the session.
    Session(SessionId),
}

/// Which pass has work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WakeKind {
    /// A delivery was stored.
    Deliveries,
    /// A job was made or became free to be queued.
    Jobs,
    /// A job became ready.
    Ready,
    /// An attempt ended.
    Finished,
    /// A commit status is wanted.
    Statuses,
    /// A running job was cancelled, or a builder shall drain.
    Cancels,
}

/// What a listener gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Bytes),
    /// Messages were lost: read again what they were about.
    Lagged,
}

/// Why it cannot be opened. Never quotes the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("live URL: {0}; write memory: or redis://[[user]:password@]host[:port][?prefix=slipway:]")]
pub struct BadUrl(String);

/// The fan-out. Cheap to clone; clones share their topics.
#[derive(Debug, Clone)]
pub enum Live {
    /// Inside one process.
    Memory(Memory),
    /// Between processes.
    Redis(Redis),
}

/// Listens to one topic from the moment it was made until it is dropped.
#[derive(Debug)]
pub enum Subscription {
    /// Inside one process.
    Memory(MemorySubscription),
    /// Between processes.
    Redis(RedisSubscription),
}

impl BadUrl {
    fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl Live {
    /// Opens by URL: `memory:`, or `redis://` and `rediss://`, whose connections are made and kept in the
    /// background, for ever: this does not wait for Redis, and [`Live::health`] tells how it is. Both end with
    /// the last handle and subscription, or soon after `life` stops.
    pub fn open(url: &str, life: &Life, clock: &Clock) -> Result<Self, BadUrl> {
        match url.split_once(':') {
            Some(("memory", _)) => Ok(Self::memory()),
            Some(("redis" | "rediss", _)) => Redis::open(url, life, clock).map(Self::Redis),
            Some(_) | None => Err(BadUrl::new("it is of no kind that is known here")),
        }
    }

    /// A fan-out inside this process.
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// Tells everybody who listens now. Never waits and never fails: whoever did not hear it, polls.
    pub fn publish(&self, topic: Topic, message: Bytes) {
        match self {
            Self::Memory(memory) => memory.publish(topic, message),
            Self::Redis(redis) => redis.publish(topic, message),
        }
    }

    /// Listens from now on: what is published after this returned is heard, or counted as lost. Takes a
    /// second at most, and no time when the other processes are out of reach.
    pub async fn subscribe(&self, topic: Topic) -> Subscription {
        match self {
            Self::Memory(memory) => Subscription::Memory(memory.subscribe(topic)),
            Self::Redis(redis) => Subscription::Redis(redis.subscribe(topic).await),
        }
    }

    /// Counts one more of `counted`, over all processes, if `limit` has room for it. Takes 50 ms at most; where
    /// Redis does not answer by then, this process counts for itself.
    pub async fn allow(&self, counted: Counted, limit: Limit) -> Result<(), Exceeded> {
        let allowed = match self {
            Self::Memory(memory) => memory.allow(counted, limit),
            Self::Redis(redis) => redis.allow(counted, limit).await,
        };
        if allowed.is_err() {
            metrics::counter!("slipway_limits_exceeded_total", "of" => counted.word()).increment(1);
        }
        allowed
    }

    /// Whether other processes hear us and we them; what is wrong, in words for operators. Without them
    /// everything still works, later.
    pub fn health(&self) -> Result<(), String> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(redis) => redis.health(),
        }
    }

    /// Messages that other processes were not told, since the start: Redis was away or too slow.
    pub fn dropped(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Redis(redis) => redis.dropped(),
        }
    }
}

impl Subscription {
    /// Waits for the next message. May be dropped while it waits without losing one.
    pub async fn next(&mut self) -> Event {
        match self {
            Self::Memory(subscription) => subscription.next().await,
            Self::Redis(subscription) => subscription.next().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unknown_urls_are_refused_without_being_quoted() {
        let (life, clock) = (Life::new(), Clock::system());
        for url in ["memory", "amqp://user:hunter2@host", "redis:", "redis:///0", "host:6379"] {
            let error = Live::open(url, &life, &clock).expect_err(url).to_string();
            assert!(error.starts_with("live URL: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
