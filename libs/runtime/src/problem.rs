//! Errors of HTTP answers: RFC 9457 `application/problem+json`. Only internal errors are logged, with an
//! id that the client also gets; their text is never sent.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::Id;
use tracing::error;
use uuid::Uuid;

/// What a handler may answer instead of a result.
#[derive(Debug)]
pub enum ApiError {
    /// 400: the request is wrong; says what and where.
    BadRequest(String),
    /// 401: nobody, or somebody whose proof does not hold.
    Unauthorized(String),
    /// 403: known, but not allowed.
    Forbidden(String),
    /// 404: not there, or not for this caller.
    NotFound(String),
    /// 409: it conflicts with what is already so.
    Conflict(String),
    /// 410: it was there, but its time is over.
    Gone(String),
    /// 413: too large.
    TooLarge(String),
    /// 422: well-formed, but the values make no sense together.
    Invalid(String),
    /// 429 with `Retry-After` in seconds: this caller asks too often.
    TooMany(String, u32),
    /// 503 with `Retry-After` in seconds: we have no room for anybody.
    Busy(String, u32),
    /// 500: ours. The text goes to the log only.
    Internal(anyhow::Error),
}

/// The body of an error.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Stable URI of the kind of problem; `about:blank` means that the status says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, where, and what to do next.
    pub detail: String,
    /// Id under which the service's log tells more; only for errors of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_id: Option<String>,
}

impl ApiError {
    /// An error of ours, from anything that is an error.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::Internal(error.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry_after = if let Self::TooMany(_, secs) | Self::Busy(_, secs) = &self { Some(*secs) } else { None };
        let (detail, error_id) = match self {
            Self::BadRequest(detail)
            | Self::Unauthorized(detail)
            | Self::Forbidden(detail)
            | Self::NotFound(detail)
            | Self::Conflict(detail)
            | Self::Gone(detail)
            | Self::TooLarge(detail)
            | Self::Invalid(detail)
            | Self::TooMany(detail, _)
            | Self::Busy(detail, _) => (detail, None),
            Self::Internal(error) => {
                let id = crate::ids::random_id::<ErrorId>().0.simple().to_string();
                error!(error_id = id, error = format!("{error:#}"), "request failed");
                ("Something broke on our side. Tell an operator the error_id.".to_owned(), Some(id))
            }
        };
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail,
            error_id,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(secs) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[derive(Clone, Copy)]
struct ErrorId(Uuid);

impl From<Uuid> for ErrorId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl Id for ErrorId {
    fn uuid(self) -> Uuid {
        self.0
    }
}

/// `axum::Json` whose refusals are problems that name the place.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(refusal)) if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::TooLarge("The body is larger than this route takes.".to_owned()))
            }
            Err(JsonRejection::JsonDataError(refusal)) => Err(ApiError::Invalid(refusal.body_text())),
            Err(refusal) => Err(ApiError::BadRequest(refusal.body_text())),
        }
    }
}

/// `axum::extract::Query` whose refusals are problems.
#[derive(Debug, Clone, Copy)]
pub struct QueryOf<T>(pub T);

impl<S, T> FromRequestParts<S> for QueryOf<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|refusal: QueryRejection| ApiError::BadRequest(refusal.body_text()))
    }
}

/// `axum::extract::Path` whose refusals are 404 problems: a path that does not parse names nothing.
#[derive(Debug, Clone, Copy)]
pub struct PathOf<T>(pub T);

impl<S, T> FromRequestParts<S> for PathOf<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|refusal: PathRejection| ApiError::NotFound(refusal.body_text()))
    }
}

/// The bearer token of a request, if it has one. What it may do is decided by `store`.
pub fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}
