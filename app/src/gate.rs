//! A listener answers from its first moment: health at once, everything else as soon as what it stands on is
//! there. So a database that is away shows as "not ready: …" and not as a process that comes and goes.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use slipway_runtime::problem::ApiError;
use tower::ServiceExt as _;

/// Closed until [`Gate::open`]. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<OnceLock<Router>>);

/// Seconds after which a client may ask again.
const RETRY_SECS: u32 = 2;

impl Gate {
    /// Lets requests through to `router` from now on.
    pub fn open(&self, router: Router) {
        let first = self.0.set(router).is_ok();
        // A second router would mean two owners.
        debug_assert!(first, "a gate is opened once");
    }

    /// Whether requests pass.
    pub fn is_open(&self) -> bool {
        self.0.get().is_some()
    }

    /// `first`, and behind it whatever the gate was opened for.
    pub fn behind(&self, first: Router) -> Router {
        let gate = self.clone();
        first.fallback(move |request: Request| async move { gate.pass(request).await })
    }

    async fn pass(&self, request: Request) -> Response {
        match self.0.get() {
            Some(router) => router.clone().oneshot(request).await.into_response(),
            None => {
                let detail = "The service is starting; /readyz?verbose tells what it waits for.";
                ApiError::Busy(detail.to_owned(), RETRY_SECS).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn requests_pass_once_it_is_open() {
        let gate = Gate::default();
        let router = gate.behind(Router::new().route("/livez", get(|| async { "ok" })));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("infallible").status()
        };
        assert_eq!((ask("/livez").await, ask("/x").await), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
        gate.open(Router::new().route("/x", get(|| async { "x" })));
        assert_eq!((ask("/x").await, ask("/y").await), (StatusCode::OK, StatusCode::NOT_FOUND));
    }
}
