//! Repositories on Gitea and Forgejo.

use serde::Deserialize;

use super::compare::PER_PAGE;
use crate::api::pages::has_more;
use crate::api::rest::{address, get, read, two_parts};
use crate::repos::{RemoteRepo, RepoPage, http_url, next_page, page_number, usable};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    data: Vec<Repo>,
}

#[derive(Deserialize)]
struct Repo {
    id: u64,
    full_name: String,
    clone_url: String,
    html_url: Option<String>,
    default_branch: Option<String>,
    private: Option<bool>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
}

/// `GET /repos/search?uid=&sort=updated`: what the token's owner has or contributes to. A token that may not tell
/// whose it is sees all that it may see.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let page = page_number(cursor)?;
    let owner = match get(transport, address(transport, ["user"], &[])?).await {
        Ok(answer) => Some(read::<User>(&answer)?.id.to_string()),
        Err(ForgeError::Unauthorized(403)) => None,
        Err(e) => return Err(e),
    };
    let (number, limit) = (page.to_string(), PER_PAGE.to_string());
    let query = [("sort", "updated"), ("order", "desc"), ("limit", &*limit), ("page", &*number)];
    let owner = owner.as_deref().map(|owner| ("uid", owner));
    let query: Vec<(&str, &str)> = query.into_iter().chain(owner).chain(search.map(|search| ("q", search))).collect();
    let answer = get(transport, address(transport, ["repos", "search"], &query)?).await?;
    let found = read::<Found>(&answer)?.data;
    let next = next_page(page, has_more(&answer, found.len(), PER_PAGE));
    Ok(RepoPage { items: found.into_iter().filter_map(Repo::ours).collect(), next })
}

/// `GET /repos/{owner}/{repo}`, which follows a renamed one.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    let [owner, name] = two_parts(full_path)?;
    let url = address(transport, ["repos", owner, name], &[])?;
    usable(read::<Repo>(&get(transport, url).await?)?.ours())
}

/// `GET /repositories/{id}`.
pub(crate) async fn by_id(transport: &Transport, id: u64) -> Result<RemoteRepo, ForgeError> {
    let url = address(transport, ["repositories", &id.to_string()], &[])?;
    usable(read::<Repo>(&get(transport, url).await?)?.ours())
}

impl Repo {
    fn ours(self) -> Option<RemoteRepo> {
        Some(RemoteRepo {
            id: self.id.to_string(),
            full_path: self.full_name,
            clone_url: http_url(&self.clone_url)?,
            web_url: self.html_url,
            default_branch: self.default_branch.filter(|branch| !branch.is_empty()),
            private: self.private,
        })
    }
}
