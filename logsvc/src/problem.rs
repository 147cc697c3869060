//! What store and storage say, as an answer.

use slipway_blobs::BlobError;
use slipway_runtime::breakers::Out;
use slipway_runtime::problem::ApiError;
use slipway_store::StoreError;

/// A store's refusal as a problem; what callers cannot do anything about becomes an internal one.
pub(crate) fn store_problem(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound(what) => {
            ApiError::NotFound(format!("There is no such {what}, or it is not visible with your token."))
        }
        StoreError::Conflict(detail) => ApiError::Conflict(detail),
        StoreError::Stale(what) => ApiError::Conflict(format!("The {what} was changed meanwhile; try again.")),
        error => ApiError::from(error),
    }
}

/// Reading a log failed on the way to its bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An object is not what was stored.
    #[error("segment at {start} is damaged: {reason}")]
    Damaged {
        /// Where it begins.
        start: i64,
        /// What is wrong.
        reason: slipway_logfmt::chunk::DecodeError,
    },
    /// It is not even tried.
    #[error("object storage: {0}")]
    Out(#[from] Out),
    /// What of it is here is not stored yet.
    #[error("what is not stored of it waits for object storage")]
    Waits,
    /// Whoever unpacked it broke off.
    #[error("unpacking broke off")]
    Unpacking,
    /// The process stops before all was told; whoever reads may come again.
    #[error("the log service stops")]
    Stopping,
    /// The token or web session that a reader came with is gone.
    #[error("the reader's credential is gone")]
    CredentialGone,
    /// It took too long.
    #[error("object storage did not answer in time")]
    Timeout,
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => store_problem(error),
            error => ApiError::internal(error),
        }
    }
}
