//! The fan-out inside one process: a broadcast channel per topic that somebody listens to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slipway_runtime::clock::Clock;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::limit::{Counted, Counts, Exceeded, Limit};
use crate::{Event, Topic};

/// Messages that wait for the slowest listener of a topic before it loses the oldest. A channel takes this much memory
/// at once, and there is one for each builder, which is only told to look.
const fn backlog(topic: Topic) -> usize {
    match topic {
        Topic::Log(_) | Topic::Wake(_) | Topic::Build(_) => 64,
        Topic::Session(_) => 2,
    }
}

type Topics = Mutex<HashMap<Topic, broadcast::Sender<Event>>>;

/// Channels by topic, only those that somebody listens to; and how often what happened.
#[derive(Debug, Clone)]
pub struct Memory {
    topics: Arc<Topics>,
    counts: Counts,
    clock: Clock,
}

/// Listens to one topic.
#[derive(Debug)]
pub struct MemorySubscription {
    topic: Topic,
    topics: Arc<Topics>,
    receiver: broadcast::Receiver<Event>,
}

impl Default for Memory {
    fn default() -> Self {
        // Only its monotonic time is asked for, which is the same on every clock.
        Self { topics: Arc::default(), counts: Counts::default(), clock: Clock::system() }
    }
}

impl Memory {
    pub(crate) fn allow(&self, counted: Counted, limit: Limit) -> Result<(), Exceeded> {
        self.counts.take(counted, limit, self.clock.monotonic())
    }

    pub(crate) fn publish(&self, topic: Topic, message: Bytes) {
        self.tell(topic, Event::Message(message));
    }

    /// Asks the listeners of a topic to read again.
    pub(crate) fn lagged(&self, topic: Topic) {
        self.tell(topic, Event::Lagged);
    }

    /// Asks everybody to read again.
    pub(crate) fn lagged_all(&self) {
        for sender in lock(&self.topics).values() {
            // Nobody listening is no error.
            let _ = sender.send(Event::Lagged);
        }
    }

    pub(crate) fn subscribe(&self, topic: Topic) -> MemorySubscription {
        let channel = || broadcast::Sender::new(backlog(topic));
        let receiver = lock(&self.topics).entry(topic).or_insert_with(channel).subscribe();
        MemorySubscription { topic, topics: Arc::clone(&self.topics), receiver }
    }

    /// Whether somebody listens to it.
    pub(crate) fn has(&self, topic: Topic) -> bool {
        lock(&self.topics).contains_key(&topic)
    }

    /// Everything that somebody listens to.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        lock(&self.topics).keys().copied().collect()
    }

    fn tell(&self, topic: Topic, event: Event) {
        if let Some(sender) = lock(&self.topics).get(&topic) {
            // Nobody listening is no error.
            let _ = sender.send(event);
        }
    }
}

impl MemorySubscription {
    pub(crate) async fn next(&mut self) -> Event {
        match self.receiver.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => Event::Lagged,
            // The sender lives in the map as long as this subscription does.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        let mut topics = lock(&self.topics);
        // This one is still counted.
        if topics.get(&self.topic).is_some_and(|sender| sender.receiver_count() <= 1) {
            topics.remove(&self.topic);
        }
    }
}

/// A panic elsewhere leaves the map whole: every change of it is one call.
fn lock(topics: &Topics) -> MutexGuard<'_, HashMap<Topic, broadcast::Sender<Event>>> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}
