//! Repositories on Bitbucket Data Center.

use serde::Deserialize;

use super::client::in_repo;
use super::pages::{LIMIT, Page};
use crate::api::rest::{absent, address, get, read};
use crate::repos::{RemoteRepo, RepoPage, http_url, no_cursor, usable};
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
struct Repo {
    id: u64,
    slug: String,
    project: Project,
    public: Option<bool>,
    links: Links,
}

#[derive(Deserialize)]
struct Project {
    key: String,
}

#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    clone: Vec<Named>,
    #[serde(default, rename = "self")]
    pages: Vec<Link>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    href: String,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    display_id: String,
}

/// `GET /api/1.0/repos?name=`, in the forge's own order. It does not tell default branches.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let start = cursor.unwrap_or("0");
    if start.parse::<u32>().is_err() {
        return Err(no_cursor());
    }
    let wanted = search.map(|search| ("name", search));
    let query: Vec<(&str, &str)> = [("limit", LIMIT), ("start", start)].into_iter().chain(wanted).collect();
    let found: Page<Repo> = read(&get(transport, address(transport, ["api", "1.0", "repos"], &query)?).await?)?;
    let next = found.next();
    Ok(RepoPage { items: found.values.into_iter().filter_map(|repo| repo.ours(None)).collect(), next })
}

/// `GET …/repos/{slug}`, and `…/default-branch` (7.5) where the server has it.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    let found: Repo = read(&get(transport, address(transport, in_repo(full_path)?, &[])?).await?)?;
    let url = address(transport, in_repo(full_path)?.into_iter().chain(["default-branch"]), &[])?;
    // An empty repository has none, and is answered without a body.
    let branch = absent(get(transport, url).await)?;
    let branch = branch.and_then(|answer| read::<Branch>(&answer).ok()).map(|branch| branch.display_id);
    usable(found.ours(branch))
}

impl Repo {
    fn ours(self, default_branch: Option<String>) -> Option<RemoteRepo> {
        let clone = self.links.clone.into_iter().find(|link| link.name == "http")?;
        Some(RemoteRepo {
            id: self.id.to_string(),
            full_path: format!("{}/{}", self.project.key, self.slug),
            clone_url: http_url(&clone.href)?,
            web_url: self.links.pages.into_iter().next().map(|link| link.href),
            default_branch,
            private: self.public.map(|public| !public),
        })
    }
}
