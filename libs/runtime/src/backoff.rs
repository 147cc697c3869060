//! Pauses between tries: doubled each time, up to a bound, each shortened at random so that callers that
//! lost the same server do not come back in step.

use std::time::Duration;

use crate::ids::random_bytes;

/// The next pause of one row of tries.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Starts at `first` and never pauses longer than `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, next: first, max }
    }

    /// For calls to the control plane.
    pub fn for_calls() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// The pause before the next try: between half and all of the step.
    pub fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        let random = f64::from(u16::from_be_bytes(random_bytes())) / f64::from(u16::MAX);
        step.mul_f64(0.5 + random / 2.0)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for step in [100, 200, 400, 400] {
            let pause = backoff.pause().as_millis();
            assert!((step / 2..=step).contains(&pause), "{pause} for {step}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
