//! Whether object storage is called at all. While it is out, what is received stays in memory and in the builders'
//! spools, viewers see it from there, and one call looks whether it is back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_blobs::BlobError;
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits, Permit};
use slipway_runtime::clock::Clock;

/// How often it is asked whether it answers, at least.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(30);
/// Storing segments.
pub(crate) const WRITES: &str = "segments written";
/// Reading them back before a log is sealed. Viewers read as they like: each waits for itself.
pub(crate) const READS: &str = "segments read back";

/// The storage is ours: looks are cheap, and builders wait for what is durable. Calls have their own bound.
const LIMITS: Limits = Limits::without_places(
    Rules { failures: 5, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(5) },
    2,
);

/// When what was received could last not be stored somewhere, as far as is known here. The time before this process began
/// counts as such: nobody was there, perhaps.
#[derive(Debug)]
pub(crate) struct Outage {
    until: DateTime<Utc>,
    lasts: bool,
    looked_at: Option<DateTime<Utc>>,
}

impl Outage {
    /// That before now.
    pub(crate) fn until(now: DateTime<Utc>) -> Self {
        Self { until: now, lasts: false, looked_at: None }
    }

    /// Storage was asked.
    pub(crate) fn told(&mut self, answers: bool, now: DateTime<Utc>) {
        (self.lasts, self.looked_at) = (!answers, Some(now));
        if self.lasts {
            self.until = now;
        }
    }

    /// Whether it is time to ask: again and again while it lasts, else often enough that no long one goes by unseen.
    pub(crate) fn is_to_be_looked_at(&self, now: DateTime<Utc>) -> bool {
        self.lasts || self.looked_at.is_none_or(|at| now - at >= LOOK_EVERY)
    }

    /// Whether it has been over for so long.
    pub(crate) fn is_over_for(&self, time: TimeDelta, now: DateTime<Utc>) -> bool {
        !self.lasts && now - self.until >= time
    }
}

pub(crate) fn breakers(clock: Clock) -> Breakers {
    Breakers::new(Kind::Blobs, LIMITS, clock)
}

/// Tells the breaker how a call went.
pub(crate) fn tell<T>(permit: Permit, result: &Result<T, BlobError>) {
    match result {
        Ok(_) | Err(BlobError::NotFound(_)) => permit.answered(),
        Err(BlobError::Storage(_)) => permit.failed(),
        Err(BlobError::BadUrl(_)) => drop(permit),
    }
}
