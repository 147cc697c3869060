//! Calls to the API of Gitea and Forgejo (<https://docs.gitea.com/api/>, version 1).

use http::Method;
use serde::{Deserialize, Serialize};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;

use crate::api::rest::{absent, address, file_or_none, get, read, send, two_parts};
use crate::contents::{FileAt, text};
use crate::status::{CommitStatus, StatusSent, cut};
use crate::transport::{ForgeError, Transport};

/// Longest context and description that we send; Gitea itself has no limit.
const MAX_FIELD_CHARS: usize = 255;

#[derive(Serialize)]
struct Status<'a> {
    state: &'static str,
    context: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
}

#[derive(Deserialize)]
struct Branch {
    commit: BranchCommit,
}

#[derive(Deserialize)]
struct BranchCommit {
    id: String,
}

#[derive(Deserialize)]
struct Tag {
    commit: TagCommit,
}

#[derive(Deserialize)]
struct TagCommit {
    sha: String,
}

/// Gitea's word for our state. It has none for running and cancelled, and `skipped` only lately.
pub(crate) fn word(state: BuildState) -> &'static str {
    match state {
        BuildState::Pending | BuildState::Running => "pending",
        BuildState::Succeeded | BuildState::Skipped => "success",
        BuildState::Failed | BuildState::Cancelled | BuildState::Superseded => "failure",
        BuildState::Errored => "error",
    }
}

/// `POST /repos/{owner}/{repo}/statuses/{sha}`: the newest of a context counts.
pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let [owner, name] = two_parts(&status.repo)?;
    let body = Status {
        state: word(status.state),
        context: cut(&status.context, MAX_FIELD_CHARS),
        description: cut(&status.description, MAX_FIELD_CHARS),
        target_url: status.target_url.as_deref(),
    };
    let url = address(transport, ["repos", owner, name, "statuses", &status.commit], &[])?;
    send(transport, Method::POST, url, &body).await?;
    Ok(StatusSent { pipeline_id: None })
}

/// `GET /repos/{owner}/{repo}/raw/{path}?ref={sha}`, which is the file itself.
pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let [owner, name] = two_parts(file.repo)?;
    let raw = ["repos", owner, name, "raw"].into_iter().chain(file.path.split('/'));
    let commit = address(transport, ["repos", owner, name, "git", "commits", file.commit], &[("stat", "false")])?;
    let found = get(transport, address(transport, raw, &[("ref", file.commit)])?).await;
    match file_or_none(found, get(transport, commit)).await? {
        Some(answer) => text(answer.body.to_vec()).map(Some),
        None => Ok(None),
    }
}

/// `GET /repos/{owner}/{repo}/branches/{name}` and `…/tags/{name}`; slashes of the name stay slashes.
pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let of = |kind: &'static str, short: &str| {
        address(transport, ["repos", owner, name, kind].into_iter().chain(short.split('/')), &[])
    };
    if let Some(branch) = git_ref.branch() {
        let Some(answer) = absent(get(transport, of("branches", branch)?).await)? else { return Ok(None) };
        return Ok(Some(read::<Branch>(&answer)?.commit.id));
    }
    let Some(tag) = git_ref.tag() else { return Ok(None) };
    let Some(answer) = absent(get(transport, of("tags", tag)?).await)? else { return Ok(None) };
    Ok(Some(read::<Tag>(&answer)?.commit.sha))
}
