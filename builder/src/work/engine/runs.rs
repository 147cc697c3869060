//! When one step ran: an engine may look a vertex up in its cache, turn to others, and run it later.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// Most runs of a step that are told apart; what comes after them counts as part of the last.
const MAX_RUNS: usize = 64;

/// The runs of one step: the end of each by its begin, `None` while it goes on.
#[derive(Debug, Default)]
pub(super) struct Runs(BTreeMap<DateTime<Utc>, Option<DateTime<Utc>>>);

impl Runs {
    /// Takes in how one stands; engines tell the same one many times.
    pub(super) fn take(&mut self, began: DateTime<Utc>, ended: Option<DateTime<Utc>>) {
        if self.0.len() < MAX_RUNS || self.0.contains_key(&began) {
            let end = self.0.entry(began).or_default();
            *end = ended.or(*end);
        }
    }

    /// Milliseconds between the first begin and the last end in which none went on; `None` if there are none.
    pub(super) fn paused_ms(&self) -> Option<i64> {
        let (mut paused, mut until): (_, Option<DateTime<Utc>>) = (TimeDelta::zero(), None);
        for (began, ended) in &self.0 {
            if let Some(until) = until {
                paused += (*began - until).max(TimeDelta::zero());
            }
            // Whatever begins after one that goes on begins within it.
            let Some(ended) = ended else { break };
            until = until.max(Some(*ended.max(began)));
        }
        Some(paused.num_milliseconds()).filter(|paused| *paused > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(runs: &[(i64, Option<i64>)]) -> Option<i64> {
        let at = |second| DateTime::from_timestamp(second, 0).expect("in range");
        let mut known = Runs::default();
        runs.iter().for_each(|(began, ended)| known.take(at(*began), ended.map(at)));
        known.paused_ms()
    }

    #[test]
    fn pauses_are_where_nothing_ran() {
        for (runs, wanted) in [
            (vec![], None),
            (vec![(1, Some(3))], None),
            (vec![(1, None), (1, Some(3)), (9, None), (9, Some(10))], Some(6000)),
            (vec![(1, Some(3)), (9, None)], Some(6000)),
            (vec![(9, Some(10)), (1, Some(3)), (12, Some(12))], Some(8000)),
            (vec![(1, Some(8)), (2, Some(3)), (9, Some(10))], Some(1000)),
            (vec![(1, None), (5, Some(6)), (9, Some(10))], None),
            (vec![(1, Some(3)), (1, None), (4, Some(5))], Some(1000)),
            (vec![(5, Some(2)), (6, Some(7))], Some(1000)),
        ] {
            assert_eq!(paused(&runs), wanted, "{runs:?}");
        }
    }

    #[test]
    fn so_many_runs_are_told_apart() {
        let many: Vec<_> = (0..1000).map(|at| (2 * at, Some(2 * at + 1))).collect();
        assert_eq!(paused(&many), Some((MAX_RUNS as i64 - 1) * 1000));
    }
}
