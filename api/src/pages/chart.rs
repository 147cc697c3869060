//! The last builds of a project as small bars: how each ended, and how long it took.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::build::BuildState;
use slipway_domain::ids::BuildId;
use slipway_store::builds::Build;

use crate::pages::view::{build_badge, ref_word};
use crate::words::{span, took};

/// Height of the highest bar, pixels.
const HEIGHT: i64 = 26;
/// Width of a bar with the space behind it, pixels.
const STEP: usize = 8;

/// The bars, the oldest build first.
#[derive(Debug, Default)]
pub struct Chart {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: i64,
    /// One for each build.
    pub bars: Vec<Bar>,
    /// For those who do not see it.
    pub words: String,
}

/// One build.
#[derive(Debug)]
pub struct Bar {
    /// The build.
    pub build: BuildId,
    /// How it stands, as a class.
    pub tone: &'static str,
    /// How it stands, how long it took, and of what it is.
    pub label: String,
    /// Pixels from the left.
    pub x: usize,
    /// Pixels from above.
    pub y: i64,
    /// Pixels.
    pub height: i64,
}

impl Chart {
    /// Of builds with the newest first.
    pub fn new(builds: &[Build], now: DateTime<Utc>) -> Self {
        let millis = |build: &Build| {
            let took = build.started_at.map(|started| build.finished_at.unwrap_or(now) - started);
            took.map_or(0, |took| took.num_milliseconds().max(0))
        };
        let longest = builds.iter().map(millis).max().unwrap_or(0).max(1);
        let bars: Vec<Bar> = builds
            .iter()
            .rev()
            .enumerate()
            .map(|(place, build)| {
                let height = (millis(build).saturating_mul(HEIGHT) / longest).clamp(3, HEIGHT);
                let badge = build_badge(build.state);
                let took = took(build.started_at, build.finished_at, now);
                let words = [badge.word, took, ref_word(build.git_ref.as_ref())];
                let label = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
                Bar { build: build.id, tone: badge.tone, label, x: place * STEP, y: HEIGHT - height, height }
            })
            .collect();
        let mut ended: Vec<i64> =
            builds.iter().filter(|build| build.state == BuildState::Succeeded).map(millis).collect();
        ended.sort_unstable();
        let median = ended.get(ended.len() / 2).map(|millis| span(TimeDelta::milliseconds(*millis)));
        let good = bars.iter().filter(|bar| bar.tone == "good").count();
        let median = median.map(|median| format!(", half of them within {median}")).unwrap_or_default();
        let words = format!("{good} of the last {} builds succeeded{median}", bars.len());
        Self { width: bars.len() * STEP, height: HEIGHT, bars, words }
    }
}
