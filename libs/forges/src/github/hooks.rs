//! Webhooks on GitHub.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{call, pages, route};
use super::client::owner_and_name;
use crate::api::pages::Bound;
use crate::transport::{ForgeError, Transport};
use crate::webhooks::{HookSpec, MAX_PAGES, RemoteHook, failed, missing};

const EVENTS: [&str; 5] = ["push", "pull_request", "create", "delete", "release"];

#[derive(Deserialize)]
struct Hook {
    id: u64,
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    config: Config,
    last_response: Option<LastResponse>,
}

#[derive(Deserialize)]
struct Config {
    url: Option<String>,
}

#[derive(Deserialize)]
struct LastResponse {
    code: Option<i64>,
    message: Option<String>,
}

/// `GET /repos/{owner}/{repo}/hooks`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<RemoteHook>, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let bound = Bound { per_page: 100, max_pages: MAX_PAGES };
    let found = pages::<Hook>(transport, bound, &["repos", owner, name, "hooks"]).await?;
    Ok(found.items.into_iter().map(Hook::ours).collect())
}

/// `POST /repos/{owner}/{repo}/hooks`.
pub(crate) async fn make(transport: &Transport, repo: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let mut body = wanted(spec);
    body["name"] = "web".into();
    call(transport, Method::POST, route(["repos", owner, name, "hooks"], &[])?, Some(&body)).await.map(|_| ())
}

/// `PATCH /repos/{owner}/{repo}/hooks/{id}`.
pub(crate) async fn set(transport: &Transport, repo: &str, id: &str, spec: &HookSpec) -> Result<(), ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let route = route(["repos", owner, name, "hooks", id], &[])?;
    call(transport, Method::PATCH, route, Some(&wanted(spec))).await.map(|_| ())
}

/// `DELETE /repos/{owner}/{repo}/hooks/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let route = route(["repos", owner, name, "hooks", id], &[])?;
    call(transport, Method::DELETE, route, None::<&()>).await.map(|_| ())
}

/// The configuration is replaced as a whole; without a content type it would be a form.
fn wanted(spec: &HookSpec) -> Value {
    json!({
        "active": true,
        "events": EVENTS,
        "config": {"url": spec.url, "content_type": "json", "secret": spec.secret, "insecure_ssl": "0"}
    })
}

impl Hook {
    fn ours(self) -> RemoteHook {
        let all = self.events.iter().any(|event| event == "*");
        let last = self.last_response;
        RemoteHook {
            id: self.id.to_string(),
            url: self.config.url.unwrap_or_default(),
            active: self.active,
            missing_events: missing(&EVENTS, |wanted| all || self.events.iter().any(|event| event == wanted)),
            last_error: last.and_then(|last| failed(last.code, last.message.as_deref())),
        }
    }
}
