//! Files at a commit (`GET /repos/{owner}/{repo}/contents/{path}?ref=`, raw form).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use octocrab::Octocrab;
use octocrab::params::repos::Commitish;
use serde::Deserialize;
use url::Url;

use super::client::{client, owner_and_name, sort};
use crate::contents::{FileAt, text};
use crate::transport::{ForgeError, Transport, message_of, refusal};

/// The JSON form of an entry, which some servers send whatever we accept.
#[derive(Deserialize)]
struct Entry {
    encoding: String,
    content: String,
}

pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let (owner, name) = owner_and_name(file.repo)?;
    let crab = client(transport);
    let response = crab
        .repos(owner, name)
        .raw_file(Commitish(file.commit.to_owned()), escaped(file.path)?)
        .await
        .map_err(|e| failed(e, transport))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| failed(e, transport))?.to_bytes();
    match parts.status {
        StatusCode::NOT_FOUND => sees_commit(&crab, transport, file).await.map(|()| None),
        status if !status.is_success() => {
            Err(refusal(status, &parts.headers, &message_of(&body), transport.clock.now()))
        }
        _ if is_json(&parts.headers) => from_json(&body),
        _ => text(body.to_vec()).map(Some),
    }
}

/// GitHub answers 404 for a missing file, and also for everything that the token may not see. Only if the
/// commit is visible is the file really missing.
async fn sees_commit(crab: &Octocrab, transport: &Transport, file: &FileAt<'_>) -> Result<(), ForgeError> {
    let route = format!("/repos/{}/git/commits/{}", file.repo, file.commit);
    let response = crab._get(route).await.map_err(|e| failed(e, transport))?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(refusal(response.status(), response.headers(), "", transport.clock.now()))
}

/// A directory comes as a list and a submodule as an object without content: neither is the file.
fn from_json(body: &[u8]) -> Result<Option<String>, ForgeError> {
    let Ok(entry) = serde_json::from_slice::<Entry>(body) else { return Ok(None) };
    let unreadable = || ForgeError::Invalid("the file's content is in a form that we do not read".to_owned());
    if entry.encoding != "base64" {
        return Err(unreadable());
    }
    let digits: String = entry.content.split_ascii_whitespace().collect();
    text(STANDARD.decode(digits).map_err(|_| unreadable())?).map(Some)
}

/// Raw files come as `application/vnd.github.v3.raw; charset=utf-8`, everything else as JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.contains("json") && !content_type.contains("raw")
}

/// octocrab puts the path into the address as it is.
pub(super) fn escaped(path: &str) -> Result<String, ForgeError> {
    let invalid = || ForgeError::Invalid("the path cannot stand in an address".to_owned());
    let mut url = Url::parse("http://path.invalid/").map_err(|_| invalid())?;
    url.path_segments_mut().map_err(|()| invalid())?.clear().extend(path.split('/'));
    Ok(url.path().trim_start_matches('/').to_owned())
}

pub(super) fn failed(e: octocrab::Error, transport: &Transport) -> ForgeError {
    match sort(e, transport) {
        Err(e) => e,
        Ok(()) => ForgeError::Transient("its answer is not what GitHub sends".to_owned()),
    }
}
