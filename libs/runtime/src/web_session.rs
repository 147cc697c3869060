//! The cookie by which a browser is signed in. Read by every service that answers browsers, set by api.

use http::{HeaderMap, header};

/// Over https and loopback: the browser itself keeps other hosts and paths away from it.
pub const HOST_COOKIE: &str = "__Host-slipway";
/// Over other http, where browsers take no secure cookie.
pub const PLAIN_COOKIE: &str = "slipway_plain";

/// The session of a request, if it carries one. What it may do is decided by `store`.
pub fn web_session(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, HOST_COOKIE).or_else(|| cookie(headers, PLAIN_COOKIE))
}

/// The first value of the cookie `wanted` that is not empty.
pub fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == wanted && !value.is_empty())
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_host_cookie_wins_and_others_are_ignored() {
        let mut headers = HeaderMap::new();
        assert_eq!(web_session(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; slipway_plain=weak; x__Host-slipway=no"));
        assert_eq!(web_session(&headers), Some("weak"));
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-slipway=strong"));
        assert_eq!(web_session(&headers), Some("strong"));
    }
}
