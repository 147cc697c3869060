//! Archives of sealed logs: which become one, and of which the segments can be removed.
//!
//! A log is looked at when its `archive_after` has come. Whoever moves that on, by compare-and-set, looks; if it dies,
//! the next one looks again when the lease is over.

use chrono::{DateTime, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use sqlx::FromRow;

use crate::Db;
use crate::batches;
use crate::db::execute;
use crate::error::Result;

/// A log that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct DueArchive {
    job_id: JobId,
    epoch: i64,
    /// Its archive exists, and its segments are to be removed; else it is to be archived.
    pub archived: bool,
    /// Somebody else has it from then on.
    archive_after: DateTime<Utc>,
}

impl DueArchive {
    /// Whose log.
    pub fn attempt(&self) -> AttemptRef {
        AttemptRef { job: self.job_id, epoch: self.epoch }
    }
}

impl Db {
    /// Takes logs that are due, at most so many; nobody else gets them until `lease_until`.
    pub async fn lease_archives(
        &self,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<DueArchive>> {
        let mut tx = self.begin_write().await?;
        let due = batches::logs::lease_archives(&mut tx, now, lease_until, limit).await?;
        tx.commit().await?;
        Ok(due)
    }

    /// Readers find a sealed log in its archive from now on; its segments are due to be removed at `remove_after`. False
    /// if it was so already.
    pub async fn archive_log(
        &self,
        attempt: AttemptRef,
        now: DateTime<Utc>,
        remove_after: DateTime<Utc>,
    ) -> Result<bool> {
        const ARCHIVE: &str = "update attempt_logs set archived_at = $3, archive_after = $4 \
            where job_id = $1 and epoch = $2 and state = 'sealed' and archived_at is null";
        let mut tx = self.begin_write().await?;
        let archived = execute!(&mut tx, ARCHIVE, attempt.job, attempt.epoch, now, remove_after);
        tx.commit().await?;
        Ok(archived == 1)
    }

    /// Readers find a log in its segments again, because its archive is not whole; it is due to be archived again. Nothing
    /// is done where the lease is over and somebody else has it.
    pub async fn unarchive_log(&self, log: DueArchive, now: DateTime<Utc>) -> Result<()> {
        const UNARCHIVE: &str = "update attempt_logs set archived_at = null, archive_after = $4 \
            where job_id = $1 and epoch = $2 and archive_after = $3";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, UNARCHIVE, log.job_id, log.epoch, log.archive_after, now);
        tx.commit().await
    }

    /// A log stays as it is, unless somebody else has it meanwhile.
    pub async fn settle_archive(&self, log: DueArchive) -> Result<()> {
        const SETTLE: &str = "update attempt_logs set archive_after = null \
            where job_id = $1 and epoch = $2 and archive_after = $3";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, SETTLE, log.job_id, log.epoch, log.archive_after);
        tx.commit().await
    }
}
