//! How often something may happen: so many at once, and room that comes back evenly (the generic cell rate
//! algorithm, which keeps one moment per key: when it would have all its room again). In memory here; on Redis the
//! same sum is done by a script.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use slipway_domain::ids::TenantId;

/// Keys that one process remembers. Beyond that, keys with all their room are forgotten, and if there are none, all.
const KEYS_MAX: usize = 100_000;

/// What is counted, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// A token that is not known, shown from this address.
    FailedSignIn(IpAddr),
    /// A join token that is not known, shown from this address.
    FailedJoin(IpAddr),
    /// A build that a tenant's member asked for.
    Build(TenantId),
    /// A change that a tenant's member asked for.
    Write(TenantId),
}

/// So many at once, and as many again in each period, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    times: u32,
    per: Duration,
}

/// There is no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// After this time there is room for one.
    pub retry_after: Duration,
}

/// When each key would have all its room again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<HashMap<Counted, Instant>>>);

impl Counted {
    /// What it is, in a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::FailedSignIn(_) => "sign-in",
            Self::FailedJoin(_) => "join",
            Self::Build(_) => "build",
            Self::Write(_) => "write",
        }
    }

    /// Its name among Redis' keys.
    pub(crate) fn name(self) -> String {
        let word = self.word();
        match self {
            Self::FailedSignIn(address) | Self::FailedJoin(address) => format!("{word}:{address}"),
            Self::Build(tenant) | Self::Write(tenant) => format!("{word}:{tenant}"),
        }
    }
}

impl Limit {
    /// `times` in each `per`; at least one in a millisecond or more.
    pub const fn new(times: u32, per: Duration) -> Self {
        let times = if times == 0 { 1 } else { times };
        let per = if per.as_millis() == 0 { Duration::from_millis(1) } else { per };
        Self { times, per }
    }

    /// The whole of it, in microseconds.
    pub(crate) fn per_micros(self) -> u64 {
        u64::try_from(self.per.as_micros()).unwrap_or(u64::MAX)
    }

    /// What one takes of it, in microseconds.
    pub(crate) fn each_micros(self) -> u64 {
        (self.per_micros() / u64::from(self.times)).max(1)
    }
}

impl Exceeded {
    /// Whole seconds, at least one, as `Retry-After` has them.
    pub fn retry_after_secs(self) -> u32 {
        u32::try_from(self.retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    }
}

impl Counts {
    /// Counts one more if there is room.
    pub(crate) fn take(&self, counted: Counted, limit: Limit, now: Instant) -> Result<(), Exceeded> {
        // A panic elsewhere leaves the map whole: every change of it is one call.
        let mut full_again = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = full_again.get(&counted).copied().filter(|at| *at > now).unwrap_or(now);
        let after = before + Duration::from_micros(limit.each_micros());
        let taken = after.saturating_duration_since(now);
        if taken > limit.per {
            return Err(Exceeded { retry_after: taken - limit.per });
        }
        if full_again.len() >= KEYS_MAX && !full_again.contains_key(&counted) {
            full_again.retain(|_, at| *at > now);
            if full_again.len() >= KEYS_MAX {
                full_again.clear();
            }
        }
        full_again.insert(counted, after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use slipway_runtime::clock::Clock;

    use super::*;

    fn key(number: u32) -> Counted {
        Counted::FailedJoin(Ipv4Addr::from(number).into())
    }

    #[test]
    fn room_is_used_up_and_comes_back_evenly() {
        let (counts, start) = (Counts::default(), Clock::system().monotonic());
        let limit = Limit::new(3, Duration::from_secs(30));
        let at = |secs| counts.take(key(1), limit, start + Duration::from_secs(secs));
        assert_eq!([at(0), at(0), at(0)], [Ok(()); 3]);
        assert_eq!(at(1), Err(Exceeded { retry_after: Duration::from_secs(9) }));
        assert_eq!(at(1), Err(Exceeded { retry_after: Duration::from_secs(9) }), "a refusal takes nothing");
        assert_eq!(at(10), Ok(()));
        assert!(at(10).is_err());
        assert_eq!([at(100), at(100), at(100)], [Ok(()); 3], "no more than all of it comes back");
        assert!(at(100).is_err());
        assert_eq!(counts.take(key(2), limit, start), Ok(()), "another's room");
    }

    #[test]
    fn many_keys_take_no_more_memory_than_they_may() {
        let (counts, start) = (Counts::default(), Clock::system().monotonic());
        let limit = Limit::new(1, Duration::from_secs(1));
        let most = u32::try_from(KEYS_MAX).expect("small");
        for number in 0..most + 10 {
            assert_eq!(counts.take(key(number), limit, start), Ok(()));
        }
        assert_eq!(counts.0.lock().expect("whole").len(), 10);
        let later = start + Duration::from_secs(1);
        assert_eq!(counts.take(key(most + 9), limit, later), Ok(()));
    }

    #[test]
    fn seconds_to_wait_are_never_none() {
        for (millis, secs) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            let exceeded = Exceeded { retry_after: Duration::from_millis(millis) };
            assert_eq!(exceeded.retry_after_secs(), secs, "{millis} ms");
        }
    }
}
