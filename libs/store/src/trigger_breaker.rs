//! The trigger breaker: a project of which nothing succeeds any more is paused, so that it costs neither its tenant's
//! turn nor anybody's patience, and it says so until somebody resumes it.
//!
//! Row: `projects`, compare-and-set on `state = 'active'`. Whoever looks second finds it paused. Nothing needs repair:
//! the next failure looks again.

use chrono::{DateTime, Utc};
use slipway_domain::ids::ProjectId;

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::Result;
use crate::reconciliations;

/// Pushes, tags and changes that fail one after the other until their project is paused.
pub const FAILURES_IN_A_ROW: i64 = 100;

impl Db {
    /// Pauses a project if the last [`FAILURES_IN_A_ROW`] of its builds that a forge triggered, since it was made or
    /// resumed, failed. True if it was paused now.
    pub async fn pause_if_nothing_succeeds(&self, project: ProjectId, now: DateTime<Utc>) -> Result<bool> {
        const SUCCEEDED: &str = "select state = 'succeeded' from builds where project_id = $1 \
            and trigger in ('push', 'tag', 'change') and state in ('succeeded', 'failed', 'errored') \
            and created_at > (select coalesce(counted_from, created_at) from projects where id = $1) \
            order by id desc limit $2";
        const PAUSE: &str = "update projects set state = 'paused', paused_reason = $2, updated_at = $3 \
            where id = $1 and state = 'active'";
        let succeeded: Vec<bool> = on_db!(self, conn => sqlx::query_scalar(SUCCEEDED)
            .bind(project)
            .bind(FAILURES_IN_A_ROW)
            .fetch_all(conn)
            .await?);
        let all = i64::try_from(succeeded.len()).is_ok_and(|count| count >= FAILURES_IN_A_ROW);
        if !all || succeeded.contains(&true) {
            return Ok(false);
        }
        let reason =
            format!("Its last {FAILURES_IN_A_ROW} builds failed one after the other. Resume it once it is mended.");
        let mut tx = self.begin_write().await?;
        let paused = execute!(&mut tx, PAUSE, project, reason, now);
        if paused == 1 {
            reconciliations::end(&mut tx, project).await?;
        }
        tx.commit().await?;
        Ok(paused == 1)
    }
}
