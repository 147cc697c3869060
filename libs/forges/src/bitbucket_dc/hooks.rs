//! Webhooks of a repository on Bitbucket Data Center.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::in_repo;
use super::pages::pages;
use crate::api::rest::{absent, address, delete, get, read, send};
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HOOK_NAME, HookSpec, MAX_PAGES, RemoteHook, failed, missing, one_line};

const EVENTS: [&str; 7] =
    ["repo:refs_changed", "pr:opened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted"];

#[derive(Deserialize)]
struct Hook {
    id: u64,
    url: String,
    active: bool,
    #[serde(default)]
    events: Vec<String>,
}

#[derive(Deserialize)]
struct Delivery {
    result: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    /// `SUCCESS`, `FAILURE` (an answer other than success) or `ERROR` (none).
    outcome: String,
    description: Option<String>,
}

/// `GET …/webhooks`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let segments: Vec<&str> = in_repo(repo)?.into_iter().chain(["webhooks"]).collect();
    let found = pages::<Hook>(transport, MAX_PAGES, &segments, &[]).await?;
    Ok(found.items.into_iter().map(Hook::ours).collect())
}

/// `GET …/webhooks/{id}/latest`: how the newest delivery went, which is told for a while.
pub(crate) async fn last_error(transport: &Transport, repo: &str, id: &str) -> Result<Option<String>, ForgeError> {
    let url = address(transport, in_repo(repo)?.into_iter().chain(["webhooks", id, "latest"]), &[])?;
    // Without a delivery there is an answer without a body.
    let Some(answer) = absent(get(transport, url).await)? else { return Ok(None) };
    let Ok(Delivery { result }) = read(&answer) else { return Ok(None) };
    if result.outcome == "SUCCESS" {
        return Ok(None);
    }
    let description = result.description.unwrap_or_else(|| result.outcome.to_lowercase());
    Ok(Some(failed(description.parse().ok(), None).unwrap_or_else(|| one_line(&description))))
}

/// `POST …/webhooks`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let url = address(transport, in_repo(repo)?.into_iter().chain(["webhooks"]), &[])?;
    send(transport, Method::POST, url, &wanted(spec)).await.map(|_| ())
}

/// `PUT …/webhooks/{id}`.
pub(crate) async fn set(transport: &Transport, repo: &str, id: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let url = address(transport, in_repo(repo)?.into_iter().chain(["webhooks", id]), &[])?;
    send(transport, Method::PUT, url, &wanted(spec)).await.map(|_| ())
}

/// `DELETE …/webhooks/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    delete(transport, address(transport, in_repo(repo)?.into_iter().chain(["webhooks", id]), &[])?).await
}

fn wanted(spec: &HookSpec) -> Value {
    json!({
        "name": HOOK_NAME, "url": spec.url, "active": true, "events": EVENTS,
        "configuration": {"secret": spec.secret}, "sslVerificationRequired": true
    })
}

impl Hook {
    fn ours(self) -> RemoteHook {
        RemoteHook {
            id: self.id.to_string(),
            url: self.url,
            active: self.active,
            missing_events: missing(&EVENTS, |wanted| self.events.iter().any(|event| event == wanted)),
            last_error: None,
        }
    }
}
