//! Problems as pages: whoever is not signed in is sent to the login where that helps. And what all pages say of themselves:
//! their language, and that it depends on who asks.

use askama::Template;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderValue, Method, StatusCode, header};
use slipway_runtime::problem::Problem;
use slipway_store::scope::Scope;

use crate::caller::Caller;
use crate::pages::Chrome;
use crate::pages::login::login_url;
use crate::state::ApiState;
use crate::texts::language::Language;

/// A problem's body is ours and short.
const MAX_PROBLEM: usize = 64 * 1024;
/// What a page depends on beside its address.
const VARY: HeaderValue = HeaderValue::from_static("accept-language, cookie");

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    chrome: Chrome,
    /// The key of its text.
    title: &'static str,
    detail: String,
    error_id: Option<String>,
    next: String,
}

/// Middleware around the pages.
pub async fn as_page(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let language = Language::of(request.headers());
    let mut response = shown(state, request, next).await;
    let is_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        response.headers_mut().insert(header::CONTENT_LANGUAGE, language.header());
        response.headers_mut().append(header::VARY, VARY);
    }
    response
}

async fn shown(state: ApiState, request: Request, next: Next) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let response = next.run(request).await;
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    if !is_problem {
        return response;
    }
    if response.status() == StatusCode::UNAUTHORIZED && method == Method::GET {
        return Redirect::to(&login_url(&path)).into_response();
    }
    let status = response.status();
    let Ok(body) = to_bytes(response.into_body(), MAX_PROBLEM).await else { return status.into_response() };
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else { return status.into_response() };
    // Whether somebody is signed in only decides whether a link is shown: the cookie's presence is enough.
    let signed_in = slipway_runtime::web_session::web_session(&headers).is_some();
    let mut chrome = Chrome::new(&state, Caller { scope: Scope::Public, token: None }, &headers, "");
    chrome.signed_in = signed_in;
    let next = if method == Method::GET { path } else { "/".to_owned() };
    chrome.return_to = Some(next.clone());
    let page =
        ProblemPage { chrome, title: title_key(status), detail: problem.detail, error_id: problem.error_id, next };
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => status.into_response(),
    }
}

/// The key of a status's name, for those that our problems have.
fn title_key(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "problem-unauthorized",
        StatusCode::FORBIDDEN => "problem-forbidden",
        StatusCode::NOT_FOUND => "problem-not-found",
        StatusCode::CONFLICT => "problem-conflict",
        StatusCode::GONE => "problem-gone",
        StatusCode::PAYLOAD_TOO_LARGE => "problem-too-large",
        StatusCode::UNPROCESSABLE_ENTITY => "problem-invalid",
        StatusCode::TOO_MANY_REQUESTS => "problem-too-many",
        StatusCode::SERVICE_UNAVAILABLE => "problem-busy",
        _ if status.is_client_error() => "problem-bad-request",
        _ => "problem-ours",
    }
}
