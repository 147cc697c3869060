//! Repositories on Gitee, as its reference tells.

use serde::Deserialize;

use super::compare::PER_PAGE;
use crate::api::pages::has_more;
use crate::api::rest::{address, get, read, two_parts};
use crate::repos::{RemoteRepo, RepoPage, http_url, next_page, page_number, usable};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Repo {
    id: u64,
    full_name: String,
    /// The page's address, which ends with `.git`.
    html_url: String,
    default_branch: Option<String>,
    private: Option<bool>,
}

/// `GET /user/repos?sort=pushed&q=`.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let page = page_number(cursor)?;
    let (number, per_page) = (page.to_string(), PER_PAGE.to_string());
    let query = [("sort", "pushed"), ("direction", "desc"), ("per_page", &*per_page), ("page", &*number)];
    let query: Vec<(&str, &str)> = query.into_iter().chain(search.map(|search| ("q", search))).collect();
    let answer = get(transport, address(transport, ["user", "repos"], &query)?).await?;
    let found: Vec<Repo> = read(&answer)?;
    let next = next_page(page, has_more(&answer, found.len(), PER_PAGE));
    Ok(RepoPage { items: found.into_iter().filter_map(Repo::ours).collect(), next })
}

/// `GET /repos/{owner}/{repo}`.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    let [owner, name] = two_parts(full_path)?;
    let url = address(transport, ["repos", owner, name], &[])?;
    usable(read::<Repo>(&get(transport, url).await?)?.ours())
}

impl Repo {
    fn ours(self) -> Option<RemoteRepo> {
        let page = self.html_url.trim_end_matches(".git");
        Some(RemoteRepo {
            id: self.id.to_string(),
            full_path: self.full_name,
            clone_url: http_url(&format!("{page}.git"))?,
            web_url: Some(page.to_owned()),
            default_branch: self.default_branch,
            private: self.private,
        })
    }
}
