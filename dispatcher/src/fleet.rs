//! The builders connected to this process just now: what each would take and how to reach it. Only hints; the
//! rows decide.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use slipway_bus::Delivery;
use slipway_domain::agent::{Offer, ToBuilder};
use slipway_domain::ids::{BuilderId, DispatchId, JobId, ProjectId, SessionId, TenantId};
use slipway_domain::placement::Pool;
use slipway_domain::timing;
use slipway_store::sessions::Session;
use tokio::sync::{mpsc, watch};

use crate::warmth::Warmth;

mod warm;

/// Messages that a channel may lag behind before it is closed.
pub const CHANNEL_BUFFER: usize = 64;
/// A session without a heartbeat for this long gets no offers: its host may be gone without a word, and the
/// network notices that only after minutes.
const SILENT: Duration = timing::HEARTBEAT.saturating_mul(2);

/// An offer that was put on a queue holds a slot of its pool for this long at most; then some heartbeat has told
/// who took it.
const IN_QUEUE: Duration = Duration::from_secs(1);

/// Connected sessions. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Fleet(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Rings when a session's room may have changed.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionId, Connected>,
    /// What this process put on the pools' queues and nobody was seen to take, with when.
    in_queue: HashMap<Pool, HashMap<DispatchId, Instant>>,
    warmth: Warmth,
    /// Offers that were sent for a warm cache and are not decided.
    for_warmth: HashMap<DispatchId, ForWarmth>,
    /// Jobs that waited in vain for a warm cache, with when.
    waited: HashMap<JobId, Instant>,
}

#[derive(Debug)]
struct ForWarmth {
    session: SessionId,
    offer: Offer,
    project: ProjectId,
    at: Instant,
}

/// What a heartbeat says of room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// Jobs that it would take.
    pub free: i64,
    /// Jobs that it runs.
    pub busy: i64,
    /// It looks for offers on its pool's queue itself.
    pub from_queue: bool,
}

#[derive(Debug)]
struct Connected {
    builder: BuilderId,
    pool: Pool,
    token_hash: Vec<u8>,
    said: Said,
    /// When its last heartbeat came.
    heard: Option<Instant>,
    /// Tenants that its shared engine does not serve.
    refuses: HashSet<TenantId>,
    /// Offers on their way; each holds one free slot until it is decided.
    offered: HashMap<DispatchId, Sent>,
    channel: mpsc::Sender<ToBuilder>,
}

/// An offer on its way to a builder.
#[derive(Debug)]
struct Sent {
    at: Instant,
    /// Where it came from the pool's queue; dropped, somebody else gets it.
    delivery: Option<Delivery>,
}

/// A session that would take a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// The session.
    pub session: SessionId,
    /// Its builder.
    pub builder: BuilderId,
    /// Its pool.
    pub pool: Pool,
    /// Tenants that it does not serve, as far as it was found out.
    pub refuses: HashSet<TenantId>,
    /// Slots that no offer is on its way to.
    pub free: i64,
    /// Jobs that it runs, and offers on their way to it.
    pub busy: i64,
    /// It takes offers from its pool's queue by itself.
    pub from_queue: bool,
}

impl Taker {
    /// Takes one of its slots.
    pub fn take(&mut self) -> SessionId {
        self.free -= 1;
        self.busy += 1;
        self.session
    }
}

impl Fleet {
    /// The channel of a session opened, by whoever has the token of this hash. It takes nothing until its first
    /// heartbeat.
    pub fn connect(&self, session: &Session, token_hash: Vec<u8>, channel: mpsc::Sender<ToBuilder>) {
        let (builder, pool) = (session.builder_id, session.pool.clone());
        let (said, heard, refuses, offered) = (Said::default(), None, HashSet::new(), HashMap::new());
        let connected = Connected { builder, pool, token_hash, said, heard, refuses, offered, channel };
        self.change().sessions.insert(session.id, connected);
    }

    /// Whether this session is connected here, under the token of this hash.
    pub fn is_session(&self, session: SessionId, token_hash: &[u8]) -> bool {
        self.lock().sessions.get(&session).is_some_and(|connected| connected.token_hash == token_hash)
    }

    /// A channel closed. If it still is the session's channel, gives the offers that nobody waits for any more.
    pub fn disconnect(&self, session: SessionId, channel: &mpsc::Sender<ToBuilder>) -> Option<Vec<Offer>> {
        let mut table = self.change();
        table.sessions.get(&session).filter(|connected| connected.channel.same_channel(channel))?;
        table.sessions.remove(&session);
        table.warmth.forget(session);
        let of_it = table.for_warmth.extract_if(|_, sent| sent.session == session);
        Some(of_it.map(|(_, sent)| sent.offer).collect())
    }

    /// A heartbeat came. True if there may be more room than before: nobody needs to look when a thousand idle builders
    /// say once more that they are.
    pub fn heard(&self, session: SessionId, said: Said, now: Instant) -> bool {
        let mut table = self.lock();
        let Some(connected) = table.sessions.get_mut(&session) else { return false };
        let is_back = connected.is_silent(now);
        let changed = connected.said != said || is_back;
        let more = said.free > connected.said.free || is_back;
        (connected.said, connected.heard) = (said, Some(now));
        drop(table);
        if changed {
            self.0.changed.send_replace(());
        }
        more && said.free > 0
    }

    /// A claim was refused because the session's shared engine serves another tenant, for good.
    pub fn refuses(&self, session: SessionId, tenant: TenantId) {
        if let Some(connected) = self.lock().sessions.get_mut(&session) {
            connected.refuses.insert(tenant);
        }
    }

