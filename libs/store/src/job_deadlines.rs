//! Jobs whose deadline passed. Every live row has one, and this is who repairs it.

use chrono::{DateTime, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::CancelledBy;
use slipway_domain::ids::JobId;
use slipway_domain::job::{JobEvent, JobState};

use crate::Db;
use crate::attempt_ends::{AttemptEnd, end_attempt};
use crate::db::{execute, on_db};
use crate::error::Result;
use crate::jobs::{Job, Saved, TRY_AGAIN, job_in, save};

const OVERDUE: &str = "select id from jobs where deadline_at < $1 order by deadline_at limit $2";

impl Db {
    /// Repairs jobs whose deadline passed: void dispatches go back to `ready`, silent cancels end, what
    /// waited or ran too long ends with its class. Returns the jobs that changed.
    pub async fn expire_jobs(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Job>> {
        let ids: Vec<JobId> =
            on_db!(self, conn => sqlx::query_scalar(OVERDUE).bind(now).bind(limit).fetch_all(conn).await?);
        let mut changed = Vec::new();
        for id in ids {
            match self.expire_job(id, now).await {
                Ok(Some(job)) => changed.push(job),
                Ok(None) => {}
                // One bad row never stops the pass, nor do many: they come again after the others.
                Err(error) => {
                    tracing::error!(job.id = %id, %error, "a job's deadline could not be worked");
                    self.postpone_deadline(id, now).await?;
                }
            }
        }
        Ok(changed)
    }

    async fn postpone_deadline(&self, id: JobId, now: DateTime<Utc>) -> Result<()> {
        const POSTPONE: &str = "update jobs set deadline_at = $3 where id = $1 and deadline_at < $2";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, POSTPONE, id, now, now + TRY_AGAIN);
        tx.commit().await
    }

    async fn expire_job(&self, id: JobId, now: DateTime<Utc>) -> Result<Option<Job>> {
        let mut tx = self.begin_write().await?;
        let job = job_in(&mut tx, id).await?;
        if job.deadline_at.is_none_or(|deadline| deadline >= now) {
            return Ok(None);
        }
        if matches!(job.state, JobState::Running | JobState::Cancelling) {
            let attempt = AttemptRef { job: id, epoch: job.epoch };
            end_attempt(&mut tx, attempt, AttemptEnd::deadline(&job), now).await?;
        } else {
            let mut next = job.after(JobEvent::DeadlinePassed, now)?;
            if next.state == JobState::Cancelled {
                next.cancelled_by = Some(CancelledBy::Deadline);
            }
            if save(&mut tx, &job, &next, now).await? != Saved::Yes {
                return Ok(None);
            }
        }
        let after = job_in(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Some(after))
    }
}
