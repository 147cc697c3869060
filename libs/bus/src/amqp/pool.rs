//! Publishing to one pool's queue: any number of offers in flight, each answered by its own confirm.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::crash;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::board::Line;
use super::declare::{declare, millis, queue};
use super::link::{Link, answered};
use super::publish::{Broken, CONFIRM_WITHIN, State};
use super::words::explain;
use super::{Core, LOOK};
use crate::{BusError, message};

type Reply = oneshot::Sender<Result<(), BusError>>;

/// What somebody wants of a pool's queue.
pub(crate) enum Request {
    /// Put an offer onto it.
    Publish { offer: Offer, reply: Reply },
    /// Make it, now and after each new connection.
    Declare { reply: Reply },
}

/// What ties the task to the rest.
pub(crate) struct Ends {
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) broken: mpsc::Sender<Broken>,
}

/// Publishes for one pool until the bus is dropped or the process stops.
pub(crate) async fn run(core: Arc<Core>, pool: Pool, ends: Ends) {
    let line = core.board.line(&format!("queue of pool {pool}"), None);
    let mut desk = Desk { core, pool, ends, line, is_declared: false, declared_at: None };
    loop {
        let state = desk.ends.state.borrow_and_update().clone();
        let left = match state {
            State::Down(why) | State::Blocked(_, why) => desk.refuse_until_change(why).await,
            State::Up(link) => match desk.serve(&link).await {
                Left::Broken(why) => {
                    let broken = Broken { link, why: why.clone() };
                    // When the keeper is gone, so are we soon.
                    let _ = desk.ends.broken.send(broken).await;
                    desk.refuse_until_change(why).await
                }
                left => left,
            },
        };
        if matches!(left, Left::Stop) {
            return;
        }
    }
}

/// Why one stage of the work ended.
enum Left {
    /// The connection's state changed.
    Changed,
    /// The channel failed.
    Broken(String),
    /// Nobody needs us any more.
    Stop,
}

struct Desk {
    core: Arc<Core>,
    pool: Pool,
    ends: Ends,
    line: Line,
    /// True once somebody asked us to make the queue.
    is_declared: bool,
    declared_at: Option<Instant>,
}

impl Desk {
    async fn refuse_until_change(&mut self, why: String) -> Left {
        let life = self.core.life.clone();
        loop {
            tokio::select! {
                request = self.ends.requests.recv() => match request {
                    None => return Left::Stop,
                    Some(Request::Publish { reply, .. }) => answer(reply, Err(BusError::Unavailable(why.clone()))),
                    Some(Request::Declare { reply }) => {
                        self.is_declared = true;
                        answer(reply, Err(BusError::Unavailable(why.clone())));
                    }
                },
                changed = self.ends.state.changed() => {
                    return if changed.is_ok() { Left::Changed } else { Left::Stop };
                }
                () = life.stopping() => return Left::Stop,
            }
        }
    }

    async fn serve(&mut self, link: &Arc<Link>) -> Left {
        if self.is_declared {
            // A broker that lost its disk has lost the queue too.
            let _ = self.declare().await;
        }
        let channel = match self.open(link).await {
            Ok(channel) => channel,
            Err(why) => return Left::Broken(why),
        };
        let life = self.core.life.clone();
        let mut flight = Flight::new(Arc::clone(&self.core), self.pool.clone(), channel);
        loop {
            tokio::select! {
                settled = flight.settle() => match settled {
                    Err(why) => return Left::Broken(why),
                    // Somebody deleted the queue; one offer is lost, its row rings again.
                    Ok(Settled { has_no_queue: true }) => self.declare_again().await,
                    Ok(Settled { has_no_queue: false }) => {}
                },
                request = self.ends.requests.recv() => match request {
                    None => {
                        flight.finish().await;
                        return Left::Stop;
                    }
                    Some(Request::Publish { offer, reply }) => flight.publish(offer, reply),
                    Some(Request::Declare { reply }) => {
                        self.is_declared = true;
                        let made = self.declare().await;
                        answer(reply, made.map_err(BusError::Unavailable));
                    }
                },
                changed = self.ends.state.changed() => match (changed, &*self.ends.state.borrow_and_update()) {
                    (Err(_), _) => return Left::Stop,
                    (Ok(()), State::Up(now)) if Arc::ptr_eq(now, link) => flight.blocked = None,
                    (Ok(()), State::Blocked(now, why)) if Arc::ptr_eq(now, link) => flight.block(why),
                    (Ok(()), _) => return Left::Changed,
                },
                // What was asked before is still done.
                () = life.stopping(), if !self.ends.requests.is_closed() => self.ends.requests.close(),
                () = life.killed() => return Left::Stop,
            }
        }
    }

