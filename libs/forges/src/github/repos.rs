//! Repositories on GitHub.

use serde::Deserialize;

use super::call::{get, route};
use super::client::owner_and_name;
use crate::api::pages::has_more;
use crate::api::rest::read;
use crate::repos::{MAX_PAGES, RemoteRepo, RepoPage, http_url, is_wanted, next_page, page_number, usable};
use crate::transport::{ForgeError, Transport};

const PER_PAGE: usize = 100;

#[derive(Deserialize)]
pub(super) struct Repo {
    id: u64,
    full_name: String,
    clone_url: String,
    html_url: Option<String>,
    default_branch: Option<String>,
    private: Option<bool>,
}

/// `GET /user/repos?sort=pushed`. It cannot be searched: pages are looked through until one has something.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let mut page = page_number(cursor)?;
    for _ in 1..MAX_PAGES {
        let found = list_page(transport, search, page).await?;
        if !found.items.is_empty() || found.next.is_none() {
            return Ok(found);
        }
        page += 1;
    }
    list_page(transport, search, page).await
}

async fn list_page(transport: &Transport, search: Option<&str>, page: usize) -> Result<RepoPage, ForgeError> {
    let (number, per_page) = (page.to_string(), PER_PAGE.to_string());
    let query = [("sort", "pushed"), ("direction", "desc"), ("per_page", &*per_page), ("page", &*number)];
    let answer = get(transport, route(["user", "repos"], &query)?).await?;
    let found: Vec<Repo> = read(&answer)?;
    let next = next_page(page, has_more(&answer, found.len(), PER_PAGE));
    let items = found.into_iter().filter_map(Repo::ours).filter(|repo| is_wanted(&repo.full_path, search));
    Ok(RepoPage { items: items.collect(), next })
}

/// `GET /repos/{owner}/{repo}`, which follows a renamed one.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    let (owner, name) = owner_and_name(full_path)?;
    let answer = get(transport, route(["repos", owner, name], &[])?).await?;
    usable(read::<Repo>(&answer)?.ours())
}

/// `GET /repositories/{id}`.
pub(crate) async fn by_id(transport: &Transport, id: u64) -> Result<RemoteRepo, ForgeError> {
    let answer = get(transport, route(["repositories", &id.to_string()], &[])?).await?;
    usable(read::<Repo>(&answer)?.ours())
}

impl Repo {
    pub(super) fn ours(self) -> Option<RemoteRepo> {
        Some(RemoteRepo {
            id: self.id.to_string(),
            full_path: self.full_name,
            clone_url: http_url(&self.clone_url)?,
            web_url: self.html_url,
            default_branch: self.default_branch,
            private: self.private,
        })
    }
}
