//! Calls to CODING's Open API (<https://coding.net/help/openapi>): one address, the action in the body, errors in
//! answers that HTTP calls a success. As far as public clients of it tell
//! (<https://github.com/juanjiTech/coding-open-api-sdk>, <https://github.com/yankeguo/coding-node-client>); nothing
//! here was tried against the real one.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;

use crate::api::rest::{absent, address, file_or_none, read, send};
use crate::contents::FileAt;
use crate::status::{CommitStatus, StatusSent, cut};
use crate::transport::{ForgeError, Transport, refusal};

/// Longest text that we send; CODING documents no limit.
const MAX_FIELD_CHARS: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    response: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done {}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    git_file_content: FileContent,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileContent {
    content: String,
    is_text: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Branch {
    git_branch: Commit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    git_tag: TagCommit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagCommit {
    commit: Commit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    git_commit: Commit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Commit {
    sha: String,
}

/// CODING's word for our state. Only `COMMIT_STATE_ERROR` is found in a public client; the other two follow its
/// pattern and are not verified.
pub(crate) fn word(state: BuildState) -> &'static str {
    match state {
        BuildState::Pending | BuildState::Running => "COMMIT_STATE_PENDING",
        BuildState::Succeeded | BuildState::Skipped => "COMMIT_STATE_SUCCESS",
        BuildState::Failed | BuildState::Errored | BuildState::Cancelled | BuildState::Superseded => {
            "COMMIT_STATE_ERROR"
        }
    }
}

/// `ModifyGitCommitStatus`. Should CODING refuse a word, then this status is given up, and a later one is tried
/// all the same.
pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let fields = json!({
        "CommitSha": status.commit,
        "Context": cut(&status.context, MAX_FIELD_CHARS),
        "Description": cut(&status.description, MAX_FIELD_CHARS),
        "State": word(status.state),
        "TargetURL": status.target_url.as_deref().unwrap_or_default(),
    });
    let Done {} = act(transport, "ModifyGitCommitStatus", &status.repo, fields).await?;
    Ok(StatusSent { pipeline_id: None })
}

/// `DescribeGitFileContent`. By which code it tells of a missing file is not known: any other than one of "not
/// found" counts as unknown, and the builder reads the file from its checkout.
pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let fields = json!({"CommitSha": file.commit, "Path": file.path});
    let found = act::<Content>(transport, "DescribeGitFileContent", file.repo, fields).await;
    let commit = act::<Info>(transport, "DescribeGitCommitInfo", file.repo, json!({"Sha": file.commit}));
    match file_or_none(found, async { commit.await.map(|info| info.git_commit.sha) }).await? {
        Some(Content { git_file_content: FileContent { content, is_text: true } }) => Ok(Some(content)),
        Some(_) => Err(ForgeError::Invalid("the file is not UTF-8 text".to_owned())),
        None => Ok(None),
    }
}

/// `DescribeGitBranch`, `DescribeGitTag`.
pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    if let Some(branch) = git_ref.branch() {
        let found = act::<Branch>(transport, "DescribeGitBranch", repo, json!({"BranchName": branch})).await;
        return Ok(absent(found)?.map(|found| found.git_branch.sha));
    }
    let Some(tag) = git_ref.tag() else { return Ok(None) };
    let found = act::<Tag>(transport, "DescribeGitTag", repo, json!({"TagName": tag})).await;
    Ok(absent(found)?.map(|found| found.git_tag.commit.sha))
}

/// Does one action on a repository (`team/project/repository`).
pub(super) async fn act<T: DeserializeOwned>(
    transport: &Transport,
    action: &str,
    repo: &str,
    mut fields: Value,
) -> Result<T, ForgeError> {
    fields["DepotPath"] = repo.into();
    ask(transport, action, fields).await
}

/// Does one action. It stands in the address, too, where some clients put it.
pub(super) async fn ask<T: DeserializeOwned>(
    transport: &Transport,
    action: &str,
    mut fields: Value,
) -> Result<T, ForgeError> {
    fields["Action"] = action.into();
    let url = address(transport, ["open-api"], &[("Action", action)])?;
    let answer = send(transport, Method::POST, url, &fields).await?;
    let Envelope { response } = read(&answer)?;
    if let Some(failure) = response.get("Error") {
        let failure = Failure::deserialize(failure).unwrap_or(Failure { code: String::new(), message: String::new() });
        let message = format!("{}: {}", failure.code, failure.message);
        return Err(refusal(status_of(&failure.code), &answer.headers, &message, transport.clock.now()));
    }
    T::deserialize(response).map_err(|_| ForgeError::Transient("its answer is not what this forge sends".to_owned()))
}

/// The HTTP status that would say the same as one of the common codes of Tencent's APIs, which CODING uses.
fn status_of(code: &str) -> StatusCode {
    match code.split('.').next().unwrap_or_default() {
        "AuthFailure" | "UnauthorizedOperation" => StatusCode::UNAUTHORIZED,
        "RequestLimitExceeded" | "LimitExceeded" => StatusCode::TOO_MANY_REQUESTS,
        "InternalError" | "ResourceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ if code.contains("NotFound") => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    }
}
