//! The commit of a ref (`GET /repos/{owner}/{repo}/commits/{ref}`); annotated tags are peeled.

use http::StatusCode;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use slipway_domain::git_ref::GitRef;

use super::client::{client, owner_and_name};
use super::contents::{escaped, failed};
use crate::transport::{ForgeError, Transport, message_of, refusal};

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    // GitHub wants `heads/main` and `tags/v1`, so that a branch and a tag of one name are told apart.
    let short = git_ref.as_str().trim_start_matches("refs/");
    let route = format!("/repos/{owner}/{name}/commits/{}", escaped(short)?);
    let response = client(transport)._get(route).await.map_err(|e| failed(e, transport))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| failed(e, transport))?.to_bytes();
    match parts.status {
        // 422 is "No commit found for SHA".
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
        status if !status.is_success() => {
            Err(refusal(status, &parts.headers, &message_of(&body), transport.clock.now()))
        }
        _ => serde_json::from_slice::<Commit>(&body)
            .map(|commit| Some(commit.sha))
            .map_err(|_| ForgeError::Transient("its answer is not what GitHub sends".to_owned())),
    }
}
