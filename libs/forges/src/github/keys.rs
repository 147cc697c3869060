//! Deploy keys on GitHub.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::call::{call, pages, route};
use super::client::owner_and_name;
use crate::api::pages::Bound;
use crate::api::rest::read;
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
    let (owner, name) = owner_and_name(repo)?;
    let bound = Bound { per_page: 100, max_pages: MAX_PAGES };
    let found = pages::<Key>(transport, bound, &["repos", owner, name, "keys"]).await?;
    let ours = |key: Key| DeployKey { id: key.id.to_string(), text: key.key, writes: !key.read_only };
    Ok(found.items.into_iter().map(ours).collect())
}

/// `POST /repos/{owner}/{repo}/keys`.
pub(crate) async fn add(transport: &Transport, repo: &str, title: &str, text: &str) -> Result<String, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let body = json!({"title": title, "key": text, "read_only": true});
    let answer = call(transport, Method::POST, route(["repos", owner, name, "keys"], &[])?, Some(&body)).await?;
    Ok(read::<Made>(&answer)?.id.to_string())
}

/// `DELETE /repos/{owner}/{repo}/keys/{id}`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let route = route(["repos", owner, name, "keys", id], &[])?;
    call(transport, Method::DELETE, route, None::<&()>).await.map(|_| ())
}
