//! What a consumer and the task that fetches for it share: how many offers are wanted, and those that lie ready.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lapin::Acker;
use slipway_domain::agent::Offer;
use tokio::sync::Notify;

use super::window::most_ready;

/// An offer that the broker gave us and that is not settled yet.
pub(crate) struct Lot {
    pub(crate) offer: Offer,
    pub(crate) held: Held,
}

/// What settles a delivery. An acker of a channel that is gone does nothing.
pub(crate) struct Held {
    pub(crate) acker: Acker,
    /// Which subscription brought it; numbers are never used twice.
    pub(crate) subscription: u64,
}

/// What the fetching task shall do now.
pub(crate) struct Plan {
    /// How many the consumer would take.
    pub(crate) wanted: u32,
    /// How many of them lie here.
    pub(crate) ready: u32,
    /// Offers that lie here although nobody wants them any more.
    pub(crate) surplus: Vec<Lot>,
    /// The last wish that this plan takes into account.
    pub(crate) asked: u64,
}

/// The shared state and the bells to it.
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    /// Rings for the consumer: an offer is there.
    arrived: Notify,
    /// Rings for the task: the wish has changed.
    changed: Notify,
    /// Rings for those who wait until a wish holds.
    applied: Notify,
}

#[derive(Default)]
struct State {
    wanted: u32,
    ready: VecDeque<Lot>,
    asked: u64,
    applied: u64,
    /// True while the broker may send something.
    is_live: bool,
    has_left: bool,
}

impl State {
    fn most_ready(&self) -> usize {
        usize::try_from(most_ready(self.wanted)).unwrap_or(usize::MAX)
    }
}

impl Desk {
    /// Sets how many more offers are wanted; returns once no more than that can come.
    pub(crate) async fn want(&self, wanted: u32) {
        let mine = {
            let mut state = self.lock();
            state.wanted = wanted;
            state.asked += 1;
            state.asked
        };
        self.changed.notify_one();
        loop {
            let mut applied = std::pin::pin!(self.applied.notified());
            applied.as_mut().enable();
            {
                let state = self.lock();
                if !state.is_live || state.applied >= mine {
                    return;
                }
            }
            applied.await;
        }
    }

    /// The next offer. Nothing is taken unless this returns.
    pub(crate) async fn next(&self) -> Lot {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            {
                let mut state = self.lock();
                if state.wanted > 0
                    && let Some(lot) = state.ready.pop_front()
                {
                    state.wanted -= 1;
                    return lot;
                }
            }
            arrived.await;
        }
    }

    /// The consumer is gone: nothing is wanted any more.
    pub(crate) fn leave(&self) {
        self.lock().has_left = true;
        self.changed.notify_one();
    }

    /// Returns when the wish has changed since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What to do now. Takes out what lies here unwanted: the youngest.
    pub(crate) fn plan(&self) -> Plan {
        let mut state = self.lock();
        if state.has_left {
            state.wanted = 0;
        }
        let keep = state.most_ready().min(state.ready.len());
        let surplus = state.ready.split_off(keep).into();
        Plan { wanted: state.wanted, ready: u32::try_from(keep).unwrap_or(u32::MAX), surplus, asked: state.asked }
    }

    /// The wish with this number, and all before it, hold now.
    pub(crate) fn applied(&self, asked: u64) {
        self.lock().applied = asked;
        self.applied.notify_waiters();
    }

    /// Puts an offer there; gives it back when nobody wants it.
    pub(crate) fn put(&self, lot: Lot) -> Result<(), Lot> {
        let mut state = self.lock();
        if state.has_left || state.ready.len() >= state.most_ready() {
            return Err(lot);
        }
        state.ready.push_back(lot);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// A connection begins.
    pub(crate) fn go_live(&self) {
        self.lock().is_live = true;
    }

    /// The connection is gone, and with it what lay here: the broker has it again.
    pub(crate) fn go_down(&self) {
        let mut state = self.lock();
        state.is_live = false;
        state.ready.clear();
        drop(state);
        self.applied.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every operation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
