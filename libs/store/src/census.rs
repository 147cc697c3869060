//! How many jobs stand where, for metrics: live jobs only, so that the history costs nothing.

use chrono::{DateTime, Utc};
use slipway_domain::job::JobState;
use slipway_domain::placement::Pool;
use sqlx::FromRow;

use crate::Db;
use crate::db::on_db;
use crate::error::Result;

/// The live jobs of one pool in one state; never none.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct JobCount {
    /// The pool.
    #[sqlx(try_from = "String")]
    pub pool: Pool,
    /// The state; never a terminal one.
    pub state: JobState,
    /// How many there are.
    pub jobs: i64,
    /// Since when the oldest of them may run.
    pub oldest: DateTime<Utc>,
}

impl Db {
    /// Every pool and state that has live jobs.
    pub async fn job_counts(&self) -> Result<Vec<JobCount>> {
        const COUNTS: &str = "select pool, state, count(*) as jobs, min(not_before) as oldest from jobs \
            where deadline_at is not null group by pool, state order by pool, state";
        Ok(on_db!(self, conn => sqlx::query_as(COUNTS).fetch_all(conn).await?))
    }
}
