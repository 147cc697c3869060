//! What the store says, as an answer.

use slipway_runtime::problem::ApiError;
use slipway_store::StoreError;

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
            error @ (StoreError::Sql(_)
            | StoreError::Migrate(_)
            | StoreError::Unusable(_)
            | StoreError::BadUrl(_)
            | StoreError::Damaged(..)) => ApiError::from(error),
        })
    }
}
