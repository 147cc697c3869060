//! How often a viewer is sent something: the more viewers this process has, the more news one send holds. A send to one of
//! ten thousand costs as much as a send to the only one, so that their number, and not the log's speed, bounds the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use slipway_runtime::ids::random_bytes;

/// Between two sends to a viewer, for each viewer that is here: 33,000 sends a second to all of them.
const EACH: Duration = Duration::from_micros(30);
/// What a viewer never waits longer than, beyond its share of chance.
const LONGEST: Duration = Duration::from_millis(400);
/// Waits of viewers differ by this part of them to either side, so that they do not come all at once for long.
const SPREAD: f64 = 0.25;

/// The viewers of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd(Arc<AtomicUsize>);

/// One viewer; leaves on drop.
#[derive(Debug)]
pub(crate) struct Pace {
    crowd: Crowd,
    share: f64,
    sent: Option<Instant>,
}

impl Crowd {
    /// One more viewer.
    pub(crate) fn join(&self) -> Pace {
        self.0.fetch_add(1, Ordering::Relaxed);
        let chance = f64::from(u16::from_le_bytes(random_bytes())) / f64::from(u16::MAX);
        Pace { crowd: self.clone(), share: 1.0 - SPREAD + 2.0 * SPREAD * chance, sent: None }
    }

    fn gap(&self) -> Duration {
        let viewers = u32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        EACH.saturating_mul(viewers).min(LONGEST)
    }
}

impl Pace {
    /// Something is sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// How long the viewer waits before it looks for more.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        let since = self.sent.map_or(LONGEST * 2, |sent| now.saturating_duration_since(sent));
        self.crowd.gap().mul_f64(self.share).saturating_sub(since)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.crowd.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::clock::Clock;

    use super::*;

    #[test]
    fn the_more_viewers_the_longer_each_waits_between_sends_and_never_before_the_first() {
        let (crowd, now) = (Crowd::default(), Clock::system().monotonic());
        let mut alone = crowd.join();
        assert_eq!(alone.pause(now), Duration::ZERO);
        alone.sent(now);
        assert!(alone.pause(now) < Duration::from_millis(1));
        let mut others: Vec<Pace> = (0..9_999).map(|_| crowd.join()).collect();
        let pause = alone.pause(now);
        assert!((225..=375).contains(&pause.as_millis()), "{pause:?}");
        assert_eq!(alone.pause(now + pause), Duration::ZERO);
        others.iter_mut().for_each(|other| other.sent(now));
        let pauses = others.iter().map(|other| other.pause(now));
        assert!(pauses.clone().max() > pauses.min().map(|shortest| shortest * 3 / 2), "they differ");
        others.extend((0..90_000).map(|_| crowd.join()));
        assert!(alone.pause(now) <= LONGEST * 5 / 4);
        drop(others);
        assert!(alone.pause(now) < Duration::from_millis(1));
    }
}
