//! Consuming one pool's queue: a task with a connection of its own fetches as many offers as are wanted and
//! settles them, whatever happens to the broker meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use metrics::counter;
use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::board::Line;
use super::declare::queue;
use super::desk::{Desk, Held, Lot};
use super::link::{Link, answered};
use super::window::{self, Step};
use super::words::explain;
use super::{Core, FIRST_PAUSE, LONG_ENOUGH, LONGEST_PAUSE, LOOK};
use crate::message::{self, Body};

/// The consumer's end.
pub(crate) struct AmqpConsumer {
    desk: Arc<Desk>,
    settles: mpsc::UnboundedSender<Settle>,
}

/// An offer in somebody's hand.
pub(crate) struct AmqpDelivery {
    held: Option<Held>,
    settles: mpsc::UnboundedSender<Settle>,
}

/// What becomes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ack,
    GiveBack,
}

struct Settle {
    held: Held,
    fate: Fate,
    /// Dropped once it is done; nothing is sent.
    _done: Option<oneshot::Sender<()>>,
}

impl Settle {
    async fn tell(&self) -> lapin::Result<bool> {
        match self.fate {
            Fate::Ack => self.held.acker.ack(BasicAckOptions::default()).await,
            Fate::GiveBack => {
                let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                self.held.acker.nack(options).await
            }
        }
    }
}

impl AmqpConsumer {
    pub(crate) fn start(core: &Arc<Core>, pool: Pool) -> Self {
        let desk = Arc::new(Desk::default());
        let (settles, asked) = mpsc::unbounded_channel();
        let line = core.board.line(&format!("consume {pool}"), Some(format!("connecting to {}", core.address)));
        let fetcher = Fetcher { core: Arc::clone(core), pool, desk: Arc::clone(&desk), settles: asked, line };
        core.life.errand("consumer", fetcher.run());
        Self { desk, settles }
    }

    pub(crate) async fn credit(&self, wanted: u32) {
        self.desk.want(wanted).await;
    }

    pub(crate) async fn next(&self) -> (Offer, AmqpDelivery) {
        let Lot { offer, held } = self.desk.next().await;
        (offer, AmqpDelivery { held: Some(held), settles: self.settles.clone() })
    }
}

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        self.desk.leave();
    }
}

impl AmqpDelivery {
    pub(crate) async fn settle(mut self, fate: Fate) {
        let Some(held) = self.held.take() else { return };
        let (done, settled) = oneshot::channel();
        // When the task is gone, so is its connection, and the broker has the offer again.
        if self.settles.send(Settle { held, fate, _done: Some(done) }).is_ok() {
            let _ = settled.await;
        }
    }
}

impl Drop for AmqpDelivery {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let _ = self.settles.send(Settle { held, fate: Fate::GiveBack, _done: None });
        }
    }
}

/// Why one stage of the work ended.
enum Left {
    Broken(String),
    /// The consumer and all its deliveries are gone, or the process must end.
    Stop,
}

struct Fetcher {
    core: Arc<Core>,
    pool: Pool,
    desk: Arc<Desk>,
    settles: mpsc::UnboundedReceiver<Settle>,
    line: Line,
}

impl Fetcher {
    async fn run(mut self) {
        let core = Arc::clone(&self.core);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let name = format!("consume {}", self.pool);
        let mut number = 0;
        loop {
            let opened = tokio::select! {
                opened = Link::open(&core.address, &name) => opened,
                () = self.unused() => break,
            };
            let since = core.clock.monotonic();
            let left = match opened {
                Err(why) => Left::Broken(why),
                Ok(link) => {
                    let left = self.serve(&link, &mut number).await;
                    // Cut before the desk forgets: nothing may come in between.
                    link.close().await;
                    left
                }
            };
            self.desk.go_down();
            let Left::Broken(why) = left else { break };
            if core.clock.monotonic().duration_since(since) > LONG_ENOUGH {
                backoff.reset();
            }
            let pause = backoff.pause();
            if self.line.set(Some(why.clone())) {
                warn!(pool = %self.pool, retry_ms = pause.as_millis(), "offers cannot be consumed: {why}");
            }
            tokio::select! {
                () = core.clock.sleep(pause) => {}
                () = self.unused() => break,
            }
        }
        self.desk.go_down();
    }

    /// Returns once nobody needs us. What is settled meanwhile went back to the broker with its connection.
    async fn unused(&mut self) {
        let life = self.core.life.clone();
        tokio::select! {
            () = async { while self.settles.recv().await.is_some() {} } => {}
            () = life.killed() => {}
        }
    }

    async fn serve(&mut self, link: &Link, number: &mut u64) -> Left {
        let channel = match link.channel(&self.core.address).await {
            Ok(channel) => channel,
            Err(why) => return Left::Broken(why),
        };
        self.desk.go_live();
        let mut tap = Tap {
            core: Arc::clone(&self.core),
            pool: self.pool.clone(),
            desk: Arc::clone(&self.desk),
            channel,
            subscription: None,
            number: *number,
            out: Vec::new(),
            newer: VecDeque::new(),
        };
        let left = self.work(&mut tap, link).await;
        *number = tap.number;
        left.unwrap_or_else(Left::Broken)
    }

