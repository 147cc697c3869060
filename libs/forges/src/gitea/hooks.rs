//! Webhooks of a repository on Gitea and Forgejo.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::compare::PER_PAGE;
use crate::api::pages::{Bound, numbered};
use crate::api::rest::{address, delete, send, two_parts};
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HookSpec, MAX_PAGES, RemoteHook, missing};

const EVENTS: [&str; 6] = ["push", "create", "delete", "pull_request", "pull_request_sync", "release"];

#[derive(Deserialize)]
struct Hook {
    id: u64,
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

/// `GET /repos/{owner}/{repo}/hooks`. How deliveries went is not told.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let limit = PER_PAGE.to_string();
    let found = numbered::<Hook>(transport, Bound { per_page: PER_PAGE, max_pages: MAX_PAGES }, |page| {
        address(transport, ["repos", owner, name, "hooks"], &[("page", page), ("limit", &limit)])
    });
    Ok(found.await?.items.into_iter().map(Hook::ours).collect())
}

/// `POST /repos/{owner}/{repo}/hooks`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let mut body = wanted(spec);
    body["type"] = "gitea".into();
    let url = address(transport, ["repos", owner, name, "hooks"], &[])?;
    send(transport, Method::POST, url, &body).await.map(|_| ())
}

/// `PATCH /repos/{owner}/{repo}/hooks/{id}`. Not confirmed is since which version it takes a new secret; one that
/// does not needs the hook to be removed first.
pub(crate) async fn set(transport: &Transport, repo: &str, id: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "hooks", id], &[])?;
    send(transport, Method::PATCH, url, &wanted(spec)).await.map(|_| ())
}

/// `DELETE /repos/{owner}/{repo}/hooks/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let [owner, name] = two_parts(repo)?;
    delete(transport, address(transport, ["repos", owner, name, "hooks", id], &[])?).await
}

fn wanted(spec: &HookSpec) -> Value {
    json!({
        "active": true, "events": EVENTS, "branch_filter": "*",
        "config": {"url": spec.url, "content_type": "json", "secret": spec.secret}
    })
}

impl Hook {
    fn ours(mut self) -> RemoteHook {
        RemoteHook {
            id: self.id.to_string(),
            url: self.config.remove("url").unwrap_or_default(),
            active: self.active,
            missing_events: missing(&EVENTS, |wanted| self.events.iter().any(|event| event == wanted)),
            last_error: None,
        }
    }
}
