//! Changed files, commit messages and who may push, on Gitee, as its reference and public clients of it tell.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::api::pages::{Bound, numbered};
use crate::api::rest::{absent, address, get, read, two_parts};
use crate::changes::{ChangedFiles, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

/// Entries that are asked for at once: the most that the reference allows.
pub(crate) const PER_PAGE: usize = 100;
/// Files of a comparison from which on it may have been cut; Gitee documents no limit, and GitHub has this one.
const MAX_COMPARED: usize = 300;

#[derive(Deserialize)]
struct Comparison {
    merge_base_commit: Option<Sha>,
    #[serde(default)]
    files: Option<Vec<File>>,
    /// Not in the reference; some answers have it.
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    previous_filename: Option<String>,
    patch: Option<Patch>,
}

/// In a change an object with both names, in a comparison a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Patch {
    Names { old_path: Option<String>, new_path: Option<String> },
    Text(IgnoredAny),
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

/// `GET /repos/{owner}/{repo}/compare/{before}...{after}`, which compares with the commit that both come from.
pub(crate) async fn between(
    transport: &Transport,
    repo: &str,
    before: &str,
    after: &str,
) -> Result<ChangedFiles, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let both = format!("{before}...{after}");
    let url = address(transport, ["repos", owner, name, "compare", &both], &[])?;
    let found: Comparison = read(&get(transport, url).await?)?;
    let whole = found.merge_base_commit.is_some_and(|base| base.sha == before);
    let files = found.files.unwrap_or_default();
    let truncated = found.truncated || !whole || files.len() >= MAX_COMPARED;
    Ok(ChangedFiles::new(files.into_iter().flat_map(names), truncated))
}

/// `GET /repos/{owner}/{repo}/pulls/{number}/files`. The reference has no pages there; should there be some, they are
/// read.
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let (number, limit) = (number.to_string(), PER_PAGE.to_string());
    let segments = ["repos", owner, name, "pulls", &number, "files"];
    let found = numbered::<File>(transport, Bound { per_page: PER_PAGE, max_pages: MAX_PAGES }, |page| {
        address(transport, segments, &[("page", page), ("per_page", &limit)])
    })
    .await?;
    Ok(ChangedFiles::new(found.items.into_iter().flat_map(names), found.cut))
}

/// `GET /repos/{owner}/{repo}/commits/{sha}`.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "commits", commit], &[])?;
    Ok(read::<Commit>(&get(transport, url).await?)?.commit.message)
}

/// `GET /repos/{owner}/{repo}/collaborators/{login}/permission`.
pub(crate) async fn may_push(transport: &Transport, repo: &str, login: &str) -> Result<bool, ForgeError> {
    let [owner, name] = two_parts(repo)?;
    let url = address(transport, ["repos", owner, name, "collaborators", login, "permission"], &[])?;
    let Some(answer) = absent(get(transport, url).await)? else { return Ok(false) };
    Ok(matches!(read::<Collaborator>(&answer)?.permission.as_str(), "write" | "push" | "admin"))
}

fn names(file: File) -> [Option<String>; 4] {
    let (old, new) = match file.patch {
        Some(Patch::Names { old_path, new_path }) => (old_path, new_path),
        Some(Patch::Text(_)) | None => (None, None),
    };
    [Some(file.filename), file.previous_filename, old, new]
}
