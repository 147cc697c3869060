//! The log in a build's page for who has no scripts: a frame with some of its lines, and links to the others.

use serde::Deserialize;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_runtime::problem::ApiError;
use slipway_store::StoreError;
use slipway_store::builds::{BuildView, JobView};
use slipway_store::logs::LogState;

use crate::builds::json::newest;
use crate::state::ApiState;
use crate::store_problem::OrProblem;
use crate::texts::Texts;

/// Lines that the frame shows.
const LINES: i64 = 500;

/// What a build's page shows of its logs: by default the end of the newest attempt's.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub struct Shown {
    /// The attempt, by its epoch.
    pub attempt: Option<i64>,
    /// The first line in the frame, from 1.
    pub from: Option<i64>,
    /// Only what this step wrote; lines are counted among its own.
    pub step: Option<u32>,
}

/// The frame of one job.
pub struct LogFrame {
    job: JobId,
    shown: Shown,
    /// Lines of the log, as far as they are stored.
    lines: i64,
    is_open: bool,
}

/// Gives the jobs the steps of the attempt that is asked for: the page is of that one.
pub async fn turn_to(state: &ApiState, view: &mut BuildView, epoch: i64) -> Result<(), ApiError> {
    let mut has_one = false;
    for job in view.jobs.iter_mut().filter(|job| job.attempts.iter().any(|attempt| attempt.epoch == epoch)) {
        has_one = true;
        job.steps = state.db.steps(AttemptRef { job: job.job.id, epoch }).await.or_problem()?;
    }
    if has_one { Ok(()) } else { Err(ApiError::NotFound(format!("This build has no attempt {epoch}."))) }
}

impl LogFrame {
    /// Of the attempt that is asked for, or of the newest if the job has no such one.
    pub async fn of(state: &ApiState, view: &JobView, shown: Shown) -> Result<Self, ApiError> {
        let job = view.job.id;
        let attempt = shown.attempt.filter(|epoch| view.attempts.iter().any(|attempt| attempt.epoch == *epoch));
        let shown = Shown { attempt, from: shown.from.map(|from| from.max(1)), ..shown };
        let epoch = attempt.or(newest(view).map(|attempt| attempt.epoch)).unwrap_or_default();
        let (lines, is_open) = match state.db.attempt_log(AttemptRef { job, epoch }).await {
            Ok(log) => (log.lines, log.state == LogState::Open),
            Err(StoreError::NotFound(_)) => (0, true),
            Err(error) => return Err(error).or_problem(),
        };
        Ok(Self { job, shown, lines, is_open })
    }

    /// The attempt, if one was asked for.
    pub fn attempt(&self) -> Option<i64> {
        self.shown.attempt
    }

    /// Where the log is; `what` follows its address.
    pub fn url(&self, what: &str) -> String {
        let mark = if what.contains('?') { '&' } else { '?' };
        let epoch = self.shown.attempt.map(|epoch| format!("{mark}epoch={epoch}")).unwrap_or_default();
        format!("/api/v1/jobs/{}/log{what}{epoch}", self.job)
    }

    /// Where the lines are that the frame shows.
    pub fn src(&self) -> String {
        let Some((from, to)) = self.range() else { return self.url(&format!("?tail={LINES}")) };
        let step = self.shown.step.map(|step| format!("&step={step}")).unwrap_or_default();
        self.url(&format!("?from={from}&to={to}{step}"))
    }

    /// What the frame shows, before and after the link to all.
    pub fn words(&self, texts: &Texts) -> (String, String) {
        let text = match (self.range(), self.shown.step) {
            (None, _) => texts.t("log-no-scripts"),
            (Some((from, to)), None) => texts.t("log-no-scripts-lines").with("from", from).with("to", to),
            (Some((from, to)), Some(step)) => {
                let text = texts.t("log-no-scripts-step").with("step", step.to_string());
                text.with("from", from).with("to", to)
            }
        };
        text.around("log")
    }

    /// The page with the first lines.
    pub fn first(&self) -> String {
        self.page(Shown { from: Some(1), step: None, ..self.shown })
    }

    /// The page with the last lines, unless it is this one.
    pub fn last(&self) -> Option<String> {
        self.range().map(|_| self.page(Shown { from: None, step: None, ..self.shown }))
    }

