//! Changed files, commit messages and who may push, on GitHub.

use serde::Deserialize;

use super::call::{get, pages, route};
use super::client::owner_and_name;
use crate::api::pages::Bound;
use crate::api::rest::{absent, read};
use crate::changes::{ChangedFiles, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

/// A comparison lists no more files.
const MAX_COMPARED: usize = 300;

#[derive(Deserialize)]
struct Comparison {
    merge_base_commit: Commit,
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    previous_filename: Option<String>,
}

#[derive(Deserialize)]
struct GitCommit {
    message: String,
}

#[derive(Deserialize)]
struct Collaborator {
    permission: String,
}

/// `GET /repos/{owner}/{repo}/compare/{before}...{after}`: the first page has all files, up to 300, however few
/// commits are asked for. It compares with the merge base, and does so fully only where that is `before`.
pub(crate) async fn between(
    transport: &Transport,
    repo: &str,
    before: &str,
    after: &str,
) -> Result<ChangedFiles, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let both = format!("{before}...{after}");
    let route = route(["repos", owner, name, "compare", &both], &[("per_page", "1")])?;
    let found: Comparison = read(&get(transport, route).await?)?;
    let truncated = found.files.len() >= MAX_COMPARED || found.merge_base_commit.sha != before;
    Ok(changed(found.files, truncated))
}

/// `GET /repos/{owner}/{repo}/pulls/{number}/files`.
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let bound = Bound { per_page: 100, max_pages: MAX_PAGES };
    let found = pages(transport, bound, &["repos", owner, name, "pulls", &number.to_string(), "files"]).await?;
    Ok(changed(found.items, found.cut))
}

/// `GET /repos/{owner}/{repo}/git/commits/{sha}`.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let answer = get(transport, route(["repos", owner, name, "git", "commits", commit], &[])?).await?;
    Ok(read::<GitCommit>(&answer)?.message)
}

/// `GET /repos/{owner}/{repo}/collaborators/{login}/permission`. The older field calls `maintain` `write`.
pub(crate) async fn may_push(transport: &Transport, repo: &str, login: &str) -> Result<bool, ForgeError> {
    let (owner, name) = owner_and_name(repo)?;
    let route = route(["repos", owner, name, "collaborators", login, "permission"], &[])?;
    let Some(answer) = absent(get(transport, route).await)? else { return Ok(false) };
    Ok(matches!(read::<Collaborator>(&answer)?.permission.as_str(), "admin" | "maintain" | "write"))
}

fn changed(files: Vec<File>, truncated: bool) -> ChangedFiles {
    ChangedFiles::new(files.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]), truncated)
}
