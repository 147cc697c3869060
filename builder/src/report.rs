//! How an attempt goes, told to the dispatcher at most four times a second: the newest state of each step
//! that changed. Only the last state of a step matters, and that one is always sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::agent::{Report, StepReport};
use slipway_domain::attempt::{Phase, StepState};
use slipway_runtime::backoff::Backoff;
use slipway_runtime::clock::Clock;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::client::{AttemptApi, CallError};
use crate::halt::{Halt, Reins};

/// Reports begin at least this far apart.
const GAP: Duration = Duration::from_millis(250);

/// What is known about the attempt, and what of it is not yet told.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    phase: Option<Phase>,
    steps: BTreeMap<String, Known>,
    untold_phase: bool,
    untold: BTreeSet<String>,
    telling: bool,
    closed: bool,
}

#[derive(Debug)]
struct Known {
    number: i64,
    /// `None` while only its log was seen.
    report: Option<StepReport>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Progress {
    /// The attempt does this now.
    pub fn phase(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = Some(phase);
        state.untold_phase = true;
        drop(state);
        self.changed.send_replace(());
    }

    /// The number of a step, by first appearance.
    pub fn number(&self, digest: &str) -> i64 {
        let mut state = self.state();
        state.number(digest)
    }

    /// Takes the newest state of a step; its number is given here. Returns the number.
    pub fn step(&self, report: StepReport) -> i64 {
        let mut state = self.state();
        let number = state.number(&report.digest);
        let report = StepReport { number, ..report };
        let digest = report.digest.clone();
        if let Some(known) = state.steps.get_mut(&digest)
            && known.report.as_ref() != Some(&report)
        {
            known.report = Some(report);
            state.untold.insert(digest);
            drop(state);
            self.changed.send_replace(());
        }
        number
    }

    /// The step that a failure is about: the first one of its name that failed, else the one that was at work last.
    pub fn step_of(&self, name: Option<&str>) -> Option<StepReport> {
        let state = self.state();
        let mut steps: Vec<&StepReport> = state.steps.values().filter_map(|known| known.report.as_ref()).collect();
        steps.sort_by_key(|step| step.number);
        let found = match name {
            Some(name) => {
                let named = steps.iter().filter(|step| step.name == name);
                named.min_by_key(|step| step.state != StepState::Failed)
            }
            None => {
                let open = steps.iter().filter(|step| matches!(step.state, StepState::Running | StepState::Cancelled));
                open.filter(|step| step.started_at.is_some()).max_by_key(|step| step.started_at)
            }
        };
        found.map(|step| (*step).clone())
    }

    /// The attempt is over: steps that still seem to run were stopped with it. Nothing more comes.
    pub fn close(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        let mut stopped = Vec::new();
        for (digest, known) in &mut state.steps {
            if let Some(report) = &mut known.report
                && report.state == StepState::Running
            {
                report.state = StepState::Cancelled;
                report.finished_at = Some(now);
                stopped.push(digest.clone());
            }
        }
        state.untold.extend(stopped);
        state.closed = true;
        drop(state);
        self.changed.send_replace(());
    }

    /// Returns once everything is told, after [`Progress::close`].
    pub async fn told(&self) {
        let told = |state: &State| state.closed && !state.telling && !state.untold_phase && state.untold.is_empty();
        let _ = self.changed.subscribe().wait_for(|()| told(&self.state())).await;
    }

    async fn closed(&self) {
        let _ = self.changed.subscribe().wait_for(|()| self.state().closed).await;
    }

    fn take(&self) -> Option<Report> {
        let mut state = self.state();
        let phase = if std::mem::take(&mut state.untold_phase) { state.phase } else { None };
        let untold = std::mem::take(&mut state.untold);
        let mut steps: Vec<StepReport> =
            untold.iter().filter_map(|digest| state.steps.get(digest)?.report.clone()).collect();
        steps.sort_by_key(|step| step.number);
        state.telling = phase.is_some() || !steps.is_empty();
        state.telling.then_some(Report { phase, steps })
    }

    fn settle(&self, lost: Option<&Report>) {
        let mut state = self.state();
        state.telling = false;
        if let Some(report) = lost {
            state.untold_phase |= report.phase.is_some();
            state.untold.extend(report.steps.iter().map(|step| step.digest.clone()));
        }
        drop(state);
        self.changed.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self, digest: &str) -> i64 {
        let next = i64::try_from(self.steps.len()).unwrap_or(i64::MAX).saturating_add(1);
        self.steps.entry(digest.to_owned()).or_insert(Known { number: next, report: None }).number
    }
}

/// Tells the dispatcher until the owner ends this task. A refusal as stale stops the attempt; an answer
/// may ask to cancel it.
pub async fn tell(progress: Arc<Progress>, api: AttemptApi, reins: Reins, clock: Clock) {
    let mut changes = progress.changed.subscribe();
    changes.mark_changed();
    let mut backoff = Backoff::for_calls();
    while changes.changed().await.is_ok() {
        let Some(report) = progress.take() else { continue };
        match api.report(&report).await {
            Ok(ack) => {
                progress.settle(None);
                backoff.reset();
                if ack.cancel {
                    reins.pull(Halt::Cancelled);
                }
                tokio::select! {
                    () = clock.sleep(GAP) => {}
                    // The finish waits for the last report.
                    () = progress.closed() => {}
                }
            }
            Err(error) if error.is_stale() => {
                info!(%error, "attempt is not ours any more");
                progress.settle(None);
                return reins.pull(Halt::Stopped);
            }
            Err(error @ CallError::Refused { .. }) => {
                // Steps are for people; the build does not hang on them.
                warn!(%error, "report refused");
                progress.settle(None);
            }
            Err(CallError::Unavailable(_)) => {
                progress.settle(Some(&report));
                clock.sleep(backoff.pause()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(digest: &str, state: StepState) -> StepReport {
        StepReport {
            digest: digest.to_owned(),
            number: 99,
            name: digest.to_owned(),
            state,
            cached: false,
            started_at: None,
            finished_at: None,
            exit_code: None,
            moved_bytes: None,
            total_bytes: None,
            inputs: Vec::new(),
            paused_ms: None,
        }
    }

    #[test]
    fn numbers_follow_first_appearance_and_only_news_is_told() {
        let progress = Progress::default();
        assert_eq!(progress.number("b"), 1, "its log came first");
        assert_eq!(progress.step(step("a", StepState::Running)), 2);
        assert_eq!(progress.step(step("b", StepState::Running)), 1);
        progress.phase(Phase::Building);
        let report = progress.take().expect("news");
        assert_eq!(report.phase, Some(Phase::Building));
        assert_eq!(
            report.steps.iter().map(|step| (step.digest.as_str(), step.number)).collect::<Vec<_>>(),
            [("b", 1), ("a", 2)]
        );
        progress.settle(None);
        assert_eq!(progress.step(step("a", StepState::Running)), 2);
        assert!(progress.take().is_none(), "nothing new");
    }

    #[test]
    fn a_lost_report_is_told_again_with_the_newest_state() {
        let progress = Progress::default();
        progress.step(step("a", StepState::Running));
        let lost = progress.take().expect("news");
        progress.step(step("a", StepState::Succeeded));
        progress.step(step("c", StepState::Running));
        progress.settle(Some(&lost));
        let again = progress.take().expect("news");
        assert_eq!(
            again.steps.iter().map(|step| step.state).collect::<Vec<_>>(),
            [StepState::Succeeded, StepState::Running]
        );
    }

    #[tokio::test]
    async fn the_end_stops_what_runs_and_waits_for_the_last_report() {
        let progress = Progress::default();
        progress.step(step("a", StepState::Running));
        progress.take();
        progress.settle(None);
        progress.close(Clock::system().now());
        let mut told = std::pin::pin!(progress.told());
        assert!(futures_util::poll!(&mut told).is_pending());
        let last = progress.take().expect("news");
        assert_eq!(last.steps.first().map(|step| step.state), Some(StepState::Cancelled));
        assert!(futures_util::poll!(&mut told).is_pending(), "taken is not told");
        progress.settle(None);
        told.await;
    }
}
