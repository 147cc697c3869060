//! Ends of attempts and of what waits: last words, losses, deadlines.

use slipway_domain::attempt::{AttemptOutcome, Phase};
use slipway_domain::build::BuildState;
use slipway_domain::job::JobState;
use slipway_store::attempt_ends::Ended;

use super::super::ops::{AFinish, Refused, Try};
use super::{DAY, Job, Model, jobs_of};

impl Model {
    pub(super) fn report(&mut self, attempt: Try, phase: Phase) -> Result<bool, Refused> {
        if self.attempt(attempt).is_none_or(|attempt| attempt.outcome.is_some()) {
            return Err(Refused::Stale("attempt"));
        }
        let job = self.job(attempt.0);
        let open = job.attempts.last_mut().expect("the open one");
        open.phase = open.phase.max(phase);
        Ok(job.state == JobState::Cancelling)
    }

    pub(super) fn finish(&mut self, finishes: &[AFinish]) -> Result<Vec<Ended>, Refused> {
        let mut ended = Vec::new();
        for finish in finishes {
            let now = self.end(finish.attempt, finish.outcome)?;
            if matches!(now, Ended::Now(_)) {
                for tag in &finish.moved {
                    self.return_leave(finish.attempt, *tag, true);
                }
            }
            ended.push(now);
        }
        Ok(ended)
    }

    pub(super) fn end(&mut self, attempt: Try, told: AttemptOutcome) -> Result<Ended, Refused> {
        let Some(row) = self.attempt(attempt) else { return Err(Refused::NotFound("attempt")) };
        if let Some(before) = row.outcome {
            // Stopping on its own was booked as a fault of ours.
            let same = before == told || told == AttemptOutcome::Cancelled && before == AttemptOutcome::Infra;
            return Ok(if same { Ended::Before } else { Ended::Stale });
        }
        let (builder, now) = (row.builder, self.now);
        let job = self.job(attempt.0);
        let on_its_own = told == AttemptOutcome::Cancelled && job.state == JobState::Running;
        let outcome = if on_its_own { AttemptOutcome::Infra } else { told };
        let row = job.attempts.last_mut().expect("the open one");
        (row.outcome, row.finished_at) = (Some(outcome), Some(now));
        job.after_end(outcome, builder, now);
        Ok(Ended::Now(job.state))
    }

    pub(super) fn expire(&mut self) -> Vec<(usize, JobState)> {
        let now = self.now;
        let overdue = |(number, job): (&usize, &Job)| job.deadline.is_some_and(|at| at < now).then_some(*number);
        let overdue: Vec<usize> = self.jobs.iter().filter_map(overdue).collect();
        for number in &overdue {
            let job = &self.jobs[number];
            let attempt = Try(*number, job.epoch());
            match job.state {
                JobState::Running => drop(self.end(attempt, AttemptOutcome::TimedOut)),
                JobState::Cancelling => drop(self.end(attempt, AttemptOutcome::Cancelled)),
                JobState::Dispatched => self.make_ready(*number),
                JobState::Queued | JobState::Ready => self.job(*number).stop(JobState::Errored, now),
                state => panic!("{state} has no deadline"),
            }
        }
        overdue.into_iter().map(|number| (number, self.jobs[&number].state)).collect()
    }

    /// What a user sees of a build, and since when it is over.
    pub fn build(&self, build: usize) -> Option<(BuildState, Option<i64>)> {
        let jobs: Option<Vec<&Job>> = jobs_of(build).map(|job| self.jobs.get(&job)).collect();
        let jobs = jobs?;
        let any = |state: JobState| jobs.iter().any(|job| job.state == state);
        let touched = |job: &&Job| job.state.is_terminal() || job.state == JobState::Running;
        let state = if jobs.iter().any(|job| !job.state.is_terminal()) {
            let running = jobs.iter().any(touched) || any(JobState::Cancelling);
            if running { BuildState::Running } else { BuildState::Pending }
        } else if any(JobState::Errored) {
            BuildState::Errored
        } else if any(JobState::Failed) || any(JobState::TimedOut) {
            BuildState::Failed
        } else if any(JobState::Cancelled) {
            BuildState::Cancelled
        } else {
            BuildState::Succeeded
        };
        let over = state.is_terminal().then(|| jobs.iter().filter_map(|job| job.finished_at).max());
        Some((state, over.flatten()))
    }
}

impl Job {
    fn after_end(&mut self, outcome: AttemptOutcome, builder: usize, now: i64) {
        if self.state == JobState::Cancelling {
            return self.stop(JobState::Cancelled, now);
        }
        match outcome {
            AttemptOutcome::Succeeded => self.stop(JobState::Succeeded, now),
            AttemptOutcome::Failed => self.stop(JobState::Failed, now),
            AttemptOutcome::TimedOut => self.stop(JobState::TimedOut, now),
            AttemptOutcome::HandedBack => self.queue_again(now),
            AttemptOutcome::Infra | AttemptOutcome::Lost if self.retries == 3 => self.stop(JobState::Errored, now),
            AttemptOutcome::Infra | AttemptOutcome::Lost => {
                let at_once = outcome == AttemptOutcome::Lost && self.retries == 0;
                let pause = if at_once { 0 } else { [5, 10, 20][self.retries as usize] };
                self.queue_again(now);
                self.not_before = now + pause;
                self.avoid = Some((builder, self.not_before + 10));
                self.retries += 1;
            }
            AttemptOutcome::Cancelled => panic!("nobody had asked for it"),
        }
    }

    fn queue_again(&mut self, now: i64) {
        self.change(JobState::Queued);
        (self.queued_at, self.not_before) = (now, now);
        self.deadline = Some(now + DAY);
    }
}
