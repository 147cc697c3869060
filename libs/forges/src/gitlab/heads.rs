//! The commit of a branch or tag (`GET /projects/:id/repository/branches/:branch`, `…/tags/:tag`).

use gitlab::api::projects::repository::branches::Branch;
use gitlab::api::projects::repository::tags::Tag;
use gitlab::api::{ApiError, AsyncQuery as _};
use serde::Deserialize;
use slipway_domain::git_ref::GitRef;

use super::client::{Client, sort};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Named {
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    let invalid = || ForgeError::Invalid("the ref cannot be asked for".to_owned());
    let client = Client(transport);
    let answer: Result<Named, ApiError<ForgeError>> = if let Some(branch) = git_ref.branch() {
        let request = Branch::builder().project(repo).branch(branch).build().map_err(|_| invalid())?;
        request.query_async(&client).await
    } else if let Some(tag) = git_ref.tag() {
        let request = Tag::builder().project(repo).tag_name(tag).build().map_err(|_| invalid())?;
        request.query_async(&client).await
    } else {
        return Ok(None);
    };
    match answer.map_err(sort) {
        Ok(named) => Ok(Some(named.commit.id)),
        Err(Err(ForgeError::NotFound(_))) => Ok(None),
        Err(Err(e)) => Err(e),
        Err(Ok(())) => Err(ForgeError::Transient("its answer is not what GitLab sends".to_owned())),
    }
}
