//! Deploy keys of a repository on Gitea and Forgejo.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::compare::PER_PAGE;
use crate::api::pages::{Bound, numbered};
use crate::api::rest::{address, delete, read, send, two_parts};
use crate::deploy_keys::{DeployKey, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Key {
    id: u64,
    key: String,
    #[serde(default)]
    read_only: bool,
}

#[derive(Deserialize)]
struct Made {
    id: u64,
}

/// `GET /repos/{owner}/{repo}/keys`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<DeployKey>, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let limit = PER_PAGE.to_string();
    let found = numbered::<Key>(transport, Bound { per_page: PER_PAGE, max_pages: MAX_PAGES }, |page| {
        address(transport, ["repos", owner, name, "keys"], &[("page", page), ("limit", &limit)])
    });
    let ours = |key: Key| DeployKey { id: key.id.to_string(), text: key.key, writes: !key.read_only };
    Ok(found.await?.items.into_iter().map(ours).collect())
}

/// `POST /repos/{owner}/{repo}/keys`.
pub(crate) async fn add(transport: &Transport, repo: &str, title: &str, text: &str) -> Result<String, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "keys"], &[])?;
    let body = json!({"title": title, "key": text, "read_only": true});
    Ok(read::<Made>(&send(transport, Method::POST, url, &body).await?)?.id.to_string())
}

/// `DELETE /repos/{owner}/{repo}/keys/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let [owner, name] = two_parts(repo)?;
    delete(transport, address(transport, ["repos", owner, name, "keys", id], &[])?).await
}
