//! Webhooks of a repository on Gitee, as its reference tells; they cannot be switched off.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::compare::PER_PAGE;
use crate::api::pages::{Bound, numbered};
use crate::api::rest::{address, delete, send, two_parts};
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HookSpec, MAX_PAGES, RemoteHook, failed, missing};

const EVENTS: [&str; 3] = ["push_events", "tag_push_events", "merge_requests_events"];
/// The password signs, instead of being sent along.
const SIGNATURE: u8 = 1;

/// The answer has the password, too, which is not read.
#[derive(Deserialize)]
struct Hook {
    id: u64,
    url: String,
    #[serde(default)]
    push_events: bool,
    #[serde(default)]
    tag_push_events: bool,
    #[serde(default)]
    merge_requests_events: bool,
    /// Of the last delivery.
    result_code: Option<i64>,
    result: Option<String>,
}

/// `GET /repos/{owner}/{repo}/hooks`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let limit = PER_PAGE.to_string();
    let found = numbered::<Hook>(transport, Bound { per_page: PER_PAGE, max_pages: MAX_PAGES }, |page| {
        address(transport, ["repos", owner, name, "hooks"], &[("page", page), ("per_page", &limit)])
    });
    Ok(found.await?.items.into_iter().map(Hook::ours).collect())
}

/// `POST /repos/{owner}/{repo}/hooks`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "hooks"], &[])?;
    send(transport, Method::POST, url, &wanted(spec)).await.map(|_| ())
}

/// `PATCH /repos/{owner}/{repo}/hooks/{id}`.
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
    let mut body = json!({"url": spec.url, "encryption_type": SIGNATURE, "password": spec.secret});
    for event in EVENTS {
        body[event] = true.into();
    }
    body
}

impl Hook {
    fn ours(self) -> RemoteHook {
        let has = |event: &str| match event {
            "push_events" => self.push_events,
            "tag_push_events" => self.tag_push_events,
            _ => self.merge_requests_events,
        };
        RemoteHook {
            id: self.id.to_string(),
            missing_events: missing(&EVENTS, has),
            url: self.url,
            active: true,
            // Before the first delivery the code is 0.
            last_error: failed(self.result_code.filter(|code| *code != 0), self.result.as_deref()),
        }
    }
}
