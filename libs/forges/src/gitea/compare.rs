//! Changed files, commit messages and who may push, on Gitea and Forgejo.

use serde::Deserialize;

use crate::api::pages::{Bound, numbered};
use crate::api::rest::{absent, address, get, read, two_parts};
use crate::changes::{ChangedFiles, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

/// Gitea gives no more at once, unless its operator allows it.
pub(crate) const PER_PAGE: usize = 50;

#[derive(Deserialize)]
struct Comparison {
    total_commits: usize,
    #[serde(default)]
    commits: Option<Vec<Compared>>,
}

#[derive(Deserialize)]
struct Compared {
    #[serde(default)]
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    previous_filename: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    commit: Message,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Collaborator {
    permission: String,
}

/// `GET /repos/{owner}/{repo}/compare/{before}...{after}`, and the other way round for commits that a push took away:
/// Gitea lists commits, each with its files, so that what was changed and changed back is among them. It looks for no
/// renames there, which gives both names.
pub(crate) async fn between(
    transport: &Transport,
    repo: &str,
    before: &str,
    after: &str,
) -> Result<ChangedFiles, ForgeError> {
    let added = commits(transport, repo, before, after).await?;
    let taken = commits(transport, repo, after, before).await?;
    let listed = [&added, &taken].into_iter().all(|found| {
        let commits = found.commits.as_deref().unwrap_or_default();
        commits.len() == found.total_commits && commits.iter().all(|commit| commit.files.is_some())
    });
    let commits = [added, taken].into_iter().flat_map(|found| found.commits.unwrap_or_default());
    let files = commits.flat_map(|commit| commit.files.unwrap_or_default());
    Ok(ChangedFiles::new(files.flat_map(names), !listed))
}

/// `GET /repos/{owner}/{repo}/pulls/{index}/files` (Gitea 1.18).
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let (number, limit) = (number.to_string(), PER_PAGE.to_string());
    let segments = ["repos", owner, name, "pulls", &number, "files"];
    let found = numbered::<File>(transport, Bound { per_page: PER_PAGE, max_pages: MAX_PAGES }, |page| {
        address(transport, segments, &[("page", page), ("limit", &limit)])
    })
    .await?;
    Ok(ChangedFiles::new(found.items.into_iter().flat_map(names), found.cut))
}

/// `GET /repos/{owner}/{repo}/git/commits/{sha}`.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let spare = [("stat", "false"), ("verification", "false"), ("files", "false")];
    let url = address(transport, ["repos", owner, name, "git", "commits", commit], &spare)?;
    Ok(read::<Commit>(&get(transport, url).await?)?.commit.message)
}

/// `GET /repos/{owner}/{repo}/collaborators/{login}/permission`, which counts teams. Only the repository's admins may
/// ask it of others.
pub(crate) async fn may_push(transport: &Transport, repo: &str, login: &str) -> Result<bool, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "collaborators", login, "permission"], &[])?;
    let Some(answer) = absent(get(transport, url).await)? else { return Ok(false) };
    Ok(matches!(read::<Collaborator>(&answer)?.permission.as_str(), "write" | "admin" | "owner"))
}

async fn commits(transport: &Transport, repo: &str, base: &str, head: &str) -> Result<Comparison, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let both = format!("{base}...{head}");
    let url = address(transport, ["repos", owner, name, "compare", &both], &[("verification", "false")])?;
    read(&get(transport, url).await?)
}

fn names(file: File) -> [Option<String>; 2] {
    [Some(file.filename), file.previous_filename]
}
