//! Webhooks of a repository on Bitbucket Cloud.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::pages::pages;
use crate::api::rest::{address, delete, send, two_parts};
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HOOK_NAME, HookSpec, MAX_PAGES, RemoteHook, missing};

const EVENTS: [&str; 5] =
    ["repo:push", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected"];

#[derive(Deserialize)]
struct Hook {
    uuid: String,
    url: String,
    active: bool,
    #[serde(default)]
    events: Vec<String>,
}

/// `GET /repositories/{workspace}/{slug}/hooks`. How deliveries went is not told.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let found = pages::<Hook>(transport, MAX_PAGES, &["repositories", workspace, slug, "hooks"], &[]).await?;
    Ok(found.items.into_iter().map(Hook::ours).collect())
}

/// `POST /repositories/{workspace}/{slug}/hooks`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let url = address(transport, ["repositories", workspace, slug, "hooks"], &[])?;
    send(transport, Method::POST, url, &wanted(spec)).await.map(|_| ())
}

/// `PUT /repositories/{workspace}/{slug}/hooks/{uuid}`.
pub(crate) async fn set(transport: &Transport, repo: &str, id: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let url = address(transport, ["repositories", workspace, slug, "hooks", id], &[])?;
    send(transport, Method::PUT, url, &wanted(spec)).await.map(|_| ())
}

/// `DELETE /repositories/{workspace}/{slug}/hooks/{uuid}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    delete(transport, address(transport, ["repositories", workspace, slug, "hooks", id], &[])?).await
}

fn wanted(spec: &HookSpec) -> Value {
    json!({"description": HOOK_NAME, "url": spec.url, "active": true, "secret": spec.secret, "events": EVENTS})
}

impl Hook {
    fn ours(self) -> RemoteHook {
        RemoteHook {
            id: self.uuid,
            url: self.url,
            active: self.active,
            missing_events: missing(&EVENTS, |wanted| self.events.iter().any(|event| event == wanted)),
            last_error: None,
        }
    }
}
