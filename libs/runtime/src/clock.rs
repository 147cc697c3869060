//! The only reader of the wall clock and of `Instant` in product code.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// Hidden variable: seconds by which this process's clock is off. Only tests set it.
const OFFSET_VARIABLE: &str = "SLIPWAY_TEST_CLOCK_OFFSET_SECS";

/// Wall time, monotonic time and sleeping. Cheap to clone; clones share the offset.
#[derive(Debug, Clone)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock, moved by the hidden test variable if it is set.
    pub fn system() -> Self {
        let secs = std::env::var(OFFSET_VARIABLE).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        Self { offset_micros: Arc::new(AtomicI64::new(secs.saturating_mul(1_000_000))) }
    }

    /// Wall time in UTC, whole microseconds, as both databases keep it.
    #[expect(clippy::disallowed_methods, reason = "the clock is where wall time is read")]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = Utc::now().timestamp_micros() + self.offset_micros.load(Ordering::Relaxed);
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// How far this clock is from the system's, for adding to the database's time.
    pub fn offset(&self) -> TimeDelta {
        TimeDelta::microseconds(self.offset_micros.load(Ordering::Relaxed))
    }

    /// Moves this clock and all its clones forward. For tests.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.offset_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Monotonic time, for measuring and for leases that this process holds itself.
    #[expect(clippy::disallowed_methods, reason = "the clock is where monotonic time is read")]
    pub fn monotonic(&self) -> Instant {
        Instant::now()
    }

    /// Sleeps in monotonic time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_offset() {
        let clock = Clock::system();
        let clone = clock.clone();
        let before = clone.now();
        clock.advance(Duration::from_secs(3600));
        assert!(clone.now() - before >= TimeDelta::seconds(3600));
        assert_eq!(clone.now().timestamp_subsec_nanos() % 1000, 0);
    }
}
