//! Access keys of a repository on Bitbucket Cloud, which can only read.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::pages::pages;
use crate::api::rest::{address, delete, read, send, two_parts};
use crate::deploy_keys::{DeployKey, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Key {
    id: u64,
    key: String,
}

/// `GET /repositories/{workspace}/{slug}/deploy-keys`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<DeployKey>, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let segments = ["repositories", workspace, slug, "deploy-keys"];
    let found = pages::<Key>(transport, MAX_PAGES, &segments, &[]).await?;
    let ours = |key: Key| DeployKey { id: key.id.to_string(), text: key.key, writes: false };
    Ok(found.items.into_iter().map(ours).collect())
}

/// `POST /repositories/{workspace}/{slug}/deploy-keys`.
pub(crate) async fn add(transport: &Transport, repo: &str, title: &str, text: &str) -> Result<String, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let url = address(transport, ["repositories", workspace, slug, "deploy-keys"], &[])?;
    let answer = send(transport, Method::POST, url, &json!({"label": title, "key": text})).await?;
    Ok(read::<Key>(&answer)?.id.to_string())
}

/// `DELETE /repositories/{workspace}/{slug}/deploy-keys/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    delete(transport, address(transport, ["repositories", workspace, slug, "deploy-keys", id], &[])?).await
}
