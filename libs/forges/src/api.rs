//! Calls to a forge's API with a connection's credential. Hosts are chosen by tenants, so every call goes
//! through the egress guard (addresses checked and pinned), and none leaves the origin of the API's base.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use slipway_domain::agent::Login;
use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::GitRef;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;
use url::Url;

use crate::status::{CommitStatus, StatusSent};
use crate::transport::Transport;
use crate::{contents, github, gitlab, heads};

pub use crate::contents::FileAt;
pub use crate::transport::ForgeError;

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
    kind: ForgeKind,
    transport: Transport,
}

impl ForgeApi {
    /// Prepares; contacts nobody. Fails when the forge is not supported or the token cannot be a header.
    pub fn new(connect: Connect) -> Result<Self, ForgeError> {
        let Connect { kind, base_url, token, egress, clock, timeout } = connect;
        let base = api_base(kind, base_url.as_ref())?;
        let credential = credential(kind, &token)?;
        Ok(Self { kind, transport: Transport { egress, http: Arc::default(), base, credential, timeout, clock } })
    }

    /// Sets a commit status. Sent once: the caller keeps the desired state and repeats as the error says.
    pub async fn set_status(&self, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
        match self.kind {
            ForgeKind::Github => github::status::set_status(&self.transport, status).await,
            ForgeKind::Gitlab => gitlab::status::set_status(&self.transport, status).await,
            ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
                Err(ForgeError::NotSupported(self.kind))
            }
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
}

/// The address of the API, ending with a slash. GitHub: `https://api.github.com/`, `https://api.NAME.ghe.com/`,
/// or `{base_url}/api/v3/` of an own server; GitLab: `{base_url}/api/v4/`. A base that already names the API stays.
pub fn api_base(kind: ForgeKind, base_url: Option<&Url>) -> Result<Url, ForgeError> {
    let text = match kind {
        ForgeKind::Github => github_base(base_url),
        ForgeKind::Gitlab => {
            let base = base_url.map_or("https://gitlab.com", Url::as_str).trim_end_matches('/');
            format!("{}/api/v4/", base.trim_end_matches("/api/v4"))
        }
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
            return Err(ForgeError::NotSupported(kind));
        }
    };
    let invalid = || ForgeError::Invalid("base_url must be an http or https address without query".to_owned());
    let url = Url::parse(&text).map_err(|_| invalid())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    // The client crates speak http::Uri, which is stricter.
    if plain && url.as_str().parse::<http::Uri>().is_ok() { Ok(url) } else { Err(invalid()) }
}

/// How git logs in with a token of this forge.
pub fn clone_credential(kind: ForgeKind, token: &str) -> Result<Login, ForgeError> {
    let user = match kind {
        ForgeKind::Github => "x-access-token",
        ForgeKind::Gitlab => "oauth2",
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
            return Err(ForgeError::NotSupported(kind));
        }
    };
    Ok(Login { user: user.to_owned(), password: token.to_owned() })
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
        _ => format!("{}/api/v3/", text.trim_end_matches("/api/v3")),
    }
}

fn credential(kind: ForgeKind, token: &str) -> Result<(HeaderName, HeaderValue), ForgeError> {
    let (name, value) = match kind {
        ForgeKind::Github => (header::AUTHORIZATION, format!("Bearer {token}")),
        ForgeKind::Gitlab => (HeaderName::from_static("private-token"), token.to_owned()),
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
            return Err(ForgeError::NotSupported(kind));
        }
    };
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| ForgeError::Invalid("the connection's token holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests;
