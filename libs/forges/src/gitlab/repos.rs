//! Projects on GitLab.

use std::borrow::Cow;

use gitlab::api::common::SortOrder;
use gitlab::api::projects::{Project, ProjectOrderBy, Projects};
use gitlab::api::{Endpoint, QueryParams};
use http::Method;
use serde::Deserialize;

use super::client::{not_buildable, query};
use crate::repos::{RemoteRepo, RepoPage, http_url, next_page, page_number, usable};
use crate::transport::{ForgeError, Transport};

const PER_PAGE: u64 = 100;

#[derive(Deserialize)]
struct Found {
    id: u64,
    path_with_namespace: String,
    http_url_to_repo: String,
    web_url: Option<String>,
    default_branch: Option<String>,
    /// `private`, `internal` (everybody with an account), `public`.
    visibility: Option<String>,
}

/// One page of a list; the crate's own paging reads all of them.
struct OnPage<E> {
    list: E,
    page: u64,
}

impl<E: Endpoint> Endpoint for OnPage<E> {
    fn method(&self) -> Method {
        self.list.method()
    }

    fn endpoint(&self) -> Cow<'static, str> {
        self.list.endpoint()
    }

    fn parameters(&self) -> QueryParams<'_> {
        let mut parameters = self.list.parameters();
        parameters.push("per_page", PER_PAGE).push("page", self.page);
        parameters
    }
}

/// `GET /projects?membership=true&order_by=last_activity_at`.
pub(crate) async fn list(
    transport: &Transport,
    search: Option<&str>,
    cursor: Option<&str>,
) -> Result<RepoPage, ForgeError> {
    let page = page_number(cursor)?;
    let mut request = Projects::builder();
    request.membership(true).archived(false).order_by(ProjectOrderBy::LastActivityAt).sort(SortOrder::Descending);
    if let Some(search) = search {
        request.search(search).search_namespaces(true);
    }
    let list = OnPage { list: request.build().map_err(not_buildable)?, page: page as u64 };
    let found: Vec<Found> = query(transport, list).await?;
    let next = next_page(page, found.len() as u64 >= PER_PAGE);
    Ok(RepoPage { items: found.into_iter().filter_map(Found::ours).collect(), next })
}

/// `GET /projects/:path`, which follows a renamed or transferred one.
pub(crate) async fn at(transport: &Transport, full_path: &str) -> Result<RemoteRepo, ForgeError> {
    let request = Project::builder().project(full_path).build().map_err(not_buildable)?;
    usable(query::<Found, _>(transport, request).await?.ours())
}

/// `GET /projects/:id`.
pub(crate) async fn by_id(transport: &Transport, id: u64) -> Result<RemoteRepo, ForgeError> {
    let request = Project::builder().project(id).build().map_err(not_buildable)?;
    usable(query::<Found, _>(transport, request).await?.ours())
}

impl Found {
    fn ours(self) -> Option<RemoteRepo> {
        Some(RemoteRepo {
            id: self.id.to_string(),
            full_path: self.path_with_namespace,
            clone_url: http_url(&self.http_url_to_repo)?,
            web_url: self.web_url,
            default_branch: self.default_branch,
            private: self.visibility.map(|visibility| visibility != "public"),
        })
    }
}
