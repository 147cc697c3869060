//! Changed files and commit messages on Bitbucket Cloud.

use serde::Deserialize;

use super::pages::pages;
use crate::api::pages::Listed;
use crate::api::rest::{address, get, read, two_parts};
use crate::changes::{ChangedFiles, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Diffstat {
    old: Option<File>,
    new: Option<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
}

#[derive(Deserialize)]
struct Commit {
    message: String,
}

/// `GET /repositories/{workspace}/{slug}/diffstat/{after}..{before}?topic=false`: source and destination, compared
/// with each other and not with the commit that both come from.
pub(crate) async fn between(
    transport: &Transport,
    repo: &str,
    before: &str,
    after: &str,
) -> Result<ChangedFiles, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let both = format!("{after}..{before}");
    let segments = ["repositories", workspace, slug, "diffstat", &both];
    Ok(changed(pages(transport, MAX_PAGES, &segments, &[("topic", "false")]).await?))
}

/// `GET /repositories/{workspace}/{slug}/pullrequests/{id}/diffstat`, which redirects to the comparison.
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let segments = ["repositories", workspace, slug, "pullrequests", &number.to_string(), "diffstat"];
    Ok(changed(pages(transport, MAX_PAGES, &segments, &[]).await?))
}

/// `GET /repositories/{workspace}/{slug}/commit/{sha}`.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let [workspace, slug] = two_parts(repo)?;
    let url = address(transport, ["repositories", workspace, slug, "commit", commit], &[])?;
    Ok(read::<Commit>(&get(transport, url).await?)?.message)
}

fn changed(found: Listed<Diffstat>) -> ChangedFiles {
    let names = found.items.into_iter().flat_map(|diffstat| [diffstat.old, diffstat.new]);
    ChangedFiles::new(names.map(|file| file.map(|file| file.path)), found.cut)
}
