//! Calls to a forge's API with a connection's credential. Hosts are chosen by tenants, so every call goes
//! through the egress guard (addresses checked and pinned), and none leaves the origin of the API's base.

use std::sync::Arc;
use std::time::Duration;

use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;
use url::Url;

use crate::status::{CommitStatus, StatusSent};
use crate::transport::Transport;
use crate::{bitbucket, bitbucket_dc, coding, contents, gitea, gitee, github, gitlab, heads};

pub use crate::contents::FileAt;
pub use crate::transport::ForgeError;
pub use credential::{clone_credential, login_for};

mod credential;
pub(crate) mod pages;
pub(crate) mod rest;

/// What is needed to reach a forge's API.
pub struct Connect {
    /// Which forge.
    pub kind: ForgeKind,
    /// Where it is, as the connection says; `None` means the public instance.
    pub base_url: Option<Url>,
    /// The connection's token.
    pub token: String,
    /// Decides which addresses may be reached.
    pub egress: Egress,
    /// For waiting times that forges give as a time of day.
    pub clock: Clock,
    /// Limit for one call, everything included.
    pub timeout: Duration,
}

/// One forge instance, reached with one credential. Its host is resolved at the first call and pinned from
/// then on, so make a new one for each piece of work.
#[derive(Clone)]
pub struct ForgeApi {
    pub(crate) kind: ForgeKind,
    pub(crate) transport: Transport,
}

impl ForgeApi {
    /// Prepares; contacts nobody. Fails when there is no address, or the token cannot be a header.
    pub fn new(connect: Connect) -> Result<Self, ForgeError> {
        let Connect { kind, base_url, token, egress, clock, timeout } = connect;
        let base = api_base(kind, base_url.as_ref())?;
        let credential = Some(credential::authorization(kind, &token)?);
        Ok(Self { kind, transport: Transport { egress, http: Arc::default(), base, credential, timeout, clock } })
    }

    /// Sets a commit status. Sent once: the caller keeps the desired state and repeats as the error says.
    pub async fn set_status(&self, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
        if !is_commit_id(&status.commit) {
            return Err(ForgeError::Invalid("the commit is not a full object id".to_owned()));
        }
        match self.kind {
            ForgeKind::Github => github::status::set_status(&self.transport, status).await,
            ForgeKind::Gitlab => gitlab::status::set_status(&self.transport, status).await,
            ForgeKind::Bitbucket => bitbucket::client::set_status(&self.transport, status).await,
            ForgeKind::BitbucketDc => bitbucket_dc::client::set_status(&self.transport, status).await,
            ForgeKind::Gitea => gitea::client::set_status(&self.transport, status).await,
            ForgeKind::Gitee => gitee::client::set_status(&self.transport, status).await,
            ForgeKind::Coding => coding::client::set_status(&self.transport, status).await,
        }
    }

    /// Reads a text file at a commit within 3 s. `Ok(None)` only when the forge shows us the commit and the
    /// file is not in it; every error means "unknown".
    pub async fn read_file(&self, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
        contents::read_file(self.kind, &self.transport, file, contents::LIMIT).await
    }

    /// The full id of the commit that a branch or tag points to; `Ok(None)` when the forge shows us none.
    pub async fn head_of(&self, repo: &str, git_ref: &GitRef) -> Result<Option<String>, ForgeError> {
        heads::head_of(self.kind, &self.transport, repo, git_ref).await
    }

    /// The full id of a commit of which a delivery told only the beginning, as Bitbucket Cloud's do (12 digits); a
    /// full id is its own, and nobody is asked. [`ForgeError::NotFound`] when the forge shows no such commit.
    pub async fn full_commit(&self, repo: &str, prefix: &str) -> Result<String, ForgeError> {
        if is_commit_id(prefix) {
            return Ok(prefix.to_owned());
        }
        heads::full_commit(self.kind, &self.transport, repo, prefix).await
    }
}

/// The address of the API, ending with a slash. GitHub: `https://api.github.com/`, `https://api.NAME.ghe.com/`,
/// or `{base_url}/api/v3/` of an own server; GitLab: `{base_url}/api/v4/`; Bitbucket Cloud:
/// `https://api.bitbucket.org/2.0/`; Data Center: `{base_url}/rest/`; Gitea: `{base_url}/api/v1/`; Gitee:
/// `{base_url}/api/v5/`; CODING: `{base_url}/`, below which `open-api` is. A base that already names the API stays.
/// Data Center and Gitea have no public instance and must be given one.
pub fn api_base(kind: ForgeKind, base_url: Option<&Url>) -> Result<Url, ForgeError> {
    let text = match kind {
        ForgeKind::Github => github_base(base_url),
        ForgeKind::Gitlab => below(base_url.map_or("https://gitlab.com", Url::as_str), "/api/v4"),
        ForgeKind::Bitbucket => bitbucket_base(base_url),
        ForgeKind::BitbucketDc => {
            let base = needed(kind, base_url)?.trim_end_matches("/api/1.0").trim_end_matches("/api/latest");
            below(base, "/rest")
        }
        ForgeKind::Gitea => below(needed(kind, base_url)?, "/api/v1"),
        ForgeKind::Gitee => below(base_url.map_or("https://gitee.com", Url::as_str), "/api/v5"),
        ForgeKind::Coding => {
            let base = base_url.map_or("https://e.coding.net", Url::as_str).trim_end_matches('/');
            format!("{}/", base.trim_end_matches("/open-api"))
        }
    };
    let invalid = || ForgeError::Invalid("base_url must be an http or https address without query".to_owned());
    let url = Url::parse(&text).map_err(|_| invalid())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    // The client crates speak http::Uri, which is stricter.
    if plain && url.as_str().parse::<http::Uri>().is_ok() { Ok(url) } else { Err(invalid()) }
}

fn github_base(base_url: Option<&Url>) -> String {
    let Some(base) = base_url else { return "https://api.github.com/".to_owned() };
    let text = base.as_str().trim_end_matches('/');
    match base.host_str().unwrap_or_default() {
        "github.com" | "www.github.com" => "https://api.github.com/".to_owned(),
        host if host == "api.github.com" || (host.starts_with("api.") && host.ends_with(".ghe.com")) => {
            format!("{text}/")
        }
        host if host.ends_with(".ghe.com") => format!("https://api.{host}/"),
        _ => below(text, "/api/v3"),
    }
}

fn bitbucket_base(base_url: Option<&Url>) -> String {
    const PUBLIC: &str = "https://api.bitbucket.org";
    let base = base_url.filter(|base| !matches!(base.host_str(), Some("bitbucket.org" | "www.bitbucket.org")));
    below(base.map_or(PUBLIC, Url::as_str), "/2.0")
}

/// `{base}{path}/`, also where the base ends with the path already.
fn below(base: &str, path: &str) -> String {
    let base = base.trim_end_matches('/');
    format!("{}{path}/", base.trim_end_matches(path))
}

fn needed(kind: ForgeKind, base_url: Option<&Url>) -> Result<&str, ForgeError> {
    let missing = || ForgeError::Invalid(format!("a connection to {kind} needs its address as base_url"));
    Ok(base_url.ok_or_else(missing)?.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod change_stories;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod hook_stories;
#[cfg(test)]
mod key_stories;
#[cfg(test)]
mod repo_stories;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
