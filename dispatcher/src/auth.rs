//! Who calls: a session or an attempt, each proved by its bearer token, of which the database has the hash.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::Deserialize;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, bearer};
use slipway_store::StoreError;

use crate::Dispatcher;

/// The attempt in the path, whose token was shown. Open or closed: the store decides what it may still do.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The attempt.
    pub attempt: AttemptRef,
}

#[derive(Deserialize)]
struct AttemptPath {
    job: JobId,
    epoch: i64,
}

impl FromRequestParts<Dispatcher> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Dispatcher) -> Result<Self, ApiError> {
        let Path(path) = Path::<AttemptPath>::from_request_parts(parts, state)
            .await
            .map_err(|refusal| ApiError::NotFound(refusal.body_text()))?;
        let attempt = AttemptRef { job: path.job, epoch: path.epoch };
        let token = bearer(&parts.headers).ok_or_else(refused)?;
        let row = match state.deps.db.attempt(attempt).await {
            Err(StoreError::NotFound(_)) => return Err(refused()),
            other => other.map_err(ApiError::from)?,
        };
        if row.token_hash == token_hash(token) { Ok(Self { attempt }) } else { Err(refused()) }
    }
}

/// The answer to a token that does not fit.
pub fn refused() -> ApiError {
    ApiError::Unauthorized("The bearer token is missing or not of this attempt or session.".to_owned())
}

/// The caller's word came too late or from a lost attempt: it changes nothing and needs no repeat.
pub fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound(what) => ApiError::NotFound(format!("{what} not found")),
        StoreError::Stale(what) => ApiError::Conflict(format!("This {what} is no longer yours.")),
        StoreError::Conflict(text) => ApiError::Conflict(text),
        other => ApiError::from(other),
    }
}
