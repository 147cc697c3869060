//! `Idempotency-Key` on POST: the first answer is kept and given again, so that a caller may repeat a request
//! whose answer was lost (draft-ietf-httpapi-idempotency-key-header-07).

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest, Sha256};
use slipway_domain::ids::TokenId;
use slipway_runtime::problem::ApiError;
use slipway_store::idempotency::{IdempotencyStart, KeyedRequest};

use crate::caller::Caller;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// The header's name.
const HEADER: &str = "idempotency-key";
/// Longest key.
const MAX_KEY: usize = 200;
/// Largest request body of our API.
pub const MAX_BODY: usize = 1024 * 1024;
/// Largest answer that is kept.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The key of a request, checked. An empty or overlong one is a mistake of the caller.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(Some(key.to_owned())),
        _ => Err(ApiError::BadRequest(format!("Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters."))),
    }
}

/// Middleware around every route of the API.
pub async fn once(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    let keyed = match key(request.headers()) {
        Ok(key) => key,
        Err(problem) => return problem.into_response(),
    };
    match (keyed, caller.and_then(|caller| caller.token)) {
        (Some(key), Some(token)) if *request.method() == Method::POST => {
            run_once(&state, token, key, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        _ => next.run(request).await,
    }
}

async fn run_once(
    state: &ApiState,
    token: TokenId,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| ApiError::TooLarge(format!("The body is larger than {MAX_BODY} bytes.")))?;
    let hash = request_hash(&parts, &body);
    let keyed = KeyedRequest { token, key: &key, request_hash: &hash };
    let now = state.db.now(&state.clock).await.or_problem()?;
    match state.db.begin_idempotent(&state.secret_key, keyed, now).await.or_problem()? {
        IdempotencyStart::Fresh => {}
        IdempotencyStart::Running => {
            return Err(ApiError::Conflict("A request with this Idempotency-Key is still running.".to_owned()));
        }
        IdempotencyStart::Mismatch => {
            return Err(ApiError::Invalid(
                "This Idempotency-Key was used for another request; use a new one.".to_owned(),
            ));
        }
        IdempotencyStart::Replay { status, body } => return Ok(replay(status, body)),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(state, keyed, response).await
}

fn request_hash(parts: &http::request::Parts, body: &Bytes) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(parts.method.as_str());
    hash.update(b" ");
    hash.update(parts.uri.to_string());
    hash.update(b"\n");
    hash.update(body);
    hash.finalize().to_vec()
}

fn replay(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true")),
    ];
    (status, headers, body).into_response()
}

/// Keeps the answer, unless it is an error of ours: then the key may be used again.
async fn keep(state: &ApiState, keyed: KeyedRequest<'_>, response: Response) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER).await.map_err(ApiError::internal)?;
    let text = std::str::from_utf8(&body).ok().filter(|_| !parts.status.is_server_error());
    match text {
        Some(text) => {
            state.db.complete_idempotent(&state.secret_key, keyed, parts.status.as_u16(), text).await.or_problem()?
        }
        None => state.db.abandon_idempotent(keyed).await.or_problem()?,
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}
