//! Access keys of a repository on Bitbucket Data Center.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::pages::pages;
use crate::api::rest::{address, delete, read, send, two_parts};
use crate::deploy_keys::{DeployKey, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

const READ: &str = "REPO_READ";

#[derive(Deserialize)]
struct Access {
    key: Key,
    permission: String,
}

#[derive(Deserialize)]
struct Key {
    id: u64,
    text: String,
}

/// `GET /keys/1.0/projects/{key}/repos/{slug}/ssh`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<DeployKey>, ForgeError> {
    let found = pages::<Access>(transport, MAX_PAGES, &segments(repo)?, &[]).await?;
    let ours = |Access { key, permission }: Access| DeployKey {
        id: key.id.to_string(),
        text: key.text,
        writes: permission != READ,
    };
    Ok(found.items.into_iter().map(ours).collect())
}

/// `POST /keys/1.0/projects/{key}/repos/{slug}/ssh`.
pub(crate) async fn add(transport: &Transport, repo: &str, title: &str, text: &str) -> Result<String, ForgeError> {
    let body = json!({"key": {"text": text, "label": title}, "permission": READ});
    let answer = send(transport, Method::POST, address(transport, segments(repo)?, &[])?, &body).await?;
    Ok(read::<Access>(&answer)?.key.id.to_string())
}

/// `DELETE /keys/1.0/projects/{key}/repos/{slug}/ssh/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    delete(transport, address(transport, segments(repo)?.into_iter().chain([id]), &[])?).await
}

fn segments(repo: &str) -> Result<[&str; 7], ForgeError> {
    let [key, slug] = two_parts(repo)?;
    Ok(["keys", "1.0", "projects", key, "repos", slug, "ssh"])
}
