//! The past of the pools: once a minute the leader writes down how many slots there are and how many jobs want them.

use std::time::Duration;

use slipway_store::fleet_samples::minute_of;
use tokio::time::timeout;
use tracing::warn;

use crate::Deps;

/// The leader admits nothing while it counts.
const WITHIN: Duration = Duration::from_secs(2);

/// Remembers which minute was written, so that other passes of it cost nothing.
#[derive(Debug, Default)]
pub struct Sampler {
    minute: Option<i64>,
}

impl Sampler {
    /// Writes this minute's samples unless that was tried before. Two leaders do no harm: the first one's stay. One that
    /// fails leaves a gap and stops nobody.
    pub async fn sample_once(&mut self, deps: &Deps) {
        if !self.is_due(minute_of(deps.clock.now())) {
            return;
        }
        let sampled = async {
            let now = deps.db.now(&deps.clock).await?;
            deps.db.sample_fleet(now).await
        };
        match timeout(WITHIN, sampled).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, "the pools' samples of a minute could not be written"),
            Err(_) => warn!(within = ?WITHIN, "counting the pools' jobs took too long; a minute has no samples"),
        }
    }

    fn is_due(&mut self, minute: i64) -> bool {
        self.minute.replace(minute) != Some(minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_minute_is_due_once_also_after_the_clock_was_put_back() {
        let mut sampler = Sampler::default();
        let due: Vec<bool> = [7, 7, 8, 8, 5, 5].map(|minute| sampler.is_due(minute)).to_vec();
        assert_eq!(due, [true, false, true, false, true, false]);
    }
}
