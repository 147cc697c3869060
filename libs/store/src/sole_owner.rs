//! A SQLite file belongs to one process, which a lock on a file beside it makes sure of. Whoever opens it next
//! therefore knows that every process with a lease in it is gone, and waits for none of those leases.
//!
//! Leases of builders (sessions, tags) are not among them: a builder outlives the control plane. On PostgreSQL
//! nobody knows such a thing, and leases end by themselves.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use chrono::DateTime;

use crate::Db;
use crate::db::execute;
use crate::error::{Result, StoreError};

/// Locks a database file for as long as the answer lives, a kill included.
pub(crate) fn lock(path: &Path) -> Result<File> {
    // Not the file itself: closing it anywhere in this process would end SQLite's own locks on it.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let shown = path.display();
    let refused = |error| StoreError::Conflict(format!("the database file {shown} cannot be locked: {error}"));
    let options = OpenOptions::new().create(true).truncate(false).write(true).open(beside);
    let file = options.map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Conflict(format!(
            "another process uses the database file {shown}; stop it, or name another file"
        ))),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// Ends the leases that processes held when they ended. Only for who has the lock.
pub(crate) async fn end_leases(db: &Db) -> Result<()> {
    const LEADERS: &str = "update leaders set expires_at = $1";
    const DELIVERIES: &str =
        "update deliveries set lease_owner = null, lease_until = null where lease_until is not null";
    const STATUSES: &str = "update statuses set lease_owner = null, lease_until = null where lease_until is not null";
    let mut tx = db.begin_write().await?;
    execute!(&mut tx, LEADERS, DateTime::UNIX_EPOCH);
    execute!(&mut tx, DELIVERIES);
    execute!(&mut tx, STATUSES);
    tx.commit().await
}
