//! The builders connected to this process just now: what each would take and how to reach it. Only hints; the
//! rows decide.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use slipway_domain::agent::{Offer, ToBuilder};
use slipway_domain::ids::{BuilderId, DispatchId, SessionId, TenantId};
use slipway_domain::placement::Pool;
use slipway_domain::timing;
use tokio::sync::mpsc;

/// Messages that a channel may lag behind before it is closed.
pub const CHANNEL_BUFFER: usize = 64;
/// A session without a heartbeat for this long gets no offers: its host may be gone without a word, and the
/// network notices that only after minutes.
const SILENT: Duration = timing::HEARTBEAT.saturating_mul(2);

/// Connected sessions. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Fleet(Arc<Mutex<HashMap<SessionId, Connected>>>);

#[derive(Debug)]
struct Connected {
    builder: BuilderId,
    pool: Pool,
    free: i64,
    /// When its last heartbeat came.
    heard: Option<Instant>,
    /// Tenants that its shared engine does not serve.
    refuses: HashSet<TenantId>,
    /// Offers on their way, with when they were sent; each holds one free slot until it is decided.
    offered: HashMap<DispatchId, Instant>,
    channel: mpsc::Sender<ToBuilder>,
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
}

impl Fleet {
    /// A channel opened. It takes nothing until its first heartbeat.
    pub fn connect(&self, session: SessionId, builder: BuilderId, pool: Pool, channel: mpsc::Sender<ToBuilder>) {
        let (heard, refuses, offered) = (None, HashSet::new(), HashMap::new());
        let connected = Connected { builder, pool, free: 0, heard, refuses, offered, channel };
        self.lock().insert(session, connected);
    }

    /// A channel closed. Only if it still is the session's channel.
    pub fn disconnect(&self, session: SessionId, channel: &mpsc::Sender<ToBuilder>) -> bool {
        let mut sessions = self.lock();
        let own = sessions.get(&session).is_some_and(|connected| connected.channel.same_channel(channel));
        if own {
            sessions.remove(&session);
        }
        own
    }

    /// A heartbeat said how many jobs it would take.
    pub fn heard(&self, session: SessionId, free: i64, now: Instant) {
        if let Some(connected) = self.lock().get_mut(&session) {
            connected.free = free;
            connected.heard = Some(now);
        }
    }

    /// A claim was refused because the session's shared engine serves another tenant, for good.
    pub fn refuses(&self, session: SessionId, tenant: TenantId) {
        if let Some(connected) = self.lock().get_mut(&session) {
            connected.refuses.insert(tenant);
        }
    }

    /// Sessions with room that were heard a moment ago, those with the most room first.
    pub fn takers(&self, now: Instant) -> Vec<Taker> {
        let mut sessions = self.lock();
        let mut takers: Vec<Taker> = sessions
            .iter_mut()
            .filter(|(_, connected)| connected.heard.is_some_and(|heard| now.duration_since(heard) < SILENT))
            .filter_map(|(session, connected)| {
                connected.offered.retain(|_, sent| now.duration_since(*sent) < timing::DISPATCH_DEADLINE);
                let free = connected.free - i64::try_from(connected.offered.len()).unwrap_or(i64::MAX);
                let (builder, pool) = (connected.builder, connected.pool.clone());
                let refuses = connected.refuses.clone();
                (free > 0).then_some(Taker { session: *session, builder, pool, refuses, free })
            })
            .collect();
        takers.sort_by_key(|taker| std::cmp::Reverse(taker.free));
        takers
    }

    /// Sends an offer and books a slot for it. False when the channel is gone or full.
    pub fn offer(&self, session: SessionId, offer: Offer, now: Instant) -> bool {
        let mut sessions = self.lock();
        let Some(connected) = sessions.get_mut(&session) else { return false };
        let sent = connected.channel.try_send(ToBuilder::Offer(offer)).is_ok();
        if sent {
            connected.offered.insert(offer.dispatch, now);
        }
        sent
    }

    /// A claim was decided. When it won, the slot is taken until the next heartbeat says otherwise.
    pub fn decided(&self, session: SessionId, dispatch: DispatchId, won: bool) {
        if let Some(connected) = self.lock().get_mut(&session) {
            connected.offered.remove(&dispatch);
            if won {
                connected.free -= 1;
            }
        }
    }

