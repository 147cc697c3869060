//! The listening connection. The listeners of this process are the truth: every ask makes the connection's
//! topics equal to them, whatever happened in between, and a new connection begins with all of them.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use redis::Msg;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::{mpsc, oneshot};

use super::frame::{self, Frame, Origin};
use super::link::{Backoff, End, PING_EVERY, Status, answered};
use super::{Common, words};
use crate::Topic;
use crate::memory::Memory;

/// The channel by which a process tells that it dropped messages, of whatever topic.
pub(super) const LOST: &str = "lost";
/// Topics of one command, and asks of one round.
const BATCH: usize = 256;

/// Asks to look whether somebody listens to a topic.
#[derive(Debug)]
pub(super) struct Ask {
    /// The topic.
    pub(super) topic: Topic,
    /// Told when what is published from now on is heard; dropped when Redis is away.
    pub(super) confirmed: Option<oneshot::Sender<()>>,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Subscriber {
    common: Common,
    here: Memory,
    asks: mpsc::UnboundedReceiver<Ask>,
    status: Arc<Status>,
}

/// Serves the listeners of this process.
struct Ear {
    here: Memory,
    prefix: String,
    origin: Origin,
}

impl Subscriber {
    /// A connection that is not made yet.
    pub(super) fn new(common: Common, here: Memory, asks: mpsc::UnboundedReceiver<Ask>, status: Arc<Status>) -> Self {
        Self { common, here, asks, status }
    }

    /// Until the last handle and listener are gone.
    pub(super) async fn run(mut self) {
        let clock = self.common.clock.clone();
        let mut backoff = Backoff::new(clock.monotonic());
        loop {
            backoff.begin(clock.monotonic());
            let end = match self.connect().await {
                Ok(connection) => self.serve(connection).await,
                Err(end) => end,
            };
            match end {
                End::Unused => return,
                End::Broken(problem) => self.status.away(problem),
            }
            let pause = clock.sleep(backoff.next(clock.monotonic()));
            // Nobody waits for a Redis that is known to be away.
            let discard = async { while self.asks.recv().await.is_some() {} };
            tokio::select! {
                () = pause => {}
                () = discard => return,
            }
        }
    }

    async fn connect(&self) -> Result<PubSub, End> {
        answered(&self.common.target, self.common.target.client.get_async_pubsub()).await
    }

    async fn serve(&mut self, connection: PubSub) -> End {
        let (sink, messages) = connection.split();
        let common = self.common.clone();
        let ear = Ear { here: self.here.clone(), prefix: common.target.prefix.clone(), origin: common.origin };
        tokio::select! {
            end = self.steer(sink) => end,
            () = ear.hear(messages) => End::Broken(words::closed(&common.target)),
        }
    }

    async fn steer(&mut self, mut sink: PubSubSink) -> End {
        match self.try_steer(&mut sink).await {
            Ok(()) => End::Unused,
            Err(end) => end,
        }
    }

    async fn try_steer(&mut self, sink: &mut PubSubSink) -> Result<(), End> {
        let mut held: HashSet<Topic> = self.here.topics().into_iter().collect();
        let lost = [format!("{}{LOST}", self.common.target.prefix)];
        answered(&self.common.target, sink.subscribe(&lost[..])).await?;
        self.subscribe(sink, held.iter().copied().collect()).await?;
        // Whatever was published while there was no connection.
        self.here.lagged_all();
        self.status.up();
        let clock = self.common.clock.clone();
        let mut ping = pin!(clock.sleep(PING_EVERY));
        let mut asks = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = self.asks.recv_many(&mut asks, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.answer(sink, &mut held, &mut asks).await?;
                }
                () = &mut ping => {
                    answered(&self.common.target, sink.ping::<redis::Value>()).await?;
                    ping.set(clock.sleep(PING_EVERY));
                }
            }
        }
    }

    /// Makes what the connection holds equal to what somebody listens to, for the topics that were asked about.
    async fn answer(&self, sink: &mut PubSubSink, held: &mut HashSet<Topic>, asks: &mut Vec<Ask>) -> Result<(), End> {
        // Each is looked at once: who comes or goes after that has asked again.
        let topics: HashSet<Topic> = asks.iter().map(|ask| ask.topic).collect();
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for topic in topics {
            if self.here.has(topic) {
                if held.insert(topic) {
                    wanted.push(topic);
                }
            } else if held.remove(&topic) {
                unwanted.push(topic);
            }
        }
        self.subscribe(sink, wanted).await?;
        if !unwanted.is_empty() {
            answered(&self.common.target, sink.unsubscribe(self.channels(&unwanted))).await?;
        }
        for ask in asks.drain(..) {
            if let Some(confirmed) = ask.confirmed
                && confirmed.send(()).is_err()
            {
                // It stopped waiting before it was sure to hear.
                self.here.lagged(ask.topic);
            }
        }
        Ok(())
    }

    async fn subscribe(&self, sink: &mut PubSubSink, topics: Vec<Topic>) -> Result<(), End> {
        for some in topics.chunks(BATCH) {
            answered(&self.common.target, sink.subscribe(self.channels(some))).await?;
        }
        Ok(())
    }

    fn channels(&self, topics: &[Topic]) -> Vec<String> {
        topics.iter().map(|topic| format!("{}{}", self.common.target.prefix, topic.name())).collect()
    }
}

impl Ear {
    /// Until the connection ends. Never waits for a listener, so that Redis does not have to wait for us.
    async fn hear(&self, mut messages: PubSubStream) {
        while let Some(message) = messages.next().await {
            self.pass_on(&message);
        }
    }

    fn pass_on(&self, message: &Msg) {
        let Some(name) = message.get_channel_name().strip_prefix(&self.prefix) else { return };
        let frame = frame::unwrap(self.origin, message.get_payload_bytes());
        if name == LOST {
            // Our own listeners heard what we dropped.
            if frame != Frame::Own {
                self.here.lagged_all();
            }
            return;
        }
        let Some(topic) = Topic::from_name(name) else { return };
        match frame {
            Frame::Own => {}
            Frame::Message(message) => self.here.publish(topic, message),
            Frame::Unreadable => self.here.lagged(topic),
        }
    }
}
