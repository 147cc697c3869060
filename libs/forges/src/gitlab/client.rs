//! The gitlab crate's endpoints on our own transport, through its `AsyncClient` trait. Its own client would
//! choose addresses itself, know no path prefix, and ask `/user` before every first call.

use async_trait::async_trait;
use bytes::Bytes;
use gitlab::api::{ApiError, AsyncClient, AsyncQuery, RestClient};
use http::request::Builder;
use http::{HeaderMap, Response};
use url::Url;

use crate::transport::{Answer, Call, ForgeError, Transport, message_of, refusal};

/// One GitLab instance.
pub(super) struct Client<'a>(pub(super) &'a Transport);

impl RestClient for Client<'_> {
    type Error = ForgeError;

    fn rest_endpoint(&self, endpoint: &str) -> Result<Url, ApiError<ForgeError>> {
        Ok(self.0.base.join(endpoint)?)
    }
}

#[async_trait]
impl AsyncClient for Client<'_> {
    async fn rest_async(&self, request: Builder, body: Vec<u8>) -> Result<Response<Bytes>, ApiError<ForgeError>> {
        self.send(request, body).await.map_err(ApiError::client)
    }
}

impl Client<'_> {
    /// Sends; an answer other than success is already our error, with what the crate's own would drop.
    async fn send(&self, request: Builder, body: Vec<u8>) -> Result<Response<Bytes>, ForgeError> {
        let invalid = || ForgeError::Invalid("the request has no valid address".to_owned());
        let (parts, body) = request.body(Bytes::from(body)).map_err(|_| invalid())?.into_parts();
        let mut url = Url::parse(&parts.uri.to_string()).map_err(|_| invalid())?;
        // The crate leaves a bare question mark behind where there are no parameters.
        if url.query() == Some("") {
            url.set_query(None);
        }
        let call = Call { method: parts.method, url, headers: parts.headers, body };
        let Answer { status, headers, body } = self.0.send(call).await?;
        if !status.is_success() {
            return Err(refusal(status, &headers, &message_of(&body), self.0.clock.now()));
        }
        Ok(respond(status, headers, body))
    }
}

/// Asks one of the crate's questions; an answer that is not understood is an error, too.
pub(super) async fn query<T, E>(transport: &Transport, endpoint: E) -> Result<T, ForgeError>
where
    T: 'static,
    E: for<'a> AsyncQuery<T, Client<'a>>,
{
    endpoint.query_async(&Client(transport)).await.map_err(|e| match sort(e) {
        Err(e) => e,
        Ok(()) => ForgeError::Transient("its answer is not what GitLab sends".to_owned()),
    })
}

/// The crate's builders miss nothing that we give.
pub(super) fn not_buildable(e: impl std::error::Error) -> ForgeError {
    ForgeError::Invalid(format!("the request cannot be made: {e}"))
}

/// Sorts the crate's errors. `Ok(())` when GitLab did what we asked and only its answer was not understood.
pub(super) fn sort(e: ApiError<ForgeError>) -> Result<(), ForgeError> {
    match e {
        ApiError::Client { source } => Err(source),
        ApiError::Json { .. } | ApiError::DataType { .. } | ApiError::GitlabService { .. } => Ok(()),
        _ => Err(ForgeError::Invalid("the request could not be made".to_owned())),
    }
}

fn respond(status: http::StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