    /// An offer was declined: until its next heartbeat says otherwise, the session has no room at all.
    pub fn declined(&self, session: SessionId, dispatch: DispatchId) {
        if let Some(connected) = self.lock().get_mut(&session) {
            connected.offered.remove(&dispatch);
            connected.free = 0;
        }
    }

    /// Sends a message. False when the session is not connected here, or its channel is full.
    pub fn tell(&self, session: SessionId, message: ToBuilder) -> bool {
        self.lock().get(&session).is_some_and(|connected| connected.channel.try_send(message).is_ok())
    }

    /// Every session that is connected here.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Connected>> {
        // Every operation leaves the map whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::{new_id, random_id};

    use super::*;

    #[tokio::test]
    async fn an_offer_holds_a_slot_until_it_is_decided_or_too_old() {
        let fleet = Fleet::default();
        let (channel, mut inbox) = mpsc::channel(CHANNEL_BUFFER);
        let (session, now) = (new_id::<SessionId>(), Clock::system().monotonic());
        fleet.connect(session, new_id(), "a/b/c".parse().expect("valid"), channel.clone());
        assert!(fleet.takers(now).is_empty(), "nothing before the first heartbeat");
        fleet.heard(session, 1, now);
        let offer = Offer { job: new_id(), dispatch: random_id() };
        assert!(fleet.offer(session, offer, now));
        assert!(fleet.takers(now).is_empty(), "its slot is spoken for");
        let later = now + timing::DISPATCH_DEADLINE;
        fleet.heard(session, 1, later);
        assert_eq!(fleet.takers(later).len(), 1, "an old offer holds nothing");
        assert!(fleet.offer(session, offer, now));
        fleet.decided(session, offer.dispatch, false);
        assert_eq!(fleet.takers(now)[0].free, 1);
        fleet.decided(session, offer.dispatch, true);
        assert!(fleet.takers(now).is_empty());
        assert!(matches!(inbox.recv().await, Some(ToBuilder::Offer(got)) if got == offer));
        assert!(fleet.disconnect(session, &channel) && !fleet.offer(session, offer, now));
    }

    #[test]
    fn a_session_that_fell_silent_gets_no_offers() {
        let fleet = Fleet::default();
        let (channel, _inbox) = mpsc::channel(1);
        let (session, now) = (new_id::<SessionId>(), Clock::system().monotonic());
        fleet.connect(session, new_id(), "a/b/c".parse().expect("valid"), channel);
        fleet.heard(session, 4, now);
        assert_eq!(fleet.takers(now + timing::HEARTBEAT).len(), 1);
        assert!(fleet.takers(now + SILENT).is_empty());
        fleet.heard(session, 4, now + SILENT);
        assert_eq!(fleet.takers(now + SILENT).len(), 1, "it is back");
    }

    #[test]
    fn who_declines_gets_no_offers_until_its_next_heartbeat() {
        let fleet = Fleet::default();
        let (channel, _inbox) = mpsc::channel(1);
        let (session, now) = (new_id::<SessionId>(), Clock::system().monotonic());
        fleet.connect(session, new_id(), "a/b/c".parse().expect("valid"), channel);
        fleet.heard(session, 2, now);
        let offer = Offer { job: new_id(), dispatch: random_id() };
        assert!(fleet.offer(session, offer, now));
        assert_eq!(fleet.takers(now)[0].free, 1);
        fleet.declined(session, offer.dispatch);
        assert!(fleet.takers(now).is_empty());
        fleet.heard(session, 1, now);
        assert_eq!(fleet.takers(now)[0].free, 1, "the declined offer holds no slot");
    }

    #[test]
    fn an_older_channel_does_not_disconnect_a_newer_one() {
        let fleet = Fleet::default();
        let (old, _old_inbox) = mpsc::channel(1);
        let (new, _new_inbox) = mpsc::channel(1);
        let session = new_id::<SessionId>();
        let pool: Pool = "a/b/c".parse().expect("valid");
        fleet.connect(session, new_id(), pool.clone(), old.clone());
        fleet.connect(session, new_id(), pool, new.clone());
        assert!(!fleet.disconnect(session, &old));
        assert!(fleet.disconnect(session, &new));
    }
}
