//! Deploy keys of a project on GitLab.

use gitlab::api::projects::deploy_keys::{CreateDeployKey, DeleteDeployKey, DeployKeys};
use gitlab::api::{Pagination, ignore, paged};
use serde::Deserialize;

use super::client::{not_buildable, query};
use crate::deploy_keys::{DeployKey, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Key {
    id: u64,
    key: String,
    #[serde(default)]
    can_push: bool,
}

#[derive(Deserialize)]
struct Made {
    id: u64,
}

/// `GET /projects/:id/deploy_keys`.
pub(crate) async fn list(transport: &Transport, repo: &str) -> Result<Vec<DeployKey>, ForgeError> {
    let request = DeployKeys::builder().project(repo).build().map_err(not_buildable)?;
    let found: Vec<Key> = query(transport, paged(request, Pagination::Limit(MAX_PAGES * 100))).await?;
    let ours = |key: Key| DeployKey { id: key.id.to_string(), text: key.key, writes: key.can_push };
    Ok(found.into_iter().map(ours).collect())
}

/// `POST /projects/:id/deploy_keys`. A key that another project has is shared with this one.
pub(crate) async fn add(transport: &Transport, repo: &str, title: &str, text: &str) -> Result<String, ForgeError> {
    let request = CreateDeployKey::builder().project(repo).title(title).key(text).can_push(false).build();
    Ok(query::<Made, _>(transport, request.map_err(not_buildable)?).await?.id.to_string())
}

/// `DELETE /projects/:id/deploy_keys/:key_id`.
pub(crate) async fn remove(transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let id = id.parse().map_err(|_| ForgeError::Invalid("the key's id is not a number".to_owned()))?;
    let request = DeleteDeployKey::builder().project(repo).deploy_key(id).build().map_err(not_buildable)?;
    query(transport, ignore(request)).await
}
