//! Fan-out of small messages to whoever listens just now: wakes, cancels, tails of logs. Lossy on purpose:
//! nobody is waited for, a slow listener loses the oldest messages and is told so, and every receiver
//! re-reads the row (or the log by its offset). Wiping it loses time, never truth.

mod memory;

use bytes::Bytes;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::{BuildId, SessionId};

use crate::memory::{Memory, MemorySubscription};

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

/// Why it cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("live URL \"{0}\" is not known here; write memory:")]
pub struct BadUrl(String);

/// The fan-out. Cheap to clone; clones share their topics.
#[derive(Debug, Clone)]
pub enum Live {
    /// Inside one process.
    Memory(Memory),
}

/// Listens to one topic from the moment it was made until it is dropped.
#[derive(Debug)]
pub enum Subscription {
    /// Inside one process.
    Memory(MemorySubscription),
}

impl Live {
    /// Opens by URL: `memory:`.
    pub fn from_url(url: &str) -> Result<Self, BadUrl> {
        match url.split_once(':') {
            Some(("memory", _)) => Ok(Self::memory()),
            _ => Err(BadUrl(url.to_owned())),
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
        }
    }

    /// Listens from now on: what is published after this returned is heard, or counted as lost.
    pub async fn subscribe(&self, topic: Topic) -> Subscription {
        match self {
            Self::Memory(memory) => Subscription::Memory(memory.subscribe(topic)),
        }
    }
}

impl Subscription {
    /// Waits for the next message. May be dropped while it waits without losing one.
    pub async fn next(&mut self) -> Event {
        match self {
            Self::Memory(subscription) => subscription.next().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::new_id;

    use super::*;

    fn message(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn everybody_who_listens_hears_it_and_nobody_else() {
        let live = Live::from_url("memory:").expect("known");
        let topic = Topic::Build(new_id());
        live.publish(topic, message("before"));
        let mut first = live.subscribe(topic).await;
        let mut second = live.clone().subscribe(topic).await;
        let mut other = live.subscribe(Topic::Build(new_id())).await;
        live.publish(topic, message("one"));
        live.publish(topic, message("two"));
        for subscription in [&mut first, &mut second] {
            assert_eq!(subscription.next().await, Event::Message(message("one")));
            assert_eq!(subscription.next().await, Event::Message(message("two")));
        }
        let silent = tokio::time::timeout(std::time::Duration::ZERO, other.next()).await;
        assert!(silent.is_err());
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_and_never_waited_for() {
        let live = Live::memory();
        let topic = Topic::Wake(WakeKind::Jobs);
        let mut slow = live.subscribe(topic).await;
        for _ in 0..10_000 {
            live.publish(topic, message("x"));
        }
        assert_eq!(slow.next().await, Event::Lagged);
        assert_eq!(slow.next().await, Event::Message(message("x")));
    }

    #[tokio::test]
    async fn topics_without_listeners_take_no_room() {
        let live = Live::memory();
        let Live::Memory(memory) = &live;
        let topic = Topic::Session(new_id());
        let first = live.subscribe(topic).await;
        let mut second = live.subscribe(topic).await;
        live.publish(Topic::Session(new_id()), message("nobody"));
        assert_eq!(memory.topics(), 1);
        drop(first);
        live.publish(topic, message("still"));
        assert_eq!(second.next().await, Event::Message(message("still")));
        drop(second);
        assert_eq!(memory.topics(), 0);
    }

    #[test]
    fn unknown_urls_are_refused() {
        assert!(Live::from_url("redis://host").is_err());
        assert!(Live::from_url("memory").is_err());
    }
}
