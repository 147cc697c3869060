//! Calls through octocrab's client with our own small types, where its own demand more of an answer than we read.

use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::client::client;
use super::contents::failed;
use crate::api::pages::{Bound, Listed, has_more};
use crate::api::rest::read;
use crate::transport::{Answer, ForgeError, Transport, message_of, refusal};

/// A path with its query; each segment is escaped, slashes in it included.
pub(super) fn route<'a>(
    segments: impl IntoIterator<Item = &'a str>,
    query: &[(&str, &str)],
) -> Result<String, ForgeError> {
    let invalid = || ForgeError::Invalid("the path cannot stand in an address".to_owned());
    let mut url = Url::parse("http://path.invalid/").map_err(|_| invalid())?;
    url.path_segments_mut().map_err(|()| invalid())?.clear().extend(segments);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
}

/// Reads; an answer other than success is already our error.
pub(super) async fn get(transport: &Transport, route: String) -> Result<Answer, ForgeError> {
    call(transport, Method::GET, route, None::<&()>).await
}

/// Reads a list, at most so many pages of it.
pub(super) async fn pages<T: DeserializeOwned>(
    transport: &Transport,
    bound: Bound,
    segments: &[&str],
) -> Result<Listed<T>, ForgeError> {
    let mut items = Vec::new();
    for page in 1..=bound.max_pages {
        let query = [("per_page", bound.per_page.to_string()), ("page", page.to_string())];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = get(transport, route(segments.iter().copied(), &query)?).await?;
        let found: Vec<T> = read(&answer)?;
        let more = has_more(&answer, found.len(), bound.per_page);
        items.extend(found);
        if !more {
            return Ok(Listed { items, cut: false });
        }
    }
    Ok(Listed { items, cut: true })
}

/// Asks for something to be done, with a JSON body where there is one; an answer other than success is already our
/// error.
pub(super) async fn call<B: Serialize + ?Sized>(
    transport: &Transport,
    method: Method,
    route: String,
    body: Option<&B>,
) -> Result<Answer, ForgeError> {
    let crab = client(transport);
    let request = crab.build_request(Request::builder().method(method).uri(route), body);
    let response = crab.execute(request.map_err(|e| failed(e, transport))?).await;
    let (parts, body) = response.map_err(|e| failed(e, transport))?.into_parts();
    let body = body.collect().await.map_err(|e| failed(e, transport))?.to_bytes();
    if !parts.status.is_success() {
        return Err(refusal(parts.status, &parts.headers, &message_of(&body), transport.clock.now()));
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
