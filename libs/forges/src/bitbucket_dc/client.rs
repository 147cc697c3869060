//! Calls to Bitbucket Data Center's API (<https://developer.atlassian.com/server/bitbucket/rest/>).

use http::Method;
use serde::{Deserialize, Serialize};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;

use crate::api::rest::{absent, address, file_or_none, get, read, send, two_parts};
use crate::contents::{FileAt, text};
use crate::status::{CommitStatus, StatusSent, cut};
use crate::transport::{ForgeError, Transport};

/// Longest field of a status but its page's address.
const MAX_FIELD_CHARS: usize = 255;
/// Longest address of a page.
const MAX_URL_CHARS: usize = 450;

#[derive(Serialize)]
struct BuildStatus<'a> {
    key: String,
    state: &'static str,
    name: String,
    description: String,
    url: &'a str,
}

#[derive(Deserialize)]
struct Page {
    values: Vec<Commit>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

/// Data Center's word for our state. It has three: what was stopped failed, and what was skipped did not.
pub(crate) fn word(state: BuildState) -> &'static str {
    match state {
        BuildState::Pending | BuildState::Running => "INPROGRESS",
        BuildState::Succeeded | BuildState::Skipped => "SUCCESSFUL",
        BuildState::Failed | BuildState::Errored | BuildState::Cancelled | BuildState::Superseded => "FAILED",
    }
}

/// `POST /build-status/1.0/commits/{sha}`, which every version has; the newer one per repository would know
/// cancelled builds, too. It names no repository: the same commit of a fork shows it as well.
pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let Some(url) = status.target_url.as_deref().filter(|url| url.chars().count() <= MAX_URL_CHARS) else {
        return Err(ForgeError::Invalid(format!(
            "Bitbucket takes no status without a page, and its address has at most {MAX_URL_CHARS} characters"
        )));
    };
    let body = BuildStatus {
        key: cut(&status.context, MAX_FIELD_CHARS),
        state: word(status.state),
        name: cut(&status.context, MAX_FIELD_CHARS),
        description: cut(&status.description, MAX_FIELD_CHARS),
        url,
    };
    let url = address(transport, ["build-status", "1.0", "commits", &status.commit], &[])?;
    send(transport, Method::POST, url, &body).await?;
    Ok(StatusSent { pipeline_id: None })
}

/// `GET /api/1.0/projects/{key}/repos/{slug}/raw/{path}?at={sha}`, which is the file itself.
pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let raw = in_repo(file.repo)?.into_iter().chain(["raw"]).chain(file.path.split('/'));
    let commit = in_repo(file.repo)?.into_iter().chain(["commits", file.commit]);
    let commit = get(transport, address(transport, commit, &[])?);
    let found = get(transport, address(transport, raw, &[("at", file.commit)])?).await;
    match file_or_none(found, commit).await? {
        Some(answer) => text(answer.body.to_vec()).map(Some),
        None => Ok(None),
    }
}

/// `GET /api/1.0/projects/{key}/repos/{slug}/commits?until={ref}&limit=1`: the newest commit, so that tags are
/// peeled, and a name with slashes needs no place in the path.
pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    let segments = in_repo(repo)?.into_iter().chain(["commits"]);
    let url = address(transport, segments, &[("until", git_ref.as_str()), ("limit", "1")])?;
    let Some(answer) = absent(get(transport, url).await)? else { return Ok(None) };
    Ok(read::<Page>(&answer)?.values.into_iter().next().map(|commit| commit.id))
}

pub(super) fn in_repo(repo: &str) -> Result<[&str; 6], ForgeError> {
    let [key, slug] = two_parts(repo)?;
    Ok(["api", "1.0", "projects", key, "repos", slug])
}
