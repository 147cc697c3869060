//! When the steps of a job ran, drawn as one picture: a row for each step, those that ran at the same time below each other,
//! and the chain of steps that nothing else would have made shorter.

mod path;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_store::attempts::Step;

use crate::pages::timeline::path::critical;
use crate::pages::view::step_badge;
use crate::texts::Texts;
use crate::words::span;

/// Most rows of a picture.
const MAX_ROWS: usize = 200;
/// Height of a row, pixels.
const ROW_PX: usize = 22;
/// Where bars begin and end, percent of the width; names are left of them, times right.
const BARS: (f64, f64) = (38.0, 92.0);
/// The narrowest bar, percent.
const LEAST: f64 = 0.3;

/// The picture. Widths and places are percent of it, heights pixels.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Its height.
    pub height: usize,
    /// Its rows, from above.
    pub rows: Vec<Row>,
    /// What it says in words.
    pub words: String,
}

/// One step.
#[derive(Debug)]
pub struct Row {
    /// The step's number.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// How it stands, as a class.
    pub tone: &'static str,
    /// The same for those who do not see it.
    pub label: String,
    /// Top of the row.
    pub top: usize,
    /// Top of the bar.
    pub bar: usize,
    /// Base of the text.
    pub text: usize,
    /// Where the bar begins.
    pub from: String,
    /// How wide it is.
    pub width: String,
    /// Where the time stands.
    pub took_at: String,
    /// How long it took; empty where it was cached.
    pub took: String,
    /// Nothing else could have made the job shorter.
    pub critical: bool,
}

impl Timeline {
    /// Of the steps that began; `None` where there are fewer than two.
    pub fn new(steps: &[Step], now: DateTime<Utc>, texts: Texts) -> Option<Self> {
        let mut begun: Vec<Lane<'_>> = steps.iter().filter_map(|step| Lane::new(step, now)).collect();
        begun.sort_by_key(|lane| (lane.from, lane.step.number));
        let (first, last) = (begun.first()?.from, begun.iter().map(|lane| lane.to).max()?);
        if begun.len() < 2 {
            return None;
        }
        let critical = critical(&begun, steps);
        let words = words(&begun, last - first, texts);
        let whole = (last - first).num_milliseconds().max(1) as f64;
        let percent = |at: DateTime<Utc>| (at - first).num_milliseconds() as f64 / whole * (BARS.1 - BARS.0) + BARS.0;
        let rows = begun.iter().take(MAX_ROWS).enumerate().map(|(place, lane)| {
            let (from, to) = (percent(lane.from), percent(lane.to));
            let width = (to - from).max(LEAST);
            let badge = step_badge(lane.step);
            let took = if lane.step.cached { String::new() } else { span(lane.ran, texts) };
            Row {
                number: lane.step.number,
                label: format!("{}: {} {took}", lane.step.name, texts.t(badge.key)),
                name: lane.step.name.clone(),
                tone: badge.tone,
                top: place * ROW_PX,
                bar: place * ROW_PX + 4,
                text: place * ROW_PX + 16,
                from: format!("{from:.2}%"),
                width: format!("{width:.2}%"),
                took_at: format!("{:.2}%", from + width + 0.5),
                took,
                critical: critical.contains(&place),
            }
        });
        let rows: Vec<Row> = rows.collect();
        Some(Self { height: rows.len() * ROW_PX, rows, words })
    }
}

/// A step that began.
struct Lane<'a> {
    step: &'a Step,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// Of that time, how long it ran.
    ran: TimeDelta,
}

impl<'a> Lane<'a> {
    fn new(step: &'a Step, now: DateTime<Utc>) -> Option<Self> {
        let from = step.started_at?;
        Some(Self { step, from, to: step.until(now).max(from), ran: step.ran(now)? })
    }
}

