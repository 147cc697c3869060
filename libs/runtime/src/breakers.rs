//! The breakers of one kind of upstream in one process, by address: who is out is not called, who is in doubt
//! gets few places, and a bound on how many are remembered keeps tenants, who name the addresses, from filling
//! memory. Addresses stand in the log; `/readyz` and metrics, which anybody may read, never show them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use tracing::{info, warn};

use crate::breaker::{Breaker, Change, Ended, Round, Rules};
use crate::clock::Clock;
use crate::health::Health;

#[cfg(test)]
mod tests;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// APIs of forges.
    Forge,
    /// Image registries that tags are looked at.
    Registry,
    /// Image registries that builders look base images up at.
    BaseImages,
    /// Image registries that keep layers of stages.
    Caches,
    /// Our own object storage.
    Blobs,
}

/// How much is risked on one upstream, and on all that are in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When it is not called at all.
    pub rules: Rules,
    /// Places that one upstream gets whose last call with a place was answered.
    pub trusted_places: usize,
    /// Places that any other gets.
    pub doubtful_places: usize,
    /// Places that all the others get together.
    pub all_doubtful_places: usize,
    /// Upstreams that are remembered; the least recently called are forgotten, those that are well first.
    pub remembered: usize,
}

impl Limits {
    /// For upstreams that are asked without a place, because the caller bounds its calls itself.
    pub const fn without_places(rules: Rules, remembered: usize) -> Self {
        Self { rules, trusted_places: 0, doubtful_places: 0, all_doubtful_places: 0, remembered }
    }
}

/// Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Breakers {
    kind: Kind,
    limits: Limits,
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    upstreams: HashMap<String, Upstream>,
    /// Counts calls, for who was called last.
    calls: u64,
    /// Counts upstreams, for names that tell nothing.
    named: u64,
    /// Places taken by those in doubt.
    doubtful: usize,
}

#[derive(Debug)]
struct Upstream {
    number: u64,
    breaker: Breaker,
    called: u64,
    /// Places that are taken.
    taken: usize,
    /// The last call with a place was answered.
    trusted: bool,
}

/// Why an upstream is not called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it did not answer lately and is asked again in {} s", .retry_in.as_secs_f32().ceil())]
pub struct Out {
    /// Not before this time.
    pub retry_in: Duration,
}

/// Allows one call. Dropped without a word, it says nothing about the upstream.
#[derive(Debug)]
pub struct Permit {
    breakers: Breakers,
    upstream: String,
    number: u64,
    round: Round,
    place: Option<Place>,
    ended: Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Trusted,
    Doubtful,
}

impl Kind {
    /// As it stands in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forge => "forge",
            Self::Registry => "registry",
            Self::BaseImages => "base_images",
            Self::Caches => "caches",
            Self::Blobs => "blobs",
        }
    }
}

impl Breakers {
    /// Nobody is out yet. Once per kind and process, because it owns the kind's metrics.
    pub fn new(kind: Kind, limits: Limits, clock: Clock) -> Self {
        gauge!("slipway_upstream_open", "kind" => kind.as_str()).set(0.0);
        for outcome in ["answered", "failed", "skipped"] {
            counter!("slipway_upstream_calls_total", "kind" => kind.as_str(), "outcome" => outcome).increment(0);
        }
        Self { kind, limits, clock, known: Arc::default() }
    }

    /// Allows a call to an upstream unless it is out. The caller bounds its calls itself.
    pub fn ask(&self, upstream: &str) -> Result<Permit, Out> {
        let now = self.clock.now();
        let mut known = self.lock();
        let entry = self.entry(&mut known, upstream);
        let (number, admitted) = (entry.number, entry.breaker.admit(now));
        drop(known);
        match admitted {
            Ok(round) => Ok(self.permit(upstream, number, round, None)),
            Err(retry_in) => {
                self.count("skipped");
                Err(Out { retry_in })
            }
        }
    }

    /// A place for a call to an upstream, if it may have one more now: none while it is out, one to see whether it
    /// is back, few while it is in doubt.
    pub fn reserve(&self, upstream: &str) -> Option<Permit> {
        let now = self.clock.now();
        let mut known = self.lock();
        let in_doubt = known.doubtful < self.limits.all_doubtful_places;
        let entry = self.entry(&mut known, upstream);
        let (place, free) = if entry.trusted {
            (Place::Trusted, entry.taken < self.limits.trusted_places)
        } else {
            (Place::Doubtful, in_doubt && entry.taken < self.limits.doubtful_places)
        };
        if !free {
            return None;
        }
        let round = entry.breaker.admit(now).ok()?;
        entry.taken += 1;
        let number = entry.number;
        if place == Place::Doubtful {
            known.doubtful += 1;
        }
        drop(known);
        Some(self.permit(upstream, number, round, Some(place)))
    }

    /// Whether an upstream is open or half-open.
    pub fn is_out(&self, upstream: &str) -> bool {
        self.lock().upstreams.get(upstream).is_some_and(|entry| entry.breaker.outage().is_some())
    }

