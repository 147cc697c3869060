//! Slots against demand over the last hours, a picture for each pool.

use slipway_store::fleet_samples::FleetSample;

use crate::pages::filters::href;
use crate::pool_history::{History, USUAL_HOURS};
use crate::texts::Texts;

/// Height of a picture in its own units.
const HEIGHT: i64 = 100;
/// Pools of one page; the API has all of them.
const MOST_POOLS: usize = 20;
/// How far back people can look by one click, hours.
const CHOICES: [(i64, &str); 4] = [(1, "fleet-hour"), (6, "fleet-six-hours"), (24, "fleet-day"), (168, "fleet-week")];

/// The section of the builders' page.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) pools: Vec<PoolPicture>,
    pub(super) choices: Vec<HoursLink>,
    /// There are more pools than these.
    pub(super) more: bool,
    /// The key of how far back it goes.
    pub(super) since: &'static str,
}

#[derive(Debug)]
pub(super) struct HoursLink {
    /// The key of its text.
    pub(super) key: &'static str,
    pub(super) href: String,
    pub(super) here: bool,
}

/// One pool. Widths are in steps of the history.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PoolPicture {
    pub(super) pool: String,
    pub(super) width: i64,
    pub(super) height: i64,
    /// What was wanted, as an area.
    pub(super) wanted: String,
    /// What of it ran, as an area before it.
    pub(super) running: String,
    /// The slots, as a line.
    pub(super) slots: String,
    /// The number at the upper edge.
    pub(super) most: i64,
    /// What it says in words.
    pub(super) words: String,
}

impl Fleet {
    pub(super) fn new(history: &History, hours: Option<i64>, texts: Texts) -> Self {
        let hours = hours.unwrap_or(USUAL_HOURS);
        let pools: Vec<&[FleetSample]> = history.samples.chunk_by(|one, next| one.pool == next.pool).collect();
        let shown = pools.iter().take(MOST_POOLS).filter_map(|samples| PoolPicture::new(history, samples, texts));
        let link = |(of, key): (i64, &'static str)| {
            let said = (of != USUAL_HOURS).then(|| of.to_string());
            HoursLink { key, href: href("/builders", &[("hours", said.as_deref())]), here: of == hours }
        };
        Self {
            pools: shown.collect(),
            choices: CHOICES.map(link).into(),
            more: pools.len() > MOST_POOLS,
            since: CHOICES.iter().find(|(of, _)| *of == hours).map_or("fleet-beginning", |(_, key)| *key),
        }
    }
}

impl PoolPicture {
    /// Of the samples of one pool, the oldest first.
    fn new(history: &History, samples: &[FleetSample], texts: Texts) -> Option<Self> {
        let last = samples.last()?;
        let most_wanted = samples.iter().map(|sample| sample.wanted).max().unwrap_or(0);
        let most_slots = samples.iter().map(|sample| sample.slots).max().unwrap_or(0);
        let short: i64 = samples.iter().map(|sample| sample.short_minutes).sum();
        // A pool with neither jobs nor builders has no samples; the newest ones may not be written yet.
        let is_now = last.minute + 2 * history.step > history.until;
        let (slots, now) = if is_now { (last.slots, last.wanted) } else { (0, 0) };
        let words = texts.t("fleet-words").with("wanted", most_wanted).with("slots", slots).with("now", now);
        let most = most_wanted.max(most_slots).max(1);
        let place = |sample: &FleetSample| (sample.minute - history.since) / history.step;
        // Where nobody looked there is nothing: each stretch between such gaps is drawn for itself.
        let stretches: Vec<&[FleetSample]> =
            samples.chunk_by(|one, next| next.minute - one.minute <= history.step).collect();
        let level = |count: i64| HEIGHT - count * HEIGHT / most;
        let line = |of: fn(&FleetSample) -> i64, area: bool| {
            let mut path = String::new();
            for stretch in &stretches {
                let Some(first) = stretch.first() else { continue };
                let begin = if area { HEIGHT } else { level(of(first)) };
                path.push_str(&format!("M{} {begin}", place(first)));
                for sample in *stretch {
                    path.push_str(&format!("V{}H{}", level(of(sample)), place(sample) + 1));
                }
                if area {
                    path.push_str(&format!("V{HEIGHT}H{}Z", place(first)));
                }
            }
            path
        };
        Some(Self {
            pool: last.pool.to_string(),
            width: (history.until - history.since) / history.step + 1,
            height: HEIGHT,
            wanted: line(|sample| sample.wanted, true),
            running: line(|sample| sample.running, true),
            slots: line(|sample| sample.slots, false),
            most,
            words: words.with("short", short).to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::ENGLISH;

    fn sample(pool: &str, minute: i64, (slots, running, wanted): (i64, i64, i64)) -> FleetSample {
        let short_minutes = i64::from(wanted > slots);
        FleetSample { pool: pool.parse().expect("a pool"), minute, slots, running, wanted, short_minutes }
    }

    #[test]
    fn a_pool_is_drawn_in_steps_with_its_gaps() {
        let pool = "eu/small/linux-amd64";
        let samples = vec![
            sample("eu/large/linux-amd64", 10, (0, 0, 0)),
            sample(pool, 10, (2, 1, 1)),
            sample(pool, 12, (2, 2, 4)),
            sample(pool, 18, (4, 0, 0)),
        ];
        let history = History { since: 10, until: 19, step: 2, samples };
        let fleet = Fleet::new(&history, Some(24), ENGLISH);
        let drawn = &fleet.pools[1];
        assert_eq!((drawn.pool.as_str(), drawn.width, drawn.most), (pool, 5, 4));
        assert_eq!(drawn.wanted, "M0 100V75H1V0H2V100H0ZM4 100V100H5V100H4Z");
        assert_eq!(drawn.slots, "M0 50V50H1V50H2M4 0V0H5");
        assert_eq!(
            drawn.words,
            "At most 4 jobs wanted a slot. Now 0 do, and there are 4 slots. For 1 minute there were too few."
        );
        let later = History { until: 40, samples: Vec::new(), ..history };
        let words = PoolPicture::new(&later, &history.samples[1..], ENGLISH).map(|it| it.words);
        assert_eq!(
            words.as_deref(),
            Some("At most 4 jobs wanted a slot. Now 0 do, and there are 0 slots. For 1 minute there were too few."),
            "who has no samples any more has nothing now"
        );
        assert_eq!(fleet.pools[0].most, 1, "a scale has no height of nothing");
        let choices: Vec<(&str, bool)> = fleet.choices.iter().map(|link| (link.href.as_str(), link.here)).collect();
        assert_eq!(
            choices,
            [
                ("/builders?hours=1", false),
                ("/builders", false),
                ("/builders?hours=24", true),
                ("/builders?hours=168", false)
            ]
        );
        assert!(Fleet::new(&History { samples: Vec::new(), ..history }, None, ENGLISH).pools.is_empty());
    }
}
