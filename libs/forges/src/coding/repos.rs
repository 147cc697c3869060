//! Repositories ("depots") on CODING, as public clients of its Open API tell.

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::client::{act, ask};
use crate::repos::{RemoteRepo, RepoPage, http_url, is_wanted, next_page, page_number, usable};
use crate::transport::{ForgeError, Transport};

const PER_PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mine {
    payload: Depots,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Depots {
    depots: Vec<Depot>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct One {
    depot: Depot,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Depot {
    id: u64,
    project_id: u64,
    https_url: String,
    web_url: Option<String>,
    /// `git` or `svn`.
    vcs_type: Option<String>,
}

/// `DescribeMyDepots`. Public clients disagree whether it comes in pages: one with more than a page's entries is
/// taken for the whole list.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let page = page_number(cursor)?;
    let found: Mine = ask(transport, "DescribeMyDepots", json!({"PageNumber": page, "PageSize": PER_PAGE})).await?;
    let depots = found.payload.depots;
    let next = next_page(page, depots.len() == PER_PAGE);
    let items = depots.into_iter().filter_map(Depot::ours).filter(|repo| is_wanted(&repo.full_path, search));
    Ok(RepoPage { items: items.collect(), next })
}

/// `DescribeGitDepot` of a path.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    usable(act::<One>(transport, "DescribeGitDepot", full_path, json!({})).await?.depot.ours())
}

/// `DescribeGitDepot` of an id.
pub(crate) async fn by_id(transport: &Transport, id: u64) -> Result<RemoteRepo, ForgeError> {
    usable(ask::<One>(transport, "DescribeGitDepot", json!({"DepotId": id})).await?.depot.ours())
}

/// The project that a repository belongs to, which has the hooks.
pub(super) async fn project_of(transport: &Transport, full_path: &str) -> Result<u64, ForgeError> {
    Ok(act::<One>(transport, "DescribeGitDepot", full_path, json!({})).await?.depot.project_id)
}

impl Depot {
    /// Its path is told by its address only, which ends with `/{team}/{project}/{repository}.git`.
    fn ours(self) -> Option<RemoteRepo> {
        if self.vcs_type.is_some_and(|kind| kind != "git") {
            return None;
        }
        let clone_url = http_url(&self.https_url)?;
        let path = Url::parse(&clone_url).ok()?.path().trim_matches('/').to_owned();
        let full_path = path.strip_suffix(".git").unwrap_or(&path).to_owned();
        let id = self.id.to_string();
        Some(RemoteRepo { id, full_path, clone_url, web_url: self.web_url, default_branch: None, private: None })
    }
}