    /// How long nobody calls an upstream from now on; zero unless it is out.
    pub fn retry_in(&self, upstream: &str) -> Duration {
        let now = self.clock.now();
        self.lock().upstreams.get(upstream).map_or(Duration::ZERO, |entry| entry.breaker.retry_in(now))
    }

    /// A line for each upstream that is out, without its address.
    pub fn report(&self) -> Vec<String> {
        let now = self.clock.now();
        let known = self.lock();
        let mut out: Vec<_> =
            known.upstreams.values().filter_map(|entry| Some((entry, entry.breaker.outage()?))).collect();
        out.sort_by_key(|(entry, _)| entry.number);
        out.iter()
            .map(|(entry, outage)| {
                let since = (now - outage.since).num_seconds().max(0);
                let next = entry.breaker.retry_in(now).as_secs_f32().ceil();
                let (kind, number, failures) = (self.kind.as_str(), entry.number, outage.failures);
                format!(
                    "upstream {kind} {number} degraded: out for {since} s after {failures} failures in a row, \
                     asked again in {next} s; the log names it"
                )
            })
            .collect()
    }

    /// Adds what is out to `/readyz?verbose`.
    pub fn watch(&self, health: &Health) {
        let breakers = self.clone();
        health.remark(move || breakers.report());
    }

    fn permit(&self, upstream: &str, number: u64, round: Round, place: Option<Place>) -> Permit {
        Permit { breakers: self.clone(), upstream: upstream.to_owned(), number, round, place, ended: Ended::Untold }
    }

    /// The upstream's, made where it is new.
    fn entry<'a>(&self, known: &'a mut Known, upstream: &str) -> &'a mut Upstream {
        known.calls += 1;
        if !known.upstreams.contains_key(upstream) && known.upstreams.len() >= self.limits.remembered {
            self.forget_one(known);
        }
        let Known { upstreams, calls, named, .. } = known;
        let entry = upstreams.entry(upstream.to_owned()).or_insert_with(|| {
            *named += 1;
            let breaker = Breaker::new(self.limits.rules);
            Upstream { number: *named, breaker, called: 0, taken: 0, trusted: false }
        });
        entry.called = *calls;
        entry
    }

    fn forget_one(&self, known: &mut Known) {
        let oldest = known.upstreams.iter().min_by_key(|(_, entry)| (entry.breaker.outage().is_some(), entry.called));
        if let Some(upstream) = oldest.map(|(upstream, _)| upstream.clone()) {
            known.upstreams.remove(&upstream);
            self.show_open(known);
        }
    }

    fn end(&self, permit: &Permit) {
        let now = self.clock.now();
        let mut known = self.lock();
        if permit.place == Some(Place::Doubtful) {
            known.doubtful = known.doubtful.saturating_sub(1);
        }
        // Another number: it was forgotten meanwhile and met again.
        let entry = known.upstreams.get_mut(&permit.upstream).filter(|entry| entry.number == permit.number);
        let change = entry.and_then(|entry| {
            if permit.place.is_some() {
                entry.taken = entry.taken.saturating_sub(1);
                entry.trusted = match permit.ended {
                    Ended::Answered => true,
                    Ended::Failed => false,
                    Ended::Untold => entry.trusted,
                };
            }
            entry.breaker.ended(permit.round, permit.ended, now)
        });
        if change.is_some() {
            self.show_open(&known);
        }
        drop(known);
        match permit.ended {
            Ended::Answered => self.count("answered"),
            Ended::Failed => self.count("failed"),
            Ended::Untold => {}
        }
        self.tell(permit, change);
    }

    fn tell(&self, permit: &Permit, change: Option<Change>) {
        let (kind, number, upstream) = (self.kind.as_str(), permit.number, &permit.upstream);
        match change {
            None => {}
            Some(Change::Opened(outage, pause)) => {
                let (failures, retry_ms) = (outage.failures, pause.as_millis());
                warn!(kind, number, upstream, failures, retry_ms, "an upstream does not answer; it is left alone");
            }
            Some(Change::Closed(outage)) => {
                let out_secs = (self.clock.now() - outage.since).num_seconds();
                info!(kind, number, upstream, out_secs, "an upstream answers again");
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of at most a few thousand")]
    fn show_open(&self, known: &Known) {
        let open = known.upstreams.values().filter(|entry| entry.breaker.outage().is_some()).count();
        gauge!("slipway_upstream_open", "kind" => self.kind.as_str()).set(open as f64);
    }

    fn count(&self, outcome: &'static str) {
        counter!("slipway_upstream_calls_total", "kind" => self.kind.as_str(), "outcome" => outcome).increment(1);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is whole before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The upstream answered, if only to refuse.
    pub fn answered(mut self) {
        self.ended = Ended::Answered;
    }

    /// It was unreachable, silent or broken.
    pub fn failed(mut self) {
        self.ended = Ended::Failed;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.breakers.clone().end(self);
    }
}
