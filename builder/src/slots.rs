//! Room for jobs, and who sits in it. A slot is reserved before a claim is sent, so that no won claim is
//! ever without room; it is free again when its guard is dropped, however the attempt ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::ClaimId;
use tokio::sync::watch;

use crate::halt::{Halt, Reins};

/// All slots of this builder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: usize,
    table: Mutex<Table>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Table {
    taken: usize,
    /// Somebody works on the engine, or waits to, and wants no job beside.
    shut: bool,
    claiming: BTreeSet<ClaimId>,
    held: BTreeMap<AttemptRef, Reins>,
}

/// No job runs and none is taken while this is held.
#[derive(Debug)]
pub struct Alone(Slots);

/// One taken slot.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    claim: ClaimId,
    attempt: Option<AttemptRef>,
}

impl Slots {
    /// `total` free slots.
    pub fn new(total: usize) -> Self {
        Self(Arc::new(Inner { total, table: Mutex::default(), changed: watch::Sender::new(()) }))
    }

    /// Takes a slot for what this claim may win, if one is free.
    pub fn reserve(&self, claim: ClaimId) -> Option<Slot> {
        let mut table = self.table();
        if table.shut || table.taken >= self.0.total {
            return None;
        }
        table.taken += 1;
        table.claiming.insert(claim);
        Some(Slot { slots: self.clone(), claim, attempt: None })
    }

    /// How many slots there are.
    pub fn total(&self) -> i64 {
        count(self.0.total)
    }

    /// How many are free.
    pub fn free(&self) -> i64 {
        let table = self.table();
        if table.shut { 0 } else { count(self.0.total - table.taken) }
    }

    /// Shuts out jobs, if none is here.
    pub fn alone(&self) -> Option<Alone> {
        {
            let mut table = self.table();
            if table.shut || table.taken > 0 {
                return None;
            }
            table.shut = true;
        }
        self.0.changed.send_replace(());
        Some(Alone(self.clone()))
    }

    /// Takes no more jobs and waits for the end of those that are here. One caller at a time.
    pub async fn alone_soon(&self) -> Alone {
        self.table().shut = true;
        let alone = Alone(self.clone());
        let mut changes = self.changes();
        self.0.changed.send_replace(());
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = changes.wait_for(|()| self.taken() == 0).await;
        alone
    }

    /// Whether somebody has, or waits to have, the builder for itself.
    pub fn is_shut(&self) -> bool {
        self.table().shut
    }

    /// How many are taken.
    pub fn taken(&self) -> i64 {
        count(self.table().taken)
    }

    /// The attempts that are worked on.
    pub fn held(&self) -> Vec<AttemptRef> {
        self.table().held.keys().copied().collect()
    }

    /// The attempts that are worked on, and the claims that wait for their answer.
    pub fn held_and_claiming(&self) -> (Vec<AttemptRef>, Vec<ClaimId>) {
        let table = self.table();
        (table.held.keys().copied().collect(), table.claiming.iter().copied().collect())
    }

    /// Asks one attempt to end; one that is not here has ended already.
    pub fn pull(&self, attempt: AttemptRef, halt: Halt) {
        let reins = self.table().held.get(&attempt).cloned();
        if let Some(reins) = reins {
            reins.pull(halt);
        }
    }

    /// Rings whenever a slot is taken by an attempt or becomes free.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Returns once no slot is taken.
    pub async fn empty(&self) {
        let mut changes = self.changes();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = changes.wait_for(|()| self.taken() == 0).await;
    }

    /// Returns once nobody shuts jobs out.
    pub async fn open(&self) {
        let mut changes = self.changes();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = changes.wait_for(|()| !self.table().shut).await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Puts a won attempt into the slot; from here on heartbeats list it.
    pub fn hold(&mut self, attempt: AttemptRef, reins: Reins) {
        {
            let mut table = self.slots.table();
            table.claiming.remove(&self.claim);
            table.held.insert(attempt, reins);
        }
        self.attempt = Some(attempt);
        self.slots.0.changed.send_replace(());
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.table().shut = false;
        self.0.0.changed.send_replace(());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut table = self.slots.table();
            table.taken -= 1;
            table.claiming.remove(&self.claim);
            if let Some(attempt) = self.attempt {
                table.held.remove(&attempt);
            }
        }
        self.slots.0.changed.send_replace(());
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use slipway_domain::ids::JobId;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn attempt() -> AttemptRef {
        AttemptRef { job: new_id::<JobId>(), epoch: 1 }
    }

    #[test]
    fn a_slot_is_taken_before_the_claim_and_freed_by_its_guard() {
        let slots = Slots::new(1);
        let claim = new_id();
        let mut slot = slots.reserve(claim).expect("free");
        assert!(slots.reserve(new_id()).is_none());
        assert_eq!((slots.free(), slots.held().len()), (0, 0), "a reserved slot holds nothing yet");
        assert_eq!(slots.held_and_claiming(), (vec![], vec![claim]));
        let attempt = attempt();
        slot.hold(attempt, Reins::default());
        assert_eq!(slots.held_and_claiming(), (vec![attempt], vec![]));
        drop(slot);
        drop(slots.reserve(claim));
        assert_eq!(slots.held_and_claiming(), (vec![], vec![]));
        assert_eq!((slots.free(), slots.held().len()), (1, 0));
    }

    #[test]
    fn only_the_named_attempt_is_asked_to_end() {
        let slots = Slots::new(2);
        let (mine, other) = (attempt(), attempt());
        let (reins, others) = (Reins::default(), Reins::default());
        let mut first = slots.reserve(new_id()).expect("free");
        let mut second = slots.reserve(new_id()).expect("free");
        first.hold(mine, reins.clone());
        second.hold(other, others.clone());
        slots.pull(mine, Halt::Cancelled);
        slots.pull(attempt(), Halt::Stopped);
        assert_eq!((reins.cause(), others.cause()), (Some(Halt::Cancelled), None));
    }

    #[tokio::test]
    async fn alone_means_without_a_job_and_ends_with_its_guard() {
        let slots = Slots::new(2);
        let slot = slots.reserve(new_id()).expect("free");
        assert!(slots.alone().is_none(), "a job is here");
        let mut soon = Box::pin(slots.alone_soon());
        assert!(futures_util::poll!(&mut soon).is_pending());
        assert!(slots.reserve(new_id()).is_none() && slots.free() == 0, "nothing is begun any more");
        drop(slot);
        let alone = soon.await;
        assert!(slots.reserve(new_id()).is_none() && slots.alone().is_none() && slots.is_shut());
        let mut open = std::pin::pin!(slots.open());
        assert!(futures_util::poll!(&mut open).is_pending());
        drop(alone);
        open.await;
        assert_eq!(slots.free(), 2);
        // Given up while it waited, it shuts nobody out.
        let slot = slots.reserve(new_id()).expect("free");
        drop(Box::pin(slots.alone_soon()));
        let mut given_up = Box::pin(slots.alone_soon());
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        drop(slot);
        assert!(slots.alone().is_some_and(|_alone| slots.reserve(new_id()).is_none()));
        assert_eq!(slots.free(), 2);
    }

    #[tokio::test]
    async fn empty_waits_for_the_last_guard() {
        let slots = Slots::new(1);
        let slot = slots.reserve(new_id()).expect("free");
        let waiting = slots.clone();
        let mut empty = std::pin::pin!(async move { waiting.empty().await });
        assert!(futures_util::poll!(&mut empty).is_pending());
        drop(slot);
        empty.await;
    }
}