    /// The page with the lines before these, if there are any.
    pub fn earlier(&self) -> Option<String> {
        let first = self.range().map_or(self.lines - LINES + 1, |(from, _)| from);
        (first > 1).then(|| self.page(Shown { from: Some((first - LINES).max(1)), ..self.shown }))
    }

    /// The page with the lines after these, if there may be any. How many a step wrote is known to the log only.
    pub fn later(&self) -> Option<String> {
        let (_, to) = self.range()?;
        let may_be = self.shown.step.is_some() || self.is_open || to < self.lines;
        may_be.then(|| self.page(Shown { from: Some(to.saturating_add(1)), ..self.shown }))
    }

    /// The page with the beginning of what a step wrote.
    pub fn of_step(&self, step: &i64) -> String {
        self.page(Shown { from: None, step: u32::try_from(*step).ok(), ..self.shown })
    }

    /// First and last line; `None` is the end of the log.
    fn range(&self) -> Option<(i64, i64)> {
        let from = self.shown.from.or(self.shown.step.map(|_| 1))?;
        Some((from, from.saturating_add(LINES - 1)))
    }

    fn page(&self, shown: Shown) -> String {
        let Shown { attempt, from, step } = shown;
        let pairs = [("attempt", attempt), ("step", step.map(i64::from)), ("from", from)];
        let pairs: Vec<String> =
            pairs.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))).collect();
        format!("?{}#log-title-{}", pairs.join("&"), self.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::ENGLISH;

    fn frame(shown: Shown, lines: i64) -> LogFrame {
        LogFrame { job: JobId::from(uuid::Uuid::nil()), shown, lines, is_open: false }
    }

    /// What stands between `?` and `#`.
    fn query(page: Option<String>) -> Option<String> {
        page.map(|page| page.trim_start_matches('?').split('#').next().unwrap_or_default().to_owned())
    }

    #[test]
    fn pages_lead_through_the_whole_log_from_its_end_and_from_its_beginning() {
        let end = frame(Shown::default(), 1200);
        assert!(end.src().ends_with("/log?tail=500"), "{}", end.src());
        assert_eq!((query(end.earlier()), end.later(), end.last()), (Some("from=201".to_owned()), None, None));
        let middle = frame(Shown { from: Some(201), ..Shown::default() }, 1200);
        assert!(middle.src().ends_with("/log?from=201&to=700"), "{}", middle.src());
        assert_eq!(query(middle.earlier()).as_deref(), Some("from=1"));
        assert_eq!(query(middle.later()).as_deref(), Some("from=701"));
        assert_eq!(query(middle.last()).as_deref(), Some(""));
        let last = frame(Shown { from: Some(701), ..Shown::default() }, 1200);
        assert_eq!((query(last.earlier()).as_deref(), last.later()), (Some("from=201"), None));
        let first = frame(Shown { from: Some(1), ..Shown::default() }, 1200);
        assert_eq!(first.earlier(), None);
        assert_eq!(frame(Shown::default(), 500).earlier(), None, "all of it is shown");
        let live = LogFrame { is_open: true, ..last };
        assert_eq!(query(live.later()).as_deref(), Some("from=1201"), "there will be more");
        let beyond = frame(Shown { from: Some(i64::MAX), ..Shown::default() }, 1200);
        assert!(beyond.later().is_none() && beyond.earlier().is_some());
    }

    #[test]
    fn an_attempt_and_a_step_go_along() {
        let frame = frame(Shown { attempt: Some(2), from: None, step: Some(4) }, 1200);
        assert!(frame.src().ends_with("/log?from=1&to=500&step=4&epoch=2"), "{}", frame.src());
        assert!(frame.url("").ends_with("/log?epoch=2") && frame.url(".zst").ends_with("/log.zst?epoch=2"));
        assert_eq!(query(frame.later()).as_deref(), Some("attempt=2&step=4&from=501"));
        assert_eq!(query(Some(frame.first())).as_deref(), Some("attempt=2&from=1"));
        assert_eq!(query(Some(frame.of_step(&7))).as_deref(), Some("attempt=2&step=7"));
        let (before, after) = frame.words(&ENGLISH);
        assert!(before.contains("lines 1 to 500 of step 4"), "{before}{after}");
    }
}
