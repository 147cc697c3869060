//! Calls to Bitbucket Cloud's API (<https://developer.atlassian.com/cloud/bitbucket/rest/>, version 2.0).

use http::{Method, header};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;

use crate::api::rest::{absent, address, file_or_none, get, read, send, two_parts};
use crate::contents::{FileAt, text};
use crate::status::{CommitStatus, StatusSent, cut};
use crate::transport::{Answer, ForgeError, Transport};

/// Longest key of a status. Not documented; <https://github.com/jenkinsci/bitbucket-branch-source-plugin> hashes
/// its keys for it.
const MAX_KEY_CHARS: usize = 40;
/// Longest other field that we send; Bitbucket documents none.
const MAX_FIELD_CHARS: usize = 255;

#[derive(Serialize)]
struct BuildStatus<'a> {
    key: String,
    state: &'static str,
    name: String,
    description: String,
    url: &'a str,
    /// Ties the status to the pull requests of this branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    refname: Option<&'a str>,
}

#[derive(Deserialize)]
struct Ref {
    target: Commit,
}

#[derive(Deserialize)]
struct Commit {
    hash: String,
}

/// Bitbucket's word for our state. It has one for waiting and running, and one for all that was stopped.
pub(crate) fn word(state: BuildState) -> &'static str {
    match state {
        BuildState::Pending | BuildState::Running => "INPROGRESS",
        BuildState::Succeeded => "SUCCESSFUL",
        BuildState::Failed | BuildState::Errored => "FAILED",
        BuildState::Cancelled | BuildState::Superseded | BuildState::Skipped => "STOPPED",
    }
}

/// `POST /repositories/{workspace}/{slug}/commit/{sha}/statuses/build`: the same key overwrites.
pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let [workspace, slug] = two_parts(&status.repo)?;
    let Some(url) = status.target_url.as_deref() else {
        return Err(ForgeError::Invalid("Bitbucket takes no status without a page".to_owned()));
    };
    let body = BuildStatus {
        key: key(&status.context),
        state: word(status.state),
        name: cut(&status.context, MAX_FIELD_CHARS),
        description: cut(&status.description, MAX_FIELD_CHARS),
        url,
        refname: status.ref_name.as_deref().filter(|name| name.chars().count() <= MAX_FIELD_CHARS),
    };
    let segments = ["repositories", workspace, slug, "commit", &status.commit, "statuses", "build"];
    send(transport, Method::POST, address(transport, segments, &[])?, &body).await?;
    Ok(StatusSent { pipeline_id: None })
}

/// `GET /repositories/{workspace}/{slug}/src/{sha}/{path}`, which is the file itself.
pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let [workspace, slug] = two_parts(file.repo)?;
    let segments = ["repositories", workspace, slug, "src", file.commit].into_iter().chain(file.path.split('/'));
    let found = get(transport, address(transport, segments, &[])?).await;
    match file_or_none(found, commit(transport, file.repo, file.commit)).await? {
        Some(answer) if !is_directory(&answer) => text(answer.body.to_vec()).map(Some),
        _ => Ok(None),
    }
}

/// `GET /repositories/{workspace}/{slug}/refs/{branches|tags}/{name}`; slashes of the name stay slashes.
pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let (of, name) = match (git_ref.branch(), git_ref.tag()) {
        (Some(branch), _) => ("branches", branch),
        (None, Some(tag)) => ("tags", tag),
        (None, None) => return Ok(None),
    };
    let segments = ["repositories", workspace, slug, "refs", of].into_iter().chain(name.split('/'));
    let Some(answer) = absent(get(transport, address(transport, segments, &[])?).await)? else { return Ok(None) };
    Ok(Some(read::<Ref>(&answer)?.target.hash))
}

/// `GET /repositories/{workspace}/{slug}/commit/{revision}`: the full id, also of a prefix.
pub(crate) async fn commit(transport: &Transport, repo: &str, revision: &str) -> Result<String, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let url = address(transport, ["repositories", workspace, slug, "commit", revision], &[])?;
    Ok(read::<Commit>(&get(transport, url).await?)?.hash)
}

/// A context that is too long becomes the beginning of its hash; the name tells it in words.
fn key(context: &str) -> String {
    if context.chars().count() <= MAX_KEY_CHARS {
        return context.to_owned();
    }
    let mut digits = hex::encode(Sha256::digest(context));
    digits.truncate(MAX_KEY_CHARS);
    digits
}

/// A directory comes as a page of its entries.
fn is_directory(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "pagelen")]
        _pagelen: u64,
        #[serde(rename = "values")]
        _values: Vec<IgnoredAny>,
    }
    let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.contains("json")) && serde_json::from_slice::<Page>(&answer.body).is_ok()
}
