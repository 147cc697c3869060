//! Changed files, commit messages and who may push, on Bitbucket Data Center.

use serde::Deserialize;

use super::client::in_repo;
use super::pages::pages;
use crate::api::pages::Listed;
use crate::api::rest::{absent, address, get, read, two_parts};
use crate::changes::{ChangedFiles, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    path: Path,
    /// Where it was before it was moved, or what it was copied from.
    src_path: Option<Path>,
}

#[derive(Deserialize)]
struct Path {
    #[serde(rename = "toString")]
    whole: String,
}

#[derive(Deserialize)]
struct Commit {
    message: String,
}

#[derive(Deserialize)]
struct User {
    name: String,
    #[serde(default = "yes")]
    active: bool,
}

/// `GET …/changes?since={before}&until={after}`: the two commits with each other.
pub(crate) async fn between(
    transport: &Transport,
    repo: &str,
    before: &str,
    after: &str,
) -> Result<ChangedFiles, ForgeError> {
    let segments: Vec<&str> = in_repo(repo)?.into_iter().chain(["changes"]).collect();
    Ok(changed(pages(transport, MAX_PAGES, &segments, &[("since", before), ("until", after)]).await?))
}

/// `GET …/pull-requests/{id}/changes`.
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let number = number.to_string();
    let segments: Vec<&str> = in_repo(repo)?.into_iter().chain(["pull-requests", &number, "changes"]).collect();
    Ok(changed(pages(transport, MAX_PAGES, &segments, &[]).await?))
}

/// `GET …/commits/{sha}`.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let segments = in_repo(repo)?.into_iter().chain(["commits", commit]);
    Ok(read::<Commit>(&get(transport, address(transport, segments, &[])?).await?)?.message)
}

/// `GET /api/1.0/users?filter={login}&permission=REPO_WRITE&…`, which counts groups, and rights of the project. The
/// filter takes parts of names and addresses, so that the name is compared here.
pub(crate) async fn may_push(transport: &Transport, repo: &str, login: &str) -> Result<bool, ForgeError> {
    let [key, slug] = two_parts(repo)?;
    let query = [
        ("filter", login),
        ("permission", "REPO_WRITE"),
        ("permission.projectKey", key),
        ("permission.repositorySlug", slug),
    ];
    let found = absent(pages::<User>(transport, MAX_PAGES, &["api", "1.0", "users"], &query).await)?;
    Ok(found.is_some_and(|found| found.items.iter().any(|user| user.active && user.name.eq_ignore_ascii_case(login))))
}

fn changed(found: Listed<Change>) -> ChangedFiles {
    let names = found.items.into_iter().flat_map(|change| [Some(change.path), change.src_path]);
    ChangedFiles::new(names.map(|path| path.map(|path| path.whole)), found.cut)
}

fn yes() -> bool {
    true
}
