//! Ends of attempts: the builder's last word, a loss, a deadline. One compare-and-set closes the attempt; its job
//! follows in the same transaction. Many at once.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::agent::{Finish, PushedImage};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::ids::{BuilderId, JobId};
use slipway_domain::image::{BuiltImage, bounded};
use slipway_domain::job::{JobEvent, JobState};
use slipway_domain::remarks::Remarks;
use slipway_domain::timing;

use crate::Db;
use crate::batches;
use crate::batches::attempts::End;
use crate::batches::jobs::Change;
use crate::batches::logs::EndRow;
use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::jobs::{Job, delta, save_all};
use crate::tags::return_moved;

/// How an attempt ends.
#[derive(Debug, Clone)]
pub(crate) struct AttemptEnd {
    /// The outcome.
    pub(crate) outcome: AttemptOutcome,
    /// Why it did not succeed.
    pub(crate) failure: Option<Failure>,
    /// What it pushed.
    pub(crate) images: Vec<PushedImage>,
    /// What it built.
    pub(crate) built: Vec<BuiltImage>,
    /// What people should know beside that.
    pub(crate) remarks: Remarks,
}

/// What became of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ended now; the job is in this state.
    Now(JobState),
    /// It had ended in this very way: a repeated call.
    Before,
    /// It had ended in another way; the caller's word came too late.
    Stale,
}

impl Db {
    /// The builder's last word, in one compare-and-set; repeating it is `Before`.
    pub async fn finish_attempt(&self, attempt: AttemptRef, finish: &Finish, now: DateTime<Utc>) -> Result<Ended> {
        let ended = self.finish_attempts(&[(attempt, finish)], now).await?;
        ended.into_iter().next().ok_or(StoreError::NotFound("attempt"))
    }

