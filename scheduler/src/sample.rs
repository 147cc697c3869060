//! The past of the pools: once a minute the leader writes down how many slots there are and how many jobs want them.

use slipway_store::fleet_samples::minute_of;
use tracing::warn;

use crate::Deps;

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
        if let Err(error) = sampled.await {
            warn!(%error, "the pools' samples of a minute could not be written");
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
