//! Keeps room on the engine's disk: above a high mark what BuildKit has not used for the longest time goes, down to a
//! low mark, by rounds between which jobs may begin. A round has the builder for itself, because a build would lose what
//! it is about to use, and is never broken off, which may hang an engine (moby/buildkit#4399).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_buildkit::socket::Address;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::gate::Limits;
use crate::host::{self, Store};
use crate::slots::Alone;

/// Between two looks; a job that waits for a round begins in such a gap.
const EVERY: Duration = Duration::from_secs(5);
/// After a round that found nothing to remove: it is not the cache that fills the disk.
const REST: Duration = Duration::from_secs(600);

/// Above the high mark, or on the way from there to the low one.
pub struct Watermarks {
    agent: Arc<Agent>,
    falling: bool,
    /// Nothing was found, and nothing is looked for until then.
    rest: Option<Instant>,
}

/// What is to be done about a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// So many bytes shall go once nothing is built.
    Soon(u64),
    /// The same, and nothing new is begun before.
    Now(u64),
}

impl Watermarks {
    /// Nothing is known yet.
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent, falling: false, rest: None }
    }

    /// Looks again and again.
    pub async fn watch(mut self) -> Infallible {
        loop {
            self.agent.clock.sleep(EVERY).await;
            self.round().await;
        }
    }

    /// One round, if it is time for one.
    pub async fn round(&mut self) {
        let now = self.agent.clock.monotonic();
        if self.rest.is_some_and(|rest| now < rest) {
            return;
        }
        let Some(store) = self.store().await else { return };
        let need = need(&self.agent.config.limits, &store, self.falling);
        let (alone, bytes) = match need {
            Need::Nothing => {
                self.falling = false;
                return;
            }
            Need::Soon(bytes) => (self.agent.slots.alone(), bytes),
            // Where the cache is not what fills the disk, nobody waits for it.
            Need::Now(bytes) if self.rest.is_some() => (self.agent.slots.alone(), bytes),
            Need::Now(bytes) => (Some(self.agent.slots.alone_soon().await), bytes),
        };
        self.falling = true;
        // Whoever leaves is not held up.
        if let Some(alone) = alone.filter(|_| !*self.agent.draining.borrow()) {
            self.prune(bytes, alone).await;
        }
    }

    async fn prune(&mut self, bytes: u64, alone: Alone) {
        let pruned = self.agent.engine.prune_cache(bytes).await;
        match &pruned {
            Ok(pruned) if pruned.records > 0 => {
                if let Some(until) = pruned.until {
                    self.agent.cache.pruned(until).await;
                }
                let disk_percent = self.store().await.map(|store| percent(store.used()));
                info!(
                    records = pruned.records,
                    bytes = pruned.bytes,
                    disk_percent,
                    "oldest of the engine's cache removed"
                );
                self.rest = None;
            }
            Ok(_) => self.rest(),
            Err(failure) => {
                warn!(reason = failure.message, "the engine's cache was not pruned");
                self.rest();
            }
        }
        drop(alone);
    }

    fn rest(&mut self) {
        self.rest = Some(self.agent.clock.monotonic() + REST);
    }

    /// The disk as it is now. An engine elsewhere keeps its own house.
    async fn store(&self) -> Option<Store> {
        match &self.agent.config.engine {
            Address::Unix(_) => {}
            Address::Tcp(_) => return None,
        }
        let data_root = self.agent.readiness.borrow().data_root.clone()?;
        self.agent.life.blocking("look at the engine's disk", move || host::store(&data_root)).await.ok()?
    }
}

fn need(limits: &Limits, store: &Store, falling: bool) -> Need {
    let (used, high) = (store.used(), limits.cache_high);
    if used <= limits.cache_low.min(high) || (used <= high && !falling) {
        return Need::Nothing;
    }
    let bytes = store.over(limits.cache_low.min(high)).max(1);
    if used > f64::midpoint(high, 1.0) { Need::Now(bytes) } else { Need::Soon(bytes) }
}

fn percent(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need_at(used: u64, falling: bool) -> Need {
        let limits = Limits { cache_high: 0.8, cache_low: 0.7, ..Limits::default() };
        need(&limits, &Store { total_bytes: 1000, free_bytes: 1000 - used }, falling)
    }

    #[test]
    fn it_falls_from_the_high_mark_to_the_low_one() {
        assert_eq!([need_at(750, false), need_at(800, false), need_at(700, true)], [Need::Nothing; 3]);
        assert_eq!(need_at(850, false), Need::Soon(150));
        assert_eq!(need_at(750, true), Need::Soon(50));
        assert_eq!(need_at(901, false), Need::Now(201));
        assert_eq!(need_at(1000, true), Need::Now(300));
    }

    #[test]
    fn at_a_hundred_percent_nothing_is_ever_removed() {
        let limits = Limits { cache_high: 1.0, cache_low: 0.7, ..Limits::default() };
        let full = Store { total_bytes: 1000, free_bytes: 0 };
        assert_eq!(need(&limits, &full, false), Need::Nothing);
    }
}