    /// `Err` says what broke.
    async fn work(&mut self, tap: &mut Tap, link: &Link) -> Result<Left, String> {
        let life = self.core.life.clone();
        let mut look = tokio::time::interval(LOOK);
        tap.adjust().await?;
        if self.line.set(None) {
            info!(pool = %self.pool, "consuming from {}", self.core.address);
        }
        loop {
            tokio::select! {
                delivery = tap.next() => match delivery {
                    Some(Ok(delivery)) => tap.take_in(delivery),
                    Some(Err(error)) => return Err(explain(&self.core.address, &error)),
                    None => return Err(format!("{} ended the subscription: the queue was deleted", self.core.address)),
                },
                settle = self.settles.recv() => match settle {
                    Some(settle) => {
                        tap.out.push(settle);
                        tap.out.extend(std::iter::from_fn(|| self.settles.try_recv().ok()));
                    }
                    None => return Ok(Left::Stop),
                },
                () = self.desk.changed() => {}
                _ = look.tick() => {
                    if !link.is_up() || !tap.channel.status().connected() {
                        return Err(format!("the connection to {} broke", self.core.address));
                    }
                    tap.give_back_due();
                }
                () = life.killed() => return Ok(Left::Stop),
            }
            tap.adjust().await?;
        }
    }
}

/// A channel, and the subscription on it when something is wanted.
struct Tap {
    core: Arc<Core>,
    pool: Pool,
    desk: Arc<Desk>,
    channel: Channel,
    subscription: Option<Subscription>,
    /// The last subscription's number.
    number: u64,
    /// What is to be told to the broker.
    out: Vec<Settle>,
    /// What a newer release wrote, and since when we hold it.
    newer: VecDeque<(Instant, Held)>,
}

struct Subscription {
    stream: lapin::Consumer,
    prefetch: u32,
    unsettled: u32,
}

impl Tap {
    /// The next delivery; never returns without a subscription.
    async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        match &mut self.subscription {
            Some(subscription) => subscription.stream.next().await,
            None => std::future::pending().await,
        }
    }

    /// Tells the broker what became of offers, and brings the subscription to what is wanted. Because an ack
    /// makes room for another offer, a subscription that would then bring too much is cancelled first.
    async fn adjust(&mut self) -> Result<(), String> {
        loop {
            let plan = self.desk.plan();
            self.out.extend(plan.surplus.into_iter().map(|lot| give_back(lot.held)));
            let step = window::step(plan.wanted, plan.ready, self.may_come());
            if step != Step::Keep && self.subscription.is_some() {
                // What comes in meanwhile changes the plan.
                self.cancel().await?;
                continue;
            }
            self.tell().await?;
            if let Step::Consume(prefetch) = step {
                self.consume(prefetch).await?;
            }
            self.desk.applied(plan.asked);
            return Ok(());
        }
    }

    /// How many offers the broker may send once it has been told.
    fn may_come(&self) -> Option<u32> {
        let subscription = self.subscription.as_ref()?;
        let unsettled = subscription.unsettled.saturating_sub(self.of_this_subscription(&self.out));
        Some(subscription.prefetch.saturating_sub(unsettled))
    }

    async fn tell(&mut self) -> Result<(), String> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let told = try_join_all(out.iter().map(|settle| settle.tell()));
        // False means that its channel is gone, and the broker has had the offer back since.
        let _were_ours: Vec<bool> = answered(&self.core.address, told).await?;
        let settled = self.of_this_subscription(&out);
        if let Some(subscription) = &mut self.subscription {
            subscription.unsettled = subscription.unsettled.saturating_sub(settled);
        }
        Ok(())
    }

    fn of_this_subscription(&self, settles: &[Settle]) -> u32 {
        let count = settles.iter().filter(|settle| settle.held.subscription == self.number).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    async fn consume(&mut self, prefetch: u16) -> Result<(), String> {
        let address = &self.core.address;
        answered(address, self.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        self.number += 1;
        let options = BasicConsumeOptions::default();
        let asked = self.channel.basic_consume(queue(&self.pool), tag(self.number), options, FieldTable::default());
        let stream = answered(address, asked).await?;
        self.subscription = Some(Subscription { stream, prefetch: u32::from(prefetch), unsettled: 0 });
        Ok(())
    }

    /// Ends the subscription and takes in what the broker had sent before it knew.
    async fn cancel(&mut self) -> Result<(), String> {
        let asked = self.channel.basic_cancel(tag(self.number), BasicCancelOptions::default());
        answered(&self.core.address, asked).await?;
        while let Some(delivery) = self.next().await {
            self.take_in(delivery.map_err(|error| explain(&self.core.address, &error))?);
        }
        self.subscription = None;
        Ok(())
    }

    fn take_in(&mut self, delivery: Delivery) {
        if let Some(subscription) = &mut self.subscription {
            subscription.unsettled += 1;
        }
        let held = Held { acker: delivery.acker, subscription: self.number };
        match message::decode(&delivery.data) {
            Body::Offer(offer) => {
                if let Err(unwanted) = self.desk.put(Lot { offer, held }) {
                    self.out.push(give_back(unwanted.held));
                }
            }
            Body::Newer(version) => {
                counter!("slipway_offers_unreadable_total", "reason" => "newer").increment(1);
                warn!(pool = %self.pool, version, "an offer of a newer release; given back for a newer consumer");
                self.newer.push_back((self.core.clock.monotonic(), held));
            }
            Body::Garbage => {
                counter!("slipway_offers_unreadable_total", "reason" => "garbage").increment(1);
                warn!(pool = %self.pool, "something that is no offer lay in the queue; dropped");
                self.out.push(Settle { held, fate: Fate::Ack, _done: None });
            }
        }
    }

    /// Gives back what a newer release wrote. Not at once: it would come straight back.
    fn give_back_due(&mut self) {
        let now = self.core.clock.monotonic();
        while let Some((_, held)) = self.newer.pop_front_if(|(since, _)| now.duration_since(*since) >= LOOK) {
            self.out.push(give_back(held));
        }
    }
}

fn give_back(held: Held) -> Settle {
    Settle { held, fate: Fate::GiveBack, _done: None }
}

fn tag(number: u64) -> ShortString {
    format!("slipway-{number}").into()
}
