//! Reading a stranger's body: never more than the limit, never for long, and never too many at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use http::{HeaderMap, header};
use slipway_runtime::problem::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest delivery; GitHub and GitLab send no larger ones.
pub(super) const MAX_BYTES: usize = 25 * 1024 * 1024;
/// A body that takes longer to come in is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Mebibytes of bodies that are in memory at once; more of them wait.
const MEMORY_MIB: usize = 256;
/// How long a request waits for its share of memory.
const MEMORY_WAIT: Duration = Duration::from_secs(5);
const MIB: usize = 1024 * 1024;

/// Bounds what all bodies together take. Cheap to clone.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY_MIB)))
    }
}

/// Refuses what says itself that it is too large, before anything of it is read.
pub(super) fn check_declared(headers: &HeaderMap) -> Result<(), ApiError> {
    match declared(headers) {
        Some(length) if length > MAX_BYTES => Err(too_large()),
        Some(_) | None => Ok(()),
    }
}

impl Memory {
    /// Room for the body, as large as it says that it is; without a word, as large as it may be.
    pub(super) async fn reserve(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
        let bytes = declared(headers).unwrap_or(MAX_BYTES).clamp(1, MAX_BYTES);
        let mib = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        let busy = || ApiError::Busy("Too many deliveries at once; send this one again in a moment.".to_owned(), 5);
        let permit = tokio::time::timeout(MEMORY_WAIT, self.0.clone().acquire_many_owned(mib)).await;
        permit.map_err(|_| busy())?.map_err(|_| busy())
    }
}

/// Reads the body as it came, and stops at the limit.
pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    let read = async {
        let mut stream = body.into_data_stream();
        let Some(first) = stream.next().await else { return Ok(Bytes::new()) };
        let mut whole = Vec::from(first.map_err(broken)?);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(broken)?;
            if whole.len() + chunk.len() > MAX_BYTES {
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
        }
        if whole.len() > MAX_BYTES { Err(too_large()) } else { Ok(Bytes::from(whole)) }
    };
    let late = |_| {
        let secs = READ_TIMEOUT.as_secs();
        ApiError::BadRequest(format!("The body did not come in within {secs} s; send the delivery again."))
    };
    tokio::time::timeout(READ_TIMEOUT, read).await.map_err(late)?
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> ApiError {
    ApiError::TooLarge("A delivery may have at most 25 MB; this one is larger.".to_owned())
}

fn broken(_: axum::Error) -> ApiError {
    ApiError::BadRequest("The body broke off before its end; send the delivery again.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_not_beyond() {
        let whole = read(Body::from(vec![b'x'; MAX_BYTES])).await.expect("at the limit");
        assert_eq!(whole.len(), MAX_BYTES);
        assert!(matches!(read(Body::from(vec![b'x'; MAX_BYTES + 1])).await, Err(ApiError::TooLarge(_))));
        let mut left = 100;
        let endless = futures_util::stream::repeat_with(move || {
            left -= 1;
            assert!(left > 0, "read on after the limit");
            Ok::<_, std::io::Error>(vec![b'x'; MIB])
        });
        assert!(matches!(read(Body::from_stream(endless)).await, Err(ApiError::TooLarge(_))));
    }

    #[test]
    fn a_declared_length_is_judged_before_reading() {
        let length = |bytes: usize| HeaderMap::from_iter([(header::CONTENT_LENGTH, bytes.into())]);
        assert!(check_declared(&length(MAX_BYTES)).is_ok());
        assert!(check_declared(&HeaderMap::new()).is_ok());
        assert!(matches!(check_declared(&length(MAX_BYTES + 1)), Err(ApiError::TooLarge(_))));
    }
}
