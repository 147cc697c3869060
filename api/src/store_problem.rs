//! What the store says, as an answer.

use slipway_runtime::problem::ApiError;
use slipway_store::StoreError;

/// What is said while nothing can be stored.
const FULL: &str = "The service's disk is full, so nothing was stored. Send it again once an operator has made room.";
/// When to try again then.
const FULL_RETRY_SECS: u32 = 60;

/// What a client reads while the database is away.
const AWAY: &str = "The database does not answer. Try again in a moment.";
/// When it may ask again, seconds.
const AWAY_RETRY_SECS: u32 = 5;

/// Turns a store's refusal into a problem; what callers cannot do anything about becomes an internal one.
pub trait OrProblem<T> {
    /// The value, or the problem to answer with.
    fn or_problem(self) -> Result<T, ApiError>;
}

impl<T> OrProblem<T> for Result<T, StoreError> {
    fn or_problem(self) -> Result<T, ApiError> {
        self.map_err(|error| match error {
            StoreError::NotFound(what) => {
                ApiError::NotFound(format!("There is no such {what}, or it is not visible with your token."))
            }
            StoreError::Conflict(detail) => ApiError::Conflict(detail),
            StoreError::Stale(what) => ApiError::Conflict(format!("The {what} was changed meanwhile; try again.")),
            StoreError::Illegal(error) => ApiError::Conflict(error.to_string()),
            error if error.is_out_of_space() => {
                tracing::error!(%error, "the database has no room");
                ApiError::Busy(FULL.to_owned(), FULL_RETRY_SECS)
            }
            error if error.is_unreachable() => {
                tracing::error!(%error, "the database does not answer");
                ApiError::Busy(AWAY.to_owned(), AWAY_RETRY_SECS)
            }
            error @ (StoreError::Sql(_)
            | StoreError::Migrate(_)
            | StoreError::Unusable(_)
            | StoreError::BadUrl(_)
            | StoreError::Damaged(..)) => ApiError::internal(error),
        })
    }
}
