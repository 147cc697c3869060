//! The last builds of a project as small bars: how each ended, and how long it took, or another number of it.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::BuildId;
use slipway_store::builds::Build;
use slipway_store::trends::TrendRow;

use crate::pages::view::{build_badge, ref_word};
use crate::texts::Texts;
use crate::words::{span, took};

/// Height of the highest bar, pixels.
const HEIGHT: i64 = 26;
/// Height of the lowest bar, pixels.
const LOWEST: i64 = 3;
/// Width of a bar with the space behind it, pixels.
const STEP: usize = 8;

/// The bars, the oldest build first.
#[derive(Debug, Default)]
pub struct Chart {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: i64,
    /// One for each build that has this number.
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

/// A build that is drawn.
#[derive(Debug)]
pub struct Point {
    /// The build.
    pub build: BuildId,
    /// How it stands, as a class.
    pub tone: &'static str,
    /// What the bar says.
    pub label: String,
    /// How high it is; none leaves its place empty.
    pub value: Option<i64>,
}

/// When a build ran, and how it ended.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    build: BuildId,
    state: BuildState,
    git_ref: Option<&'a GitRef>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a Build> for Run<'a> {
    fn from(build: &'a Build) -> Self {
        let Build { id, state, git_ref, started_at, finished_at, .. } = build;
        let (started_at, finished_at) = (*started_at, *finished_at);
        Self { build: *id, state: *state, git_ref: git_ref.as_ref(), started_at, finished_at }
    }
}

impl<'a> From<&'a TrendRow> for Run<'a> {
    fn from(row: &'a TrendRow) -> Self {
        let TrendRow { id, state, git_ref, started_at, finished_at, .. } = row;
        let (started_at, finished_at) = (*started_at, *finished_at);
        Self { build: *id, state: *state, git_ref: git_ref.as_ref(), started_at, finished_at }
    }
}

impl Run<'_> {
    fn millis(&self, now: DateTime<Utc>) -> i64 {
        let took = self.started_at.map(|started| self.finished_at.unwrap_or(now) - started);
        took.map_or(0, |took| took.num_milliseconds().max(0))
    }
}

impl Chart {
    /// How long builds took, the newest first.
    pub fn new<'a>(builds: impl IntoIterator<Item: Into<Run<'a>>>, now: DateTime<Utc>, texts: Texts) -> Self {
        let runs: Vec<Run<'a>> = builds.into_iter().map(Into::into).collect();
        let point = |run: &Run<'_>| {
            let badge = build_badge(run.state);
            let took = took(run.started_at, run.finished_at, (now, texts));
            let label = label([texts.t(badge.key).to_string(), took, ref_word(run.git_ref, texts)]);
            Point { build: run.build, tone: badge.tone, label, value: Some(run.millis(now)) }
        };
        let mut ended: Vec<i64> =
            runs.iter().filter(|run| run.state == BuildState::Succeeded).map(|run| run.millis(now)).collect();
        ended.sort_unstable();
        let words = match ended.get(ended.len() / 2) {
            Some(median) => {
                texts.t("chart-succeeded-within").with("took", span(TimeDelta::milliseconds(*median), texts))
            }
            None => texts.t("chart-succeeded"),
        };
        let words = words.with("good", ended.len()).with("count", runs.len()).to_string();
        Self::of(runs.iter().map(point).collect(), None, words)
    }

    /// Any number of builds, the newest first; `most` is a full bar, or else the highest one is.
    pub fn of(points: Vec<Point>, most: Option<i64>, words: String) -> Self {
        let highest = points.iter().filter_map(|point| point.value).max().unwrap_or(0);
        let most = most.unwrap_or(highest).max(1);
        let width = points.len() * STEP;
        let bars = points.into_iter().rev().enumerate().filter_map(|(place, point)| {
            let height = (point.value?.saturating_mul(HEIGHT) / most).clamp(LOWEST, HEIGHT);
            let Point { build, tone, label, value: _ } = point;
            Some(Bar { build, tone, label, x: place * STEP, y: HEIGHT - height, height })
        });
        Self { width, height: HEIGHT, bars: bars.collect(), words }
    }
}

/// What a bar says, without what is empty.
pub fn label(words: [String; 3]) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}
