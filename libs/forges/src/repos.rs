//! Repositories on a forge: the list for choosing one, and one by its path or by the key that survives renaming.

use slipway_domain::event::ForgeKind;
use url::Url;

use crate::api::ForgeApi;
use crate::transport::ForgeError;
use crate::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};

/// Pages that one call reads while it looks for something to show.
pub(crate) const MAX_PAGES: usize = 5;
/// Where a list by pages ends, whatever the forge says.
const LAST_PAGE: usize = 1000;

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRepo {
    /// The forge's own key of it, which survives renaming.
    pub id: String,
    /// Its full path, of any depth.
    pub full_path: String,
    /// Where git fetches it over https, or http where the forge has nothing better; without a login.
    pub clone_url: String,
    /// Its page.
    pub web_url: Option<String>,
    /// Short name of the branch that its pages show; none where it is empty, or the forge does not say.
    pub default_branch: Option<String>,
    /// Whether strangers cannot see it; none where the forge does not say.
    pub private: Option<bool>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPage {
    /// In the forge's order. May be empty although more follows, where we look through a list that the forge cannot
    /// search.
    pub items: Vec<RemoteRepo>,
    /// What asks for the next part; none after the last.
    pub next: Option<String>,
}

impl ForgeApi {
    /// Repositories that the token may see, one part of the list (about 100), newest activity first on GitHub,
    /// GitLab, Bitbucket Cloud, Gitea and Gitee. `search` narrows to names that have it in them. On Bitbucket Cloud
    /// `workspace/name` looks in one workspace, which is all that a token of a workspace can do. `cursor` is the
    /// `next` of the part before.
    pub async fn list_repos(&self, search: Option<&str>, cursor: Option<&str>) -> Result<RepoPage, ForgeError> {
        let search = search.map(str::trim).filter(|search| !search.is_empty());
        let transport = &self.transport;
        match self.kind {
            ForgeKind::Github => github::repos::list(transport, search, cursor).await,
            ForgeKind::Gitlab => gitlab::repos::list(transport, search, cursor).await,
            ForgeKind::Bitbucket => bitbucket::repos::list(transport, search, cursor).await,
            ForgeKind::BitbucketDc => bitbucket_dc::repos::list(transport, search, cursor).await,
            ForgeKind::Gitea => gitea::repos::list(transport, search, cursor).await,
            ForgeKind::Gitee => gitee::repos::list(transport, search, cursor).await,
            ForgeKind::Coding => coding::repos::list(transport, search, cursor).await,
        }
    }

    /// The repository at this path; forges that remember renaming give it under its new one.
    pub async fn repo(&self, full_path: &str) -> Result<RemoteRepo, ForgeError> {
        let transport = &self.transport;
        match self.kind {
            ForgeKind::Github => github::repos::at(transport, full_path).await,
            ForgeKind::Gitlab => gitlab::repos::at(transport, full_path).await,
            ForgeKind::Bitbucket => bitbucket::repos::at(transport, full_path).await,
            ForgeKind::BitbucketDc => bitbucket_dc::repos::at(transport, full_path).await,
            ForgeKind::Gitea => gitea::repos::at(transport, full_path).await,
            ForgeKind::Gitee => gitee::repos::at(transport, full_path).await,
            ForgeKind::Coding => coding::repos::at(transport, full_path).await,
        }
    }

    /// The repository of this id, wherever it has gone. [`ForgeError::Invalid`] on Bitbucket Data Center and Gitee,
    /// which look none up by id.
    pub async fn repo_by_id(&self, id: &str) -> Result<RemoteRepo, ForgeError> {
        let transport = &self.transport;
        match self.kind {
            ForgeKind::Github => github::repos::by_id(transport, number(id)?).await,
            ForgeKind::Gitlab => gitlab::repos::by_id(transport, number(id)?).await,
            ForgeKind::Bitbucket => bitbucket::repos::by_id(transport, id).await,
            ForgeKind::Gitea => gitea::repos::by_id(transport, number(id)?).await,
            ForgeKind::Coding => coding::repos::by_id(transport, number(id)?).await,
            kind @ (ForgeKind::BitbucketDc | ForgeKind::Gitee) => {
                Err(ForgeError::Invalid(format!("{kind} looks up no repository by its id")))
            }
        }
    }
}

/// An address that git can fetch from over http, without the login that some forges write into it.
pub(crate) fn http_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url.into())
}

/// A repository without an address for git over http is of no use to us.
pub(crate) fn usable(found: Option<RemoteRepo>) -> Result<RemoteRepo, ForgeError> {
    found.ok_or_else(|| ForgeError::Invalid("the forge offers no http address to fetch this repository".to_owned()))
}

/// The number of a page that a cursor names; the first one without a cursor.
pub(crate) fn page_number(cursor: Option<&str>) -> Result<usize, ForgeError> {
    let Some(cursor) = cursor else { return Ok(1) };
    let number = cursor.parse().ok().filter(|page| (1..=LAST_PAGE).contains(page));
    number.ok_or_else(no_cursor)
}

/// What asks for the page after this one.
pub(crate) fn next_page(page: usize, more: bool) -> Option<String> {
    (more && page < LAST_PAGE).then(|| (page + 1).to_string())
}

/// A cursor that no list of this forge has given.
pub(crate) fn no_cursor() -> ForgeError {
    ForgeError::Invalid("this part of the list does not exist; begin with the first".to_owned())
}

/// Whether a repository is looked for, where the forge cannot search itself.
pub(crate) fn is_wanted(full_path: &str, search: Option<&str>) -> bool {
    search.is_none_or(|search| full_path.to_lowercase().contains(&search.to_lowercase()))
}

fn number(id: &str) -> Result<u64, ForgeError> {
    id.parse().map_err(|_| ForgeError::Invalid("the repository's id is not a number".to_owned()))
}
