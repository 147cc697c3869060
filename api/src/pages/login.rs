//! Signing in with an API token, and out again.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use slipway_runtime::ids::{new_token, token_hash};
use slipway_runtime::problem::{ApiError, QueryOf};
use slipway_runtime::web_session::{HOST_COOKIE, PLAIN_COOKIE, web_session};
use url::form_urlencoded;

use crate::caller::{self, Caller};
use crate::pages::{Chrome, render};
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// A browser stays signed in for this long.
const SESSION: TimeDelta = TimeDelta::days(14);
/// Marks web sessions for secret scanners.
const PREFIX: &str = "sls";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    chrome: Chrome,
    /// The key of its text.
    problem: Option<&'static str>,
    next: String,
}

#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct LoginForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// The login page's address, coming back to `path` afterwards.
pub fn login_url(path: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
    format!("/login?{query}")
}

/// `GET /login`.
pub async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    QueryOf(query): QueryOf<LoginQuery>,
) -> Result<Response, ApiError> {
    let chrome = Chrome::new(&state, caller, &headers, "/login");
    render(&LoginPage { chrome, problem: None, next: local_path(&query.next).to_owned() })
}

/// `POST /login`.
pub async fn submit(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Result<Response, ApiError> {
    // Nobody shall be signed in by another site with a token that is not theirs.
    if !caller::same_origin(&headers, &state.config.public_url) {
        return Err(ApiError::Forbidden("Open the login page on this address and try again.".to_owned()));
    }
    let now = state.clock.now();
    let known = state.db.scope_for_token(&token_hash(form.token.trim())).await.or_problem()?;
    let Some((token, _)) = known else {
        let chrome = Chrome::new(&state, caller, &headers, "/login");
        let page =
            render(&LoginPage { chrome, problem: Some("login-unknown"), next: local_path(&form.next).to_owned() })?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let session = new_token(PREFIX);
    state.db.create_web_session(&token_hash(&session), token, now, now + SESSION).await.or_problem()?;
    let secure = caller::is_secure(&headers, &state.config.public_url);
    let cookie = set_cookie(secure, &session, SESSION.num_seconds())?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local_path(&form.next))).into_response())
}

/// `POST /logout`.
pub async fn logout(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(session) = web_session(&headers) {
        state.db.delete_web_session(&token_hash(session)).await.or_problem()?;
    }
    let mut response = Redirect::to("/login").into_response();
    response.headers_mut().append(header::SET_COOKIE, set_cookie(true, "", 0)?);
    response.headers_mut().append(header::SET_COOKIE, set_cookie(false, "", 0)?);
    Ok(response)
}

fn set_cookie(secure: bool, session: &str, max_age_secs: i64) -> Result<HeaderValue, ApiError> {
    let cookie = if secure {
        // Lax: a link to a build in a mail or a chat must open the build.
        format!("{HOST_COOKIE}={session}; Path=/; Max-Age={max_age_secs}; HttpOnly; Secure; SameSite=Lax")
    } else {
        format!("{PLAIN_COOKIE}={session}; Path=/; Max-Age={max_age_secs}; HttpOnly; SameSite=Strict")
    };
    HeaderValue::from_str(&cookie).map_err(ApiError::internal)
}

/// Only paths of this service: nobody is sent elsewhere after signing in. Visible ASCII, as a header can hold it.
pub fn local_path(next: &str) -> &str {
    let safe = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.chars().all(|c| c.is_ascii_graphic());
    if safe { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_followed() {
        assert_eq!(local_path("/builds/1?x=2"), "/builds/1?x=2");
        for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "builds"] {
            assert_eq!(local_path(elsewhere), "/", "{elsewhere:?}");
        }
        for no_header in ["/项目", "/caf\u{e9}", "/a b", "/a\u{7f}", "/\u{a0}"] {
            assert_eq!(local_path(no_header), "/", "{no_header:?}");
        }
        assert_eq!(login_url("/builds/1?a=b&c"), "/login?next=%2Fbuilds%2F1%3Fa%3Db%26c");
    }
}