    /// Sessions with room that were heard a moment ago, those with the most room first.
    pub fn takers(&self, now: Instant) -> Vec<Taker> {
        let mut table = self.lock();
        let mut takers: Vec<Taker> =
            table.sessions.iter_mut().filter_map(|(session, connected)| connected.taker(*session, now)).collect();
        takers.sort_by_key(|taker| std::cmp::Reverse(taker.free));
        takers
    }

    /// The same, less a slot for each offer of ours that lies on a pool's queue.
    pub fn unoffered(&self, now: Instant) -> Vec<Taker> {
        let mut takers = self.takers(now);
        for (pool, offers) in &mut self.lock().in_queue {
            offers.retain(|_, put| now.duration_since(*put) < IN_QUEUE);
            let mut waiting = count(offers.len());
            for taker in takers.iter_mut().filter(|taker| taker.pool == *pool) {
                let spoken_for = waiting.min(taker.free);
                taker.free -= spoken_for;
                waiting -= spoken_for;
            }
        }
        takers.retain(|taker| taker.free > 0);
        takers
    }

    /// An offer was put on its pool's queue.
    pub fn queued(&self, pool: &Pool, dispatch: DispatchId, now: Instant) {
        self.lock().in_queue.entry(pool.clone()).or_default().insert(dispatch, now);
    }

    /// Free slots of the sessions that get this pool's offers from us.
    pub fn room(&self, pool: &Pool, now: Instant) -> u32 {
        let mut table = self.lock();
        let fed = |connected: &&mut Connected| connected.pool == *pool && !connected.said.from_queue;
        let free: i64 = table.sessions.values_mut().filter(fed).map(|connected| connected.room(now)).sum();
        u32::try_from(free).unwrap_or(0)
    }

    /// Hands an offer of a pool's queue to the session with the most room; gives it back when there is none.
    pub fn feed(&self, pool: &Pool, delivery: Delivery, now: Instant) -> Result<(), Delivery> {
        let mut delivery = delivery;
        let dispatch = delivery.offer.dispatch;
        if let Some(offers) = self.lock().in_queue.get_mut(pool) {
            offers.remove(&dispatch);
        }
        for taker in self.takers(now).iter().filter(|taker| taker.pool == *pool && !taker.from_queue) {
            let mut table = self.lock();
            let Some(connected) = table.sessions.get_mut(&taker.session) else { continue };
            delivery = match connected.send(delivery.offer, Some(delivery), now) {
                Ok(()) => return Ok(()),
                Err(Some(back)) => back,
                Err(None) => return Ok(()),
            };
        }
        Err(delivery)
    }

    /// Sends an offer and books a slot for it. False when the channel is gone or full.
    pub fn offer(&self, session: SessionId, offer: Offer, now: Instant) -> bool {
        let mut table = self.lock();
        table.sessions.get_mut(&session).is_some_and(|connected| connected.send(offer, None, now).is_ok())
    }

    /// A claim was decided; gives what is to be acked. When it won, the slot is taken until the next heartbeat says
    /// otherwise. Told twice, it changes nothing.
    pub fn decided(&self, session: SessionId, dispatch: DispatchId, won: bool) -> Option<Delivery> {
        let mut table = self.change();
        for offers in table.in_queue.values_mut() {
            offers.remove(&dispatch);
        }
        table.for_warmth.remove(&dispatch);
        let connected = table.sessions.get_mut(&session)?;
        let sent = connected.offered.remove(&dispatch)?;
        if won {
            connected.said.free -= 1;
            connected.said.busy += 1;
        }
        sent.delivery
    }

    /// An offer was declined: until its next heartbeat says otherwise, the session has no room at all. Gives what
    /// is to be acked.
    pub fn declined(&self, session: SessionId, dispatch: DispatchId) -> Option<Delivery> {
        let mut table = self.change();
        table.for_warmth.remove(&dispatch);
        let connected = table.sessions.get_mut(&session)?;
        connected.said.free = 0;
        connected.offered.remove(&dispatch)?.delivery
    }

    /// Sends a message. False when the session is not connected here, or its channel is full.
    pub fn tell(&self, session: SessionId, message: ToBuilder) -> bool {
        self.lock().sessions.get(&session).is_some_and(|connected| connected.channel.try_send(message).is_ok())
    }

    /// Every session that is connected here.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.lock().sessions.keys().copied().collect()
    }

    /// Rings whenever a session's room may have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn change(&self) -> MutexGuard<'_, Table> {
        self.0.changed.send_replace(());
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every operation leaves the table whole, so a panic elsewhere does not spoil it.
        self.0.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Connected {
    fn is_silent(&self, now: Instant) -> bool {
        self.heard.is_none_or(|heard| now.duration_since(heard) >= SILENT)
    }

    /// Slots that no offer is on its way to; none when it was not heard for a while.
    fn room(&mut self, now: Instant) -> i64 {
        if self.is_silent(now) {
            return 0;
        }
        self.offered.retain(|_, sent| now.duration_since(sent.at) < timing::DISPATCH_DEADLINE);
        (self.said.free - count(self.offered.len())).max(0)
    }

    fn taker(&mut self, session: SessionId, now: Instant) -> Option<Taker> {
        let free = self.room(now);
        let (builder, pool, refuses) = (self.builder, self.pool.clone(), self.refuses.clone());
        let (busy, from_queue) = (self.said.busy + count(self.offered.len()), self.said.from_queue);
        (free > 0).then_some(Taker { session, builder, pool, refuses, free, busy, from_queue })
    }

    /// Gives the delivery back where the channel is gone or full.
    fn send(&mut self, offer: Offer, delivery: Option<Delivery>, now: Instant) -> Result<(), Option<Delivery>> {
        if self.channel.try_send(ToBuilder::Offer(offer)).is_err() {
            return Err(delivery);
        }
        self.offered.insert(offer.dispatch, Sent { at: now, delivery });
        Ok(())
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