    async fn open(&self, link: &Link) -> Result<Channel, String> {
        let address = &self.core.address;
        let channel = link.channel(address).await?;
        answered(address, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    async fn declare_again(&mut self) {
        let now = self.core.clock.monotonic();
        if self.declared_at.is_none_or(|at| now.duration_since(at) >= LOOK) {
            let _ = self.declare().await;
        }
    }

    async fn declare(&mut self) -> Result<(), String> {
        self.declared_at = Some(self.core.clock.monotonic());
        let made = declare(&self.core.address, self.core.limits, &self.pool).await;
        if self.line.set(made.clone().err())
            && let Err(why) = &made
        {
            warn!(pool = %self.pool, "the queue cannot be made: {why}");
        }
        made
    }
}

fn answer(reply: Reply, result: Result<(), BusError>) {
    // The caller may have stopped waiting.
    let _ = reply.send(result);
}

type Confirming = Pin<Box<dyn Future<Output = (u64, lapin::Result<Confirmation>)> + Send>>;

/// What was published and is not confirmed yet.
struct Flight {
    core: Arc<Core>,
    pool: Pool,
    channel: Channel,
    blocked: Option<String>,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    confirms: FuturesUnordered<Confirming>,
    /// Offers that the broker sent back. lapin hands a returned message to any confirm of the same batch, so
    /// they are found by their id.
    returned: HashSet<String>,
}

struct Waiting {
    offer: Offer,
    since: Instant,
    reply: Option<Reply>,
}

struct Settled {
    has_no_queue: bool,
}

impl Flight {
    fn new(core: Arc<Core>, pool: Pool, channel: Channel) -> Self {
        Self {
            core,
            pool,
            channel,
            blocked: None,
            next: 0,
            waiting: BTreeMap::new(),
            confirms: FuturesUnordered::new(),
            returned: HashSet::new(),
        }
    }

    fn publish(&mut self, offer: Offer, reply: Reply) {
        if reply.is_closed() {
            return;
        }
        if let Some(why) = self.refusal() {
            answer(reply, Err(BusError::Unavailable(why)));
            return;
        }
        let number = self.next;
        self.next += 1;
        let since = self.core.clock.monotonic();
        self.waiting.insert(number, Waiting { offer, since, reply: Some(reply) });
        let (channel, queue) = (self.channel.clone(), queue(&self.pool));
        // Not persistent: a hint that is void after some seconds is not worth a write to disk.
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(offer.dispatch.to_string().into())
            .with_expiration(millis(self.core.limits.ttl).to_string().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        // Its first poll hands the frames over; they are polled in the order in which they came.
        self.confirms.push(Box::pin(async move {
            let body = message::encode(offer);
            let sent = channel.basic_publish("".into(), queue, options, &body, properties).await;
            match sent {
                Ok(confirm) => {
                    crash::point("offer.before_confirm");
                    (number, confirm.await)
                }
                Err(error) => (number, Err(error)),
            }
        }));
    }

    /// Why nothing more is published for now.
    fn refusal(&self) -> Option<String> {
        if let Some(why) = &self.blocked {
            return Some(why.clone());
        }
        let (_, oldest) = self.waiting.first_key_value()?;
        let age = self.core.clock.monotonic().duration_since(oldest.since);
        (age > CONFIRM_WITHIN).then(|| format!("{} does not confirm offers of pool {}", self.core.address, self.pool))
    }

    /// The broker reads nothing any more: whoever waits is told now. What it confirms later is no news.
    fn block(&mut self, why: &str) {
        self.blocked = Some(why.to_owned());
        for reply in self.waiting.values_mut().filter_map(|waiting| waiting.reply.take()) {
            answer(reply, Err(BusError::Unavailable(why.to_owned())));
        }
    }

    /// Waits for confirms and answers their callers. Never returns while nothing is in flight.
    async fn settle(&mut self) -> Result<Settled, String> {
        let Some(first) = self.confirms.next().await else { return std::future::pending().await };
        let mut batch = vec![first];
        while let Some(Some(more)) = self.confirms.next().now_or_never() {
            batch.push(more);
        }
        for (_, confirmed) in &batch {
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = confirmed {
                self.returned.extend(message.properties.message_id().as_ref().map(ToString::to_string));
            }
        }
        let mut settled = Settled { has_no_queue: false };
        let mut broken = Ok(());
        for (number, confirmed) in batch {
            let Some(Waiting { offer, reply, .. }) = self.waiting.remove(&number) else { continue };
            let result = match confirmed {
                Err(error) => {
                    let why = explain(&self.core.address, &error);
                    broken = Err(why.clone());
                    Err(BusError::Unavailable(why))
                }
                Ok(_) if self.returned.remove(&offer.dispatch.to_string()) => {
                    settled.has_no_queue = true;
                    Err(BusError::NoQueue(self.pool.clone()))
                }
                Ok(Confirmation::Nack(_)) => Err(BusError::Full(self.pool.clone())),
                Ok(Confirmation::Ack(_) | Confirmation::NotRequested) => Ok(()),
            };
            if let Some(reply) = reply {
                answer(reply, result);
            }
        }
        broken.map(|()| settled)
    }

    /// Waits for what is in flight, as long as somebody could wait for it.
    async fn finish(&mut self) {
        let _ = tokio::time::timeout(CONFIRM_WITHIN, async {
            while !self.waiting.is_empty() && self.settle().await.is_ok() {}
        })
        .await;
    }
}
