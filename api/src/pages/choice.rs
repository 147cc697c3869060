//! What readers choose about the pages: forms in the footer of every page that lead back to that page. A choice is kept in
//! a cookie, which says nothing else about who chose.

use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue, header};
use slipway_runtime::problem::ApiError;
use url::Url;

use crate::caller;
use crate::pages::login::local_path;
use crate::state::ApiState;

/// A choice is kept for this long.
const KEPT: TimeDelta = TimeDelta::days(365);

/// What was chosen.
pub struct Choice<'a> {
    /// The cookie that keeps it.
    pub cookie: &'static str,
    /// One of the cookie's values.
    pub value: &'static str,
    /// Where to go on; empty is the page that the form was on.
    pub next: &'a str,
}

/// Answers a form of a page of ours: keeps the choice, and leads back.
pub fn keep(state: &ApiState, headers: &HeaderMap, choice: Choice<'_>) -> Result<Response, ApiError> {
    if !caller::same_origin(headers, &state.config.public_url) {
        return Err(ApiError::Forbidden("Choose this on a page of this address.".to_owned()));
    }
    let Choice { cookie, value, next } = choice;
    let secure = if caller::is_secure(headers, &state.config.public_url) { "; Secure" } else { "" };
    let secs = KEPT.num_seconds();
    let cookie = format!("{cookie}={value}; Path=/; Max-Age={secs}; HttpOnly; SameSite=Lax{secure}");
    let cookie = HeaderValue::from_str(&cookie).map_err(ApiError::internal)?;
    let came_from = came_from(headers);
    let next = if next.is_empty() { came_from.as_str() } else { next };
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local_path(next))).into_response())
}

/// The path of the page that the form was on: browsers name it to its own origin. Whatever host is named, only the path is taken.
fn came_from(headers: &HeaderMap) -> String {
    let page = headers.get(header::REFERER).and_then(|value| Url::parse(value.to_str().ok()?).ok());
    page.map(|page| page[url::Position::BeforePath..url::Position::AfterQuery].to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_a_path_of_ours() {
        for (page, wanted) in [
            ("http://ci.example.org/deliveries?state=done#x", "/deliveries?state=done"),
            ("https://evil.example/builds/1", "/builds/1"),
            ("https://evil.example//evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("data:text/html,x", "/"),
            ("no url", "/"),
        ] {
            let headers = HeaderMap::from_iter([(header::REFERER, HeaderValue::from_static(page))]);
            assert_eq!(local_path(&came_from(&headers)), wanted, "{page}");
        }
        assert_eq!(local_path(&came_from(&HeaderMap::new())), "/");
    }
}
