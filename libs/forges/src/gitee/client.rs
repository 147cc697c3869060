//! Calls to Gitee's API (<https://gitee.com/api/v5/swagger>, version 5), as far as its reference and public clients
//! of it tell; nothing here was tried against the real one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;

use crate::api::rest::{absent, address, file_or_none, get, read, send, two_parts};
use crate::contents::{FileAt, text};
use crate::status::{CommitStatus, StatusSent, cut};
use crate::transport::{Answer, ForgeError, Transport};

/// Longest text that we send; Gitee documents no limit.
const MAX_FIELD_CHARS: usize = 255;

#[derive(Serialize)]
struct CheckRun<'a> {
    name: &'a str,
    head_sha: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conclusion: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_url: Option<&'a str>,
    output: Output<'a>,
}

#[derive(Serialize)]
struct Output<'a> {
    title: &'a str,
    summary: &'a str,
}

/// A list alone, or in an object: public clients disagree.
#[derive(Deserialize)]
#[serde(untagged)]
enum Runs {
    Listed(Vec<Run>),
    Counted { check_runs: Vec<Run> },
}

#[derive(Deserialize)]
struct Run {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Entry {
    encoding: String,
    content: String,
}

#[derive(Deserialize)]
struct Branch {
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

/// Gitee's words for our state: the check's status and its conclusion.
pub(crate) fn words(state: BuildState) -> (&'static str, Option<&'static str>) {
    match state {
        BuildState::Pending => ("queued", None),
        BuildState::Running => ("in_progress", None),
        BuildState::Succeeded => ("completed", Some("success")),
        BuildState::Failed | BuildState::Errored => ("completed", Some("failure")),
        BuildState::Cancelled | BuildState::Superseded => ("completed", Some("cancelled")),
        BuildState::Skipped => ("completed", Some("skipped")),
    }
}

/// `POST /repos/{owner}/{repo}/check-runs`, or `PATCH …/{id}` where the commit has one of this name. Gitee has no
/// commit statuses; its reference describes these, and no client is known that proves them. A refusal gives the
/// status up, nothing else.
pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let [owner, repo] = two_parts(&status.repo)?;
    let name = cut(&status.context, MAX_FIELD_CHARS);
    let description = cut(&status.description, MAX_FIELD_CHARS);
    let (state, conclusion) = words(status.state);
    let body = CheckRun {
        name: &name,
        head_sha: &status.commit,
        status: state,
        conclusion,
        details_url: status.target_url.as_deref(),
        output: Output { title: &name, summary: &description },
    };
    let segments = ["repos", owner, repo, "commits", &status.commit, "check-runs"];
    let known = get(transport, address(transport, segments, &[("check_name", &name), ("per_page", "100")])?).await?;
    let known = match read(&known)? {
        Runs::Listed(runs) | Runs::Counted { check_runs: runs } => {
            runs.into_iter().filter(|run| run.name == name).map(|run| run.id.to_string()).next_back()
        }
    };
    let runs = ["repos", owner, repo, "check-runs"];
    let method = if known.is_some() { Method::PATCH } else { Method::POST };
    let url = address(transport, runs.into_iter().chain(known.as_deref()), &[])?;
    send(transport, method, url, &body).await?;
    Ok(StatusSent { pipeline_id: None })
}

/// `GET /repos/{owner}/{repo}/contents/{path}?ref={sha}`.
pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let [owner, name] = two_parts(file.repo)?;
    let contents = ["repos", owner, name, "contents"].into_iter().chain(file.path.split('/'));
    let found = get(transport, address(transport, contents, &[("ref", file.commit)])?).await;
    let found = found.and_then(|answer| entry(&answer));
    match file_or_none(found, commit(transport, file.repo, file.commit)).await? {
        Some(entry) => decoded(&entry).map(Some),
        None => Ok(None),
    }
}

/// `GET /repos/{owner}/{repo}/branches/{branch}`; of a tag `…/commits/{tag}`, which the reference describes for ids
/// and branches only.
pub(crate) async fn head_of(transport: &Transport, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    if let Some(branch) = git_ref.branch() {
        let url = address(transport, ["repos", owner, name, "branches", branch], &[])?;
        let Some(answer) = absent(get(transport, url).await)? else { return Ok(None) };
        return Ok(Some(read::<Branch>(&answer)?.commit.sha));
    }
    let Some(tag) = git_ref.tag() else { return Ok(None) };
    absent(commit(transport, repo, tag).await)
}

async fn commit(transport: &Transport, repo: &str, revision: &str) -> Result<String, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "commits", revision], &[])?;
    Ok(read::<Commit>(&get(transport, url).await?)?.sha)
}

/// What is missing comes as an empty list, and a directory as one of its entries.
fn entry(answer: &Answer) -> Result<Entry, ForgeError> {
    if serde_json::from_slice::<Vec<IgnoredAny>>(&answer.body).is_ok() {
        return Err(ForgeError::NotFound("no file".to_owned()));
    }
    read(answer)
}

fn decoded(entry: &Entry) -> Result<String, ForgeError> {
    let unreadable = || ForgeError::Invalid("the file's content is in a form that we do not read".to_owned());
    if entry.encoding != "base64" {
        return Err(unreadable());
    }
    let digits: String = entry.content.split_ascii_whitespace().collect();
    text(STANDARD.decode(digits).map_err(|_| unreadable())?)
}
