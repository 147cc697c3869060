//! What can go wrong in the store, as far as callers branch on it.

use slipway_runtime::problem::ApiError;

/// `SQLITE_FULL`, which is a full disk as well as a file at its largest size: <https://sqlite.org/rescode.html#full>.
const SQLITE_FULL: &str = "13";
/// PostgreSQL's `disk_full`.
const POSTGRES_DISK_FULL: &str = "53100";

/// What is said while nothing can be stored.
const FULL: &str = "The service's disk is full, so nothing was stored. Send it again once an operator has made room.";
/// When to try again then.
const FULL_RETRY_SECS: u32 = 60;
/// What a client reads while the database is away.
const AWAY: &str = "The database does not answer. Try again in a moment.";
/// When it may ask again, seconds.
const AWAY_RETRY_SECS: u32 = 5;

/// Classes and codes of PostgreSQL by which it says "not now": lost connections, too many of them, deadlocks, a lock or a
/// statement that took too long, shutdowns and starts.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const POSTGRES_NOT_NOW: [&str; 6] = ["08", "53300", "40", "55P03", "57014", "57P"];

/// A store call that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row is not there, or not for this caller.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// It conflicts with a row that exists; says with what.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else changed the row first, or the caller's fence (epoch, term, session) is old.
    #[error("{0} was changed by somebody else")]
    Stale(&'static str),
    /// The row's state does not take this event.
    #[error(transparent)]
    Illegal(#[from] slipway_domain::job::IllegalTransition),
    /// The database said no, or nothing.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database is not there, refuses us, or is of the wrong release; in words for operators.
    #[error("{0}")]
    Unusable(String),
    /// The database URL is of no kind that we know.
    #[error("database URL: {0}")]
    BadUrl(String),
    /// A stored value does not read back; somebody changed it by hand, or a newer release wrote it.
    #[error("stored {0} does not read: {1}")]
    Damaged(&'static str, String),
}

impl StoreError {
    /// True if the database could not be asked now: it is away, stopping, starting, or has no time for us.
    pub fn is_unreachable(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                true
            }
            // What a connection says that was cut in the middle of an answer, or of its greeting.
            sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| POSTGRES_NOT_NOW.iter().any(|prefix| code.starts_with(prefix)))
            }
            _ => false,
        }
    }

    /// True if the statement broke a unique constraint.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.is_unique_violation())
    }

    /// True if the database has no room for what was to be written; nothing of it was.
    pub fn is_out_of_space(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some(SQLITE_FULL | POSTGRES_DISK_FULL))
    }
}

/// What callers are told of a call that they can do nothing about: to come back later, or that something broke.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_out_of_space() {
            tracing::error!(%error, "the database has no room");
            return ApiError::Busy(FULL.to_owned(), FULL_RETRY_SECS);
        }
        if error.is_unreachable() {
            tracing::error!(%error, "the database does not answer");
            return ApiError::Busy(AWAY.to_owned(), AWAY_RETRY_SECS);
        }
        ApiError::internal(error)
    }
}

/// The store's result.
pub type Result<T> = std::result::Result<T, StoreError>;
