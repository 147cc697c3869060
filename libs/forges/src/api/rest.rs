//! Plain HTTP calls on our own transport, for the forges that have no client crate.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::transport::{Answer, Call, ForgeError, Transport, message_of, refusal};

/// An address under the API's base. Each segment is escaped, slashes in it included.
pub(crate) fn address<'a>(
    transport: &Transport,
    segments: impl IntoIterator<Item = &'a str>,
    query: &[(&str, &str)],
) -> Result<Url, ForgeError> {
    let mut url = transport.base.clone();
    url.path_segments_mut()
        .map_err(|()| ForgeError::Invalid("the forge's address can have no path".to_owned()))?
        .pop_if_empty()
        .extend(segments);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// The two parts of a repository's path, checked; `~` begins the key of a person's own project on Data Center.
pub(crate) fn two_parts(repo: &str) -> Result<[&str; 2], ForgeError> {
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~'))
    };
    match repo.split_once('/') {
        Some((first, second)) if plain(first) && plain(second) => Ok([first, second]),
        _ => Err(ForgeError::Invalid("the repository's path is not two names with a slash between them".to_owned())),
    }
}

/// Reads; an answer other than success is already our error.
pub(crate) async fn get(transport: &Transport, url: Url) -> Result<Answer, ForgeError> {
    call(transport, Call { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }).await
}

/// Sends a JSON body; an answer other than success is already our error.
pub(crate) async fn send(
    transport: &Transport,
    method: Method,
    url: Url,
    body: &impl Serialize,
) -> Result<Answer, ForgeError> {
    let body = serde_json::to_vec(body).map_err(|_| ForgeError::Invalid("the request has no JSON form".to_owned()))?;
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    call(transport, Call { method, url, headers, body: body.into() }).await
}

/// Removes what is at this address; an answer other than success is already our error.
pub(crate) async fn delete(transport: &Transport, url: Url) -> Result<(), ForgeError> {
    call(transport, Call { method: Method::DELETE, url, headers: HeaderMap::new(), body: Bytes::new() })
        .await
        .map(|_| ())
}

async fn call(transport: &Transport, call: Call) -> Result<Answer, ForgeError> {
    let answer = transport.send(call).await?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    Err(refusal(answer.status, &answer.headers, &message_of(&answer.body), transport.clock.now()))
}

/// What we need of a JSON answer.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ForgeError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| ForgeError::Transient("its answer is not what this forge sends".to_owned()))
}

/// What the forge does not have, or does not show, is none.
pub(crate) fn absent<T>(found: Result<T, ForgeError>) -> Result<Option<T>, ForgeError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(ForgeError::NotFound(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Forges answer 404 for a missing file, and also for everything that the token may not see. Only where the
/// commit is shown is the file really missing.
pub(crate) async fn file_or_none<T, C>(
    found: Result<T, ForgeError>,
    commit: impl Future<Output = Result<C, ForgeError>>,
) -> Result<Option<T>, ForgeError> {
    match absent(found)? {
        Some(found) => Ok(Some(found)),
        None => commit.await.map(|_| None),
    }
}
