//! Cancels. Decided per job on its row, by compare-and-set: before a claim the job ends at once, an open attempt
//! is asked to stop, and one that was given leave goes on.

use chrono::{DateTime, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::CancelledBy;
use slipway_domain::ids::{BuildId, JobId};
use slipway_domain::job::{JobEvent, JobState};

use crate::Db;
use crate::error::{Result, StoreError};
use crate::jobs::{CAS_TRIES, Job, Saved, job_in, save};

/// How far a cancel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only to jobs that no builder has claimed.
    Waiting,
    /// To those that run, too.
    Running,
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Every job is terminal now.
    Cancelled,
    /// These attempts must be told to stop.
    Stopping(Vec<AttemptRef>),
    /// An attempt was given leave: its tags may be moving.
    AlreadyPublishing,
    /// The build was over before.
    AlreadyFinished,
}

/// How one job took a cancel.
enum JobCancel {
    Terminal,
    Stopping(AttemptRef),
    AlreadyPublishing,
}

impl Db {
    /// Cancels every job of a build that can still be cancelled. The caller has authorised it.
    pub async fn cancel_build(&self, build: BuildId, by: CancelledBy, now: DateTime<Utc>) -> Result<CancelOutcome> {
        self.cancel_build_within(build, Reach::Running, by, now).await
    }

    /// The same, only so far. A build of which nothing was within reach counts as publishing.
    pub(crate) async fn cancel_build_within(
        &self,
        build: BuildId,
        reach: Reach,
        by: CancelledBy,
        now: DateTime<Utc>,
    ) -> Result<CancelOutcome> {
        let jobs = self.jobs_of_build(build).await?;
        if jobs.iter().all(|job| job.state.is_terminal()) {
            return Ok(CancelOutcome::AlreadyFinished);
        }
        let mut stopping = Vec::new();
        let mut publishing = false;
        for job in jobs {
            match self.cancel_job(job.id, reach, by, now).await? {
                JobCancel::Stopping(attempt) => stopping.push(attempt),
                JobCancel::AlreadyPublishing => publishing = true,
                JobCancel::Terminal => {}
            }
        }
        Ok(match (stopping.is_empty(), publishing) {
            (false, _) => CancelOutcome::Stopping(stopping),
            (true, true) => CancelOutcome::AlreadyPublishing,
            (true, false) => CancelOutcome::Cancelled,
        })
    }

    async fn cancel_job(&self, id: JobId, reach: Reach, by: CancelledBy, now: DateTime<Utc>) -> Result<JobCancel> {
        for _ in 0..CAS_TRIES {
            let mut tx = self.begin_write().await?;
            let job = job_in(&mut tx, id).await?;
            if job.state.is_terminal() {
                return Ok(JobCancel::Terminal);
            }
            let out_of_reach = reach == Reach::Waiting && job.state == JobState::Running;
            if out_of_reach || job.state == JobState::Running && job.leave_epoch == Some(job.epoch) {
                return Ok(JobCancel::AlreadyPublishing);
            }
            let attempt = AttemptRef { job: id, epoch: job.epoch };
            if job.state == JobState::Cancelling {
                return Ok(JobCancel::Stopping(attempt));
            }
            let next = Job { cancelled_by: Some(by), ..job.after(JobEvent::CancelRequested, now)? };
            if save(&mut tx, &job, &next, now).await? == Saved::Yes {
                tx.commit().await?;
                return Ok(if next.state.is_terminal() { JobCancel::Terminal } else { JobCancel::Stopping(attempt) });
            }
        }
        Err(StoreError::Stale("job"))
    }
}
