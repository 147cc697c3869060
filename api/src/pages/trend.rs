//! How the last builds of a project went: how long they took, how much of them the cache gave, how large they are.

use chrono::{DateTime, Utc};
use slipway_domain::size::{bytes, change};
use slipway_store::trends::TrendBuild;

use crate::pages::chart::{Chart, Point, label};
use crate::pages::view::{build_badge, ref_word};
use crate::texts::Texts;

/// Whatever has fewer builds shows no trend.
const FEWEST: usize = 2;
/// A whole.
const PERCENT: i64 = 100;

/// One chart with its heading.
#[derive(Debug)]
pub struct TrendChart {
    /// The key of its heading.
    pub title: &'static str,
    /// The bars.
    pub chart: Chart,
}

/// The charts of these builds, the newest first; those of which nothing is known are left out.
pub fn trend(builds: &[TrendBuild], now: DateTime<Utc>, texts: Texts) -> Vec<TrendChart> {
    if builds.len() < FEWEST {
        return Vec::new();
    }
    let duration = Chart::new(builds.iter().map(|it| &it.build), now, texts);
    let charts =
        [("trend-duration", duration), ("trend-cache", cache(builds, texts)), ("trend-size", size(builds, texts))];
    let known = charts.into_iter().filter(|(_, chart)| chart.bars.len() >= FEWEST);
    known.map(|(title, chart)| TrendChart { title, chart }).collect()
}

fn cache(builds: &[TrendBuild], texts: Texts) -> Chart {
    let share = |cached: i64, steps: i64| (steps > 0).then(|| cached * PERCENT / steps);
    let point = |it: &TrendBuild| {
        let said = texts.t("trend-steps-cached").with("cached", it.build.cached).with("count", it.build.steps);
        point(it, said.to_string(), share(it.build.cached, it.build.steps), texts)
    };
    let sum = |of: fn(&TrendBuild) -> i64| builds.iter().map(of).sum::<i64>();
    let all = share(sum(|it| it.build.cached), sum(|it| it.build.steps)).unwrap_or_default();
    let words = texts.t("trend-cache-words").with("percent", all).to_string();
    Chart::of(builds.iter().map(point).collect(), Some(PERCENT), words)
}

fn size(builds: &[TrendBuild], texts: Texts) -> Chart {
    let point = |it: &TrendBuild| point(it, it.image_bytes.map(bytes).unwrap_or_default(), it.image_bytes, texts);
    let mut sizes = builds.iter().filter_map(|it| it.image_bytes);
    let words = match (sizes.next(), sizes.next_back()) {
        (Some(newest), Some(oldest)) if newest == oldest => texts.t("trend-size-same").with("size", bytes(newest)),
        (Some(newest), Some(oldest)) => {
            texts.t("trend-size-words").with("size", bytes(newest)).with("change", change(newest - oldest))
        }
        _ => texts.t("trend-size"),
    };
    Chart::of(builds.iter().map(point).collect(), None, words.to_string())
}

fn point(it: &TrendBuild, said: String, value: Option<i64>, texts: Texts) -> Point {
    let badge = build_badge(it.build.state);
    let label = label([said, texts.t(badge.key).to_string(), ref_word(it.build.git_ref.as_ref(), texts)]);
    // Colours say how builds ended; these bars say something else.
    Point { build: it.build.id, tone: "still", label, value }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use slipway_domain::build::BuildState;
    use slipway_runtime::ids::new_id;
    use slipway_store::trends::TrendRow;

    use super::*;
    use crate::texts::ENGLISH;

    fn build(steps: i64, cached: i64, image_bytes: Option<i64>) -> TrendBuild {
        let started_at = Some(DateTime::UNIX_EPOCH);
        let finished_at = started_at.map(|at| at + TimeDelta::seconds(4));
        let (id, state) = (new_id(), BuildState::Succeeded);
        TrendBuild { build: TrendRow { id, state, git_ref: None, started_at, finished_at, steps, cached }, image_bytes }
    }

    #[test]
    fn a_trend_draws_what_is_known_of_two_builds_at_least() {
        let now = DateTime::UNIX_EPOCH;
        let builds = [build(4, 1, Some(3 << 20)), build(0, 0, None), build(4, 3, Some(2 << 20))];
        let charts = trend(&builds, now, ENGLISH);
        let drawn = |at: usize| {
            let chart = &charts[at].chart;
            (
                charts[at].title,
                chart.bars.iter().map(|bar| (bar.x, bar.height)).collect::<Vec<_>>(),
                chart.words.as_str(),
            )
        };
        assert_eq!(drawn(0).1, [(0, 26), (8, 26), (16, 26)]);
        assert_eq!(drawn(1), ("trend-cache", vec![(0, 19), (16, 6)], "50 % of all steps came from the cache"));
        assert_eq!(drawn(2), ("trend-size", vec![(0, 17), (16, 26)], "3.0 MiB, +1.0 MiB against the oldest one here"));
        assert_eq!(charts[1].chart.bars[0].label, "3 of 4 steps from the cache, Succeeded");
        assert_eq!(charts[0].chart.words, "3 of the last 3 builds succeeded, half of them within 4.0 s");
        let unpushed = [build(0, 0, None), build(0, 0, Some(1))];
        assert_eq!(trend(&unpushed, now, ENGLISH).len(), 1, "one number is no trend");
        assert!(trend(&builds[..1], now, ENGLISH).is_empty());
    }
}
