//! What must hold over time, seen in rows and answers alone: the reference has no say in it.

use std::collections::BTreeMap;

use slipway_domain::ids::{BuildId, JobId, ProjectId};
use slipway_domain::job::JobState;
use slipway_store::jobs::Job;

use super::model::{Model, TAGS, is_newer};
use super::ops::{Answer, LeaveAnswer, Op, Try};
use super::rows::Shown;

/// How long a leave is held.
const LEASE: i64 = 30;

/// What was seen so far.
#[derive(Default)]
pub struct Watch {
    jobs: BTreeMap<JobId, Job>,
    orders: BTreeMap<(String, ProjectId, String), (BuildId, i64)>,
    /// Who was given leave for a tag, until when.
    leaves: BTreeMap<usize, (Try, i64)>,
    /// Attempts that were told to stop before they had leave.
    stopped: Vec<Try>,
}

impl Watch {
    pub fn rows(&mut self, jobs: Vec<Job>, shown: Vec<Shown>) -> Result<(), String> {
        for job in jobs {
            if let Some(before) = self.jobs.get(&job.id) {
                if before.state.is_terminal() && *before != job {
                    return Err(format!("a terminal row changed: {before:?} became {job:?}"));
                }
                if job.epoch < before.epoch || job.version < before.version {
                    return Err(format!("went back: {before:?} became {job:?}"));
                }
                if *before != job && job.version == before.version {
                    return Err(format!("changed under the same version: {before:?} became {job:?}"));
                }
                if before.state == JobState::Cancelled && job.epoch != before.epoch {
                    return Err(format!("started after its cancel: {job:?}"));
                }
            }
            self.jobs.insert(job.id, job);
        }
        for (tag, project, git_ref, build, order) in shown {
            let before = self.orders.insert((tag.clone(), project, git_ref.clone()), (build, order));
            if before.is_some_and(|(other, before)| other != build && before >= order) {
                return Err(format!("{tag} of {git_ref} went back to build {build}"));
            }
        }
        Ok(())
    }

    /// One answer, given at this moment.
    pub fn answer(&mut self, op: &Op, answer: &Answer, now: i64) -> Result<(), String> {
        match (op, answer) {
            (Op::AskLeave { attempt, tag }, Answer::Leave(Ok(LeaveAnswer::Granted))) => {
                if self.stopped.contains(attempt) {
                    return Err(format!("{attempt:?} was given leave after its cancel"));
                }
                let other = self.leaves.insert(*tag, (*attempt, now + LEASE));
                if let Some((other, until)) = other.filter(|(other, until)| other != attempt && now < *until) {
                    return Err(format!("tag {tag} is {other:?}'s until {until}, and {attempt:?} was given leave"));
                }
            }
            (Op::ReturnLeave { attempt, tag, .. }, Answer::Done) => self.returned(*attempt, &[*tag]),
            (Op::Finishes(finishes), Answer::Ended(Ok(_))) => {
                for finish in finishes {
                    self.returned(finish.attempt, &finish.moved);
                }
            }
            (Op::Cancel { .. }, Answer::Cancelled(super::ops::CancelAnswer::Stopping(attempts))) => {
                self.stopped.extend(attempts);
            }
            _ => {}
        }
        Ok(())
    }

    fn returned(&mut self, attempt: Try, tags: &[usize]) {
        for tag in tags {
            self.leaves.retain(|held, (holder, _)| held != tag || *holder != attempt);
        }
    }
}

/// Once everything is quiet, no tag shows an older build than one of its ref that succeeded and moved it.
pub fn converged(model: &Model) -> Result<(), String> {
    for tag in 0..TAGS {
        let Some(shows) = model.registry[tag] else { continue };
        for (moved, _) in model.puts.iter().filter(|(_, moved)| *moved == tag) {
            if model.succeeded(*moved) && is_newer(moved.0, shows.0) {
                return Err(format!("tag {tag} shows {shows:?}, though {moved:?} is newer and succeeded"));
            }
        }
    }
    Ok(())
}
