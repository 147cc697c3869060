//! Approvals: what strangers wrote waits until somebody with write access lets it run.
//!
//! Row: `jobs`, compare-and-set on `version`, `blocked -> queued`. Whoever loses against a cancel or the deadline finds a
//! job that is over. Both ends are one transaction each, so nothing needs repair; a lost answer is asked for again.

use chrono::{DateTime, Utc};
use slipway_domain::ids::BuildId;
use slipway_domain::job::{JobEvent, JobState};

use crate::Db;
use crate::error::{Result, StoreError};
use crate::jobs::{CAS_TRIES, Saved, job_in, save};

/// What came of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// It may run, from now on or since before.
    Approved,
    /// Every job of it is over.
    AlreadyFinished,
}

impl Db {
    /// Lets the jobs of a build run that wait for an approval. Repeating it changes nothing. The caller has checked
    /// the role.
    pub async fn approve_build(&self, build: BuildId, now: DateTime<Utc>) -> Result<Approval> {
        let jobs = self.jobs_of_build(build).await?;
        if jobs.iter().all(|job| job.state.is_terminal()) {
            return Ok(Approval::AlreadyFinished);
        }
        for blocked in jobs.iter().filter(|job| job.state == JobState::Blocked) {
            let mut tries = 0;
            loop {
                let mut tx = self.begin_write().await?;
                let job = job_in(&mut tx, blocked.id).await?;
                if job.state != JobState::Blocked {
                    break;
                }
                let next = job.after(JobEvent::Unblocked, now)?;
                if save(&mut tx, &job, &next, now).await? == Saved::Yes {
                    tx.commit().await?;
                    break;
                }
                tries += 1;
                if tries == CAS_TRIES {
                    return Err(StoreError::Stale("job"));
                }
            }
        }
        Ok(Approval::Approved)
    }
}
