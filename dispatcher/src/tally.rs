//! Counts for operators: how attempts end, how many builders vanish. Counted after the commit by the process
//! that made it, so over all processes each is counted once, or not at all when one dies in between.

use metrics::counter;
use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::job::JobState;
use slipway_store::jobs::Job;

/// Attempts ended in this way.
pub fn attempts_ended(outcome: AttemptOutcome, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    counter!("slipway_attempts_ended_total", "outcome" => outcome.as_str()).increment(count);
}

/// A builder was lost.
pub fn builder_lost() {
    counter!("slipway_builders_lost_total").increment(1);
}

/// An offer was sent: for the sake of a warm cache, or to whoever of the pool.
pub fn offered(warm: bool) {
    offers(warm, 1);
}

fn offers(warm: bool, count: u64) {
    counter!("slipway_offers_total", "cache" => if warm { "warm" } else { "cold" }).increment(count);
}

/// A job's deadline passed.
pub fn job_expired(job: &Job) {
    if let Some(outcome) = ended_with(job.state, job.epoch) {
        attempts_ended(outcome, 1);
    }
}

/// How the attempt of a job ended whose deadline passed, if it had one open.
fn ended_with(after: JobState, epoch: i64) -> Option<AttemptOutcome> {
    match after {
        JobState::TimedOut => Some(AttemptOutcome::TimedOut),
        // A blocked job is cancelled as well, but nobody ever claimed it.
        JobState::Cancelled => (epoch > 0).then_some(AttemptOutcome::Cancelled),
        JobState::Blocked
        | JobState::Queued
        | JobState::Ready
        | JobState::Dispatched
        | JobState::Running
        | JobState::Cancelling
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Errored
        | JobState::Skipped => None,
    }
}

/// All counters stand at 0 from the start: the first loss is a rise, not a new series.
pub fn begin() {
    for outcome in AttemptOutcome::ALL {
        attempts_ended(*outcome, 0);
    }
    counter!("slipway_builders_lost_total").increment(0);
    offers(true, 0);
    offers(false, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_deadline_that_ended_an_attempt_counts() {
        for state in JobState::ALL {
            let wanted = match state {
                JobState::TimedOut => Some(AttemptOutcome::TimedOut),
                JobState::Cancelled => Some(AttemptOutcome::Cancelled),
                _ => None,
            };
            assert_eq!(ended_with(*state, 1), wanted, "{state}");
        }
        assert_eq!(ended_with(JobState::Cancelled, 0), None, "it waited for its needs");
    }
}
