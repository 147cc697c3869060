//! Who asks: a bearer token or a browser's session becomes a `Scope`, once per request.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use slipway_domain::ids::{TenantId, TokenId};
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, bearer};
use slipway_runtime::web_session::web_session;
use slipway_store::scope::Scope;
use url::{Host, Url};

use crate::limits;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Who asks, as an extractor. Without a credential it is `Scope::Public`.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// What may be seen.
    pub scope: Scope,
    /// The token behind it.
    pub token: Option<TokenId>,
}

impl Caller {
    /// 401 for the public.
    pub fn signed_in(self) -> Result<Self, ApiError> {
        match self.scope {
            Scope::Operator | Scope::Member { .. } => Ok(self),
            Scope::Public => Err(ApiError::Unauthorized(
                "This needs a token: send it as \"Authorization: Bearer …\", or log in at /login.".to_owned(),
            )),
        }
    }

    /// 403 for everybody but an operator of the installation.
    pub fn operator(self) -> Result<Self, ApiError> {
        let caller = self.signed_in()?;
        if caller.scope.is_operator() {
            Ok(caller)
        } else {
            Err(ApiError::Forbidden("Only an operator of this installation may do this.".to_owned()))
        }
    }

    /// 403 unless the caller may change things of this tenant.
    pub fn may_write(self, tenant: TenantId) -> Result<Self, ApiError> {
        let caller = self.signed_in()?;
        if caller.scope.may_write(tenant) {
            Ok(caller)
        } else {
            Err(ApiError::Forbidden("Your token may only read here; ask for the role maintainer.".to_owned()))
        }
    }

    /// 403 unless the caller may handle credentials of this tenant.
    pub fn may_admin(self, tenant: TenantId) -> Result<Self, ApiError> {
        let caller = self.signed_in()?;
        if caller.scope.may_admin(tenant) {
            Ok(caller)
        } else {
            Err(ApiError::Forbidden("Only an owner of the tenant may do this.".to_owned()))
        }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        match parts.extensions.get::<Caller>() {
            Some(caller) => Ok(*caller),
            None => identify_headers(state, &parts.method, &parts.headers).await,
        }
    }
}

/// Middleware: finds out who asks, and whether that is too often, before anything else happens.
pub async fn identify(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match welcome(&state, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn welcome(state: &ApiState, parts: &Parts) -> Result<Caller, ApiError> {
    let caller = identify_headers(state, &parts.method, &parts.headers).await?;
    if !parts.method.is_safe() {
        limits::write(state, &caller.scope).await?;
    }
    Ok(caller)
}

async fn identify_headers(state: &ApiState, method: &Method, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let now = state.clock.now();
    if let Some(token) = bearer(headers) {
        let known = state.db.scope_for_token(&token_hash(token)).await.or_problem()?;
        let (token, scope) = known.ok_or_else(|| {
            ApiError::Unauthorized("This token is unknown or revoked. Make a new one, or log in again.".to_owned())
        })?;
        return Ok(Caller { scope, token: Some(token) });
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::Unauthorized("Write the header as \"Authorization: Bearer <token>\".".to_owned()));
    }
    if let Some(session) = web_session(headers)
        && let Some((token, scope)) = state.db.scope_for_web_session(&token_hash(session), now).await.or_problem()?
    {
        if !method.is_safe() && !same_origin(headers, &state.config.public_url) {
            return Err(ApiError::Forbidden(
                "The request comes from another site. Open the page on this address and try again.".to_owned(),
            ));
        }
        return Ok(Caller { scope, token: Some(token) });
    }
    Ok(Caller { scope: Scope::Public, token: None })
}

/// True if a browser sent this from one of our own pages. What says nothing about its origin is refused.
pub fn same_origin(headers: &HeaderMap, public_url: &Url) -> bool {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else {
        return text(header::HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
    };
    let Ok(origin) = Url::parse(origin) else { return false };
    if origin.origin() == public_url.origin() {
        return true;
    }
    let authority = match (origin.host_str(), origin.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return false,
    };
    text(header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(&authority))
}

/// True where browsers take a secure cookie: https, and loopback.
pub fn is_secure(headers: &HeaderMap, public_url: &Url) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(asked) = Url::parse(&format!("http://{host}/")) else { return false };
    let public_port = public_url.port();
    if asked.host() == public_url.host() && asked.port() == public_port && public_url.scheme() == "https" {
        return true;
    }
    match asked.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn only_our_own_pages_are_of_our_origin() {
        let public = Url::parse("https://ci.example.org/").expect("valid");
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[("origin", "https://ci.example.org")], true),
            (&[("origin", "https://ci.example.org:444")], false),
            (&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")], true),
            (&[("origin", "http://127.0.0.1:8081"), ("host", "127.0.0.1:8080")], false),
            (&[("origin", "https://evil.example.org"), ("sec-fetch-site", "same-origin")], false),
            (&[("origin", "null"), ("host", "ci.example.org")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
        ];
        for (pairs, wanted) in cases {
            let pairs: Vec<_> = pairs.to_vec();
            let map: HeaderMap = pairs
                .iter()
                .map(|(n, v)| (n.parse::<http::HeaderName>().expect("name"), HeaderValue::from_str(v).expect("value")))
                .collect();
            assert_eq!(same_origin(&map, &public), *wanted, "{pairs:?}");
        }
    }

    #[test]
    fn secure_cookies_go_where_browsers_take_them() {
        let public = Url::parse("https://ci.example.org/").expect("valid");
        for (host, wanted) in [
            ("ci.example.org", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("10.0.0.5:8080", false),
            ("other.example.org", false),
            ("", false),
        ] {
            assert_eq!(is_secure(&headers(&[("host", host)]), &public), wanted, "{host}");
        }
        let plain = Url::parse("http://ci.example.org/").expect("valid");
        assert!(!is_secure(&headers(&[("host", "ci.example.org")]), &plain));
    }
}