fn words(lanes: &[Lane<'_>], real: TimeDelta, texts: Texts) -> String {
    let together = lanes.iter().fold(TimeDelta::zero(), |sum, lane| sum + lane.ran);
    let cached = lanes.iter().filter(|lane| lane.step.cached).count();
    let mut words = span(real, texts);
    if together > real + real / 10 {
        let at_once = together.num_milliseconds() as f64 / real.num_milliseconds().max(1) as f64;
        let told = texts.t("timeline-together").with("took", words).with("together", span(together, texts));
        words = told.with("rate", format!("{at_once:.1}")).to_string();
    }
    if cached > 0 {
        let told = texts.t("timeline-cached").with("words", words).with("cached", cached);
        words = told.with("count", lanes.len()).to_string();
    }
    words
}

#[cfg(test)]
mod tests {
    use slipway_domain::attempt::StepState;

    use super::*;
    use crate::texts::ENGLISH;

    fn step(number: i64, from: i64, to: i64, cached: bool) -> Step {
        let at = |millis| Some(DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis));
        Step {
            digest: number.to_string(),
            number,
            name: format!("step {number}"),
            state: StepState::Succeeded,
            cached,
            started_at: at(from),
            finished_at: at(to),
            exit_code: None,
            moved_bytes: None,
            total_bytes: None,
            inputs: Vec::new().into(),
            paused_ms: None,
        }
    }

    #[test]
    fn rows_stand_where_their_times_are() {
        let steps = [
            step(1, 0, 1000, false),
            step(2, 1010, 1010, true),
            step(3, 1000, 9000, false),
            step(4, 1020, 5000, false),
            step(5, 9010, 10_000, false),
        ];
        let timeline = Timeline::new(&steps, DateTime::UNIX_EPOCH, ENGLISH).expect("steps");
        let rows: Vec<(i64, &str, &str, bool)> =
            timeline.rows.iter().map(|row| (row.number, row.from.as_str(), row.width.as_str(), row.critical)).collect();
        assert_eq!(
            rows,
            [
                (1, "38.00%", "5.40%", true),
                (3, "43.40%", "43.20%", true),
                (2, "43.45%", "0.30%", false),
                (4, "43.51%", "21.49%", false),
                (5, "86.65%", "5.35%", true),
            ]
        );
        assert_eq!(timeline.words, "10 s; all steps together 13 s, 1.4 at a time; 1 of 5 steps were cached");
        assert_eq!(timeline.height, 5 * ROW_PX);
    }

    #[test]
    fn what_has_not_ended_goes_on_until_now_and_one_step_needs_no_picture() {
        let running = Step { finished_at: None, state: StepState::Running, ..step(2, 1000, 0, false) };
        let waiting = Step { started_at: None, finished_at: None, state: StepState::Pending, ..step(3, 0, 0, false) };
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(4);
        let timeline =
            Timeline::new(&[step(1, 0, 1000, false), running.clone(), waiting], now, ENGLISH).expect("steps");
        assert_eq!(timeline.rows.iter().map(|row| row.took.as_str()).collect::<Vec<_>>(), ["1.0 s", "3.0 s"]);
        assert!(Timeline::new(&[running], now, ENGLISH).is_none() && Timeline::new(&[], now, ENGLISH).is_none());
    }
    #[test]
    fn pauses_between_runs_are_not_counted() {
        let twice = Step { paused_ms: Some(7000), ..step(2, 1000, 9000, false) };
        let timeline = Timeline::new(&[step(1, 0, 1000, false), twice.clone()], DateTime::UNIX_EPOCH, ENGLISH);
        let timeline = timeline.expect("steps");
        assert_eq!((timeline.rows[1].took.as_str(), timeline.rows[1].width.as_str()), ("1.0 s", "48.00%"));
        assert_eq!(timeline.words, "9.0 s", "all steps together took less");
        let again = Step { state: StepState::Running, ..twice.clone() };
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(10);
        let timeline = Timeline::new(&[step(1, 0, 1000, false), again], now, ENGLISH).expect("steps");
        assert_eq!(timeline.rows[1].took, "2.0 s", "it goes on since its last begin");
        let absurd = [i64::MIN, i64::MAX].map(|paused_ms| Step { paused_ms: Some(paused_ms), ..twice.clone() });
        let timeline = Timeline::new(&absurd, now, ENGLISH).expect("steps");
        assert_eq!(timeline.rows.iter().map(|row| row.took.as_str()).collect::<Vec<_>>(), ["8.0 s", "0.0 s"]);
    }
}