    /// The same for many attempts, in their order. All or nothing is booked; after an error each may be tried alone.
    pub async fn finish_attempts(&self, finishes: &[(AttemptRef, &Finish)], now: DateTime<Utc>) -> Result<Vec<Ended>> {
        let mut ended = vec![Ended::Stale; finishes.len()];
        let mut waiting: Vec<usize> = (0..finishes.len()).collect();
        while !waiting.is_empty() {
            let mut attempts = HashSet::new();
            let (first, again): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|place| attempts.insert(finishes[*place].0));
            let distinct: BTreeMap<AttemptRef, &Finish> = first.iter().map(|place| finishes[*place]).collect();
            let decided = self.finish_distinct(&distinct, now).await?;
            for place in first {
                ended[place] = decided.get(&finishes[place].0).cloned().unwrap_or(Ended::Stale);
            }
            waiting = again;
        }
        Ok(ended)
    }

    async fn finish_distinct(
        &self,
        finishes: &BTreeMap<AttemptRef, &Finish>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<AttemptRef, Ended>> {
        let mut tx = self.begin_write().await?;
        let mut ends = BTreeMap::new();
        for (attempt, finish) in finishes {
            let (failure, images) = (finish.failure.clone(), finish.images.clone());
            let (built, remarks) = (bounded(finish.built.clone()), finish.remarks.clone().bounded());
            ends.insert(*attempt, AttemptEnd { outcome: finish.outcome, failure, images, built, remarks });
        }
        let ended = end_attempts(&mut tx, ends, now).await?;
        let now_ended = finishes.iter().filter(|(attempt, _)| matches!(ended.get(attempt), Some(Ended::Now(_))));
        return_moved(&mut tx, now_ended.map(|(attempt, finish)| (*attempt, finish.images.as_slice())), now).await?;
        let logs: Vec<EndRow<'_>> = finishes
            .iter()
            .map(|(attempt, finish)| EndRow {
                job_id: attempt.job,
                epoch: attempt.epoch,
                end_offset: finish.log_end,
                sha256: &finish.log_sha256,
            })
            .collect();
        batches::logs::end_logs(&mut tx, &logs, now).await?;
        slipway_runtime::crash::point("finish.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("finish.after_commit");
        Ok(ended)
    }

    /// Ends an attempt whose builder vanished; its job is tried again elsewhere while retries remain.
    pub async fn lose_attempt(&self, attempt: AttemptRef, why: &str, now: DateTime<Utc>) -> Result<Ended> {
        let mut tx = self.begin_write().await?;
        let ended = end_attempt(&mut tx, attempt, AttemptEnd::lost(why), now).await?;
        tx.commit().await?;
        Ok(ended)
    }
}

impl AttemptEnd {
    /// The builder vanished.
    pub fn lost(why: &str) -> Self {
        Self::of_ours(AttemptOutcome::Lost, Some(Failure::new(FailureClass::BuilderLost, why)))
    }

    /// The row's deadline passed without a word from the builder.
    pub(crate) fn deadline(job: &Job) -> Self {
        let (outcome, failure) = if job.state == JobState::Cancelling {
            (AttemptOutcome::Cancelled, None)
        } else {
            let message = format!("The build ran longer than {} s and its builder did not stop it.", job.timeout_secs);
            (AttemptOutcome::TimedOut, Some(Failure::new(FailureClass::TimedOut, message)))
        };
        Self::of_ours(outcome, failure)
    }

    /// One that the builder does not tell, so that nothing is known of what it made.
    fn of_ours(outcome: AttemptOutcome, failure: Option<Failure>) -> Self {
        Self { outcome, failure, images: Vec::new(), built: Vec::new(), remarks: Remarks::default() }
    }
}

/// Closes an attempt and moves its job, in the caller's transaction.
pub(crate) async fn end_attempt(
    tx: &mut Tx,
    attempt: AttemptRef,
    end: AttemptEnd,
    now: DateTime<Utc>,
) -> Result<Ended> {
    let ended = end_attempts(tx, BTreeMap::from([(attempt, end)]), now).await?;
    ended.into_values().next().ok_or(StoreError::NotFound("attempt"))
}

/// The same for many: the attempts are closed first, and their jobs then locked, so that no compare-and-set is lost.
pub(crate) async fn end_attempts(
    tx: &mut Tx,
    ends: BTreeMap<AttemptRef, AttemptEnd>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<AttemptRef, Ended>> {
    let standings = batches::attempts::standings(tx, ends.keys()).await?;
    let ids: Vec<JobId> = ends.keys().map(|attempt| attempt.job).collect();
    let jobs = batches::jobs::jobs(tx, &ids).await?;
    let mut normal = BTreeMap::new();
    for (attempt, end) in ends {
        if !standings.contains_key(&attempt) {
            return Err(StoreError::NotFound("attempt"));
        }
        let job = jobs.get(&attempt.job).ok_or(StoreError::NotFound("job"))?;
        normal.insert(attempt, normalise(job, end));
    }
    let rows: Vec<End<'_>> = normal
        .iter()
        .map(|(attempt, AttemptEnd { outcome, failure, images, built, remarks })| End {
            attempt: *attempt,
            outcome: *outcome,
            failure: failure.as_ref(),
            images,
            built,
            remarks,
        })
        .collect();
    let closed = batches::attempts::close_attempts(tx, &rows, now).await?;
    let mut ended = BTreeMap::new();
    if !closed.is_empty() {
        let ids: Vec<JobId> = closed.iter().map(|attempt| attempt.job).collect();
        let jobs = batches::jobs::lock_jobs(tx, &ids).await?;
        let mut changes = Vec::new();
        for attempt in &closed {
            let (Some(job), Some(end), Some(standing)) =
                (jobs.get(&attempt.job), normal.get(attempt), standings.get(attempt))
            else {
                return Err(StoreError::NotFound("job"));
            };
            let new = job_after_end(job, end, standing.builder_id, now)?;
            ended.insert(*attempt, Ended::Now(new.state));
            changes.push(Change { old: job.clone(), new });
        }
        if save_all(tx, &changes, now).await?.len() < changes.len() {
            return Err(StoreError::Stale("job"));
        }
    }
    let late: Vec<AttemptRef> = normal.keys().filter(|attempt| !closed.contains(attempt)).copied().collect();
    if !late.is_empty() {
        let standings = batches::attempts::standings(tx, &late).await?;
        for attempt in late {
            let before = standings.get(&attempt).and_then(|standing| standing.outcome);
            let told = normal.get(&attempt).map(|end| end.outcome);
            // `cancelled` unasked was booked as `infra`, and the job it would be held against has gone on.
            let unasked = told == Some(AttemptOutcome::Cancelled) && before == Some(AttemptOutcome::Infra);
            let same = before.is_some() && (before == told || unasked);
            ended.insert(attempt, if same { Ended::Before } else { Ended::Stale });
        }
    }
    Ok(ended)
}

/// A builder says `cancelled` only when it was asked to; otherwise something of ours went wrong.
fn normalise(job: &Job, end: AttemptEnd) -> AttemptEnd {
    if end.outcome == AttemptOutcome::Cancelled && job.state == JobState::Running {
        let message = "The builder stopped the build although nobody had asked it to.";
        let failure = Some(Failure::new(FailureClass::Internal, message));
        return AttemptEnd { outcome: AttemptOutcome::Infra, failure, ..end };
    }
    end
}

fn job_after_end(job: &Job, end: &AttemptEnd, builder: BuilderId, now: DateTime<Utc>) -> Result<Job> {
    let retry_left = job.infra_retries < timing::INFRA_RETRIES;
    let mut next = job.after(JobEvent::AttemptEnded { outcome: end.outcome, retry_left }, now)?;
    if next.state == JobState::Queued && end.outcome != AttemptOutcome::HandedBack {
        next.infra_retries += 1;
        next.avoid_builder = Some(builder);
        next.not_before = now + delta(retry_pause(end.outcome, job.infra_retries));
        next.avoid_until = Some(next.not_before + delta(timing::AVOID_BUILDER));
    }
    Ok(next)
}

/// After a loss the first retry begins at once; after other faults of ours, and later, pauses double.
fn retry_pause(outcome: AttemptOutcome, retries_before: i64) -> Duration {
    if outcome == AttemptOutcome::Lost && retries_before == 0 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(retries_before.clamp(0, 16)).unwrap_or(0);
    timing::INFRA_RETRY_FIRST.saturating_mul(2u32.saturating_pow(doublings)).min(timing::INFRA_RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_after_a_loss_begins_at_once_and_pauses_double() {
        assert_eq!(retry_pause(AttemptOutcome::Lost, 0), Duration::ZERO);
        assert_eq!(retry_pause(AttemptOutcome::Lost, 1), Duration::from_secs(10));
        assert_eq!(retry_pause(AttemptOutcome::Infra, 0), Duration::from_secs(5));
        assert_eq!(retry_pause(AttemptOutcome::Infra, 2), Duration::from_secs(20));
        assert_eq!(retry_pause(AttemptOutcome::Infra, 60), timing::INFRA_RETRY_MAX);
    }
}
