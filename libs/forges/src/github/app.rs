//! A GitHub App: its installations, tokens that reach one repository and last an hour, and the repositories that an
//! installation covers. The App itself shows a token that it signs with its private key for each call; GitHub takes
//! such a token for 10 minutes, so ours begins a minute ago and ends in nine (octocrab's `create_jwt`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, Method, header};
use octocrab::auth::{AppAuth, EncodingKey, create_jwt};
use octocrab::models::AppId;
use octocrab::models::apps::CreateInstallationAccessToken;
use serde::Deserialize;
use slipway_domain::event::ForgeKind;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;
use url::Url;

use super::app_manifest::PERMISSIONS;
use super::call::{call, get, pages, route};
use super::client::owner_and_name;
use crate::api::api_base;
use crate::api::pages::{Bound, has_more};
use crate::api::rest::read;
use crate::repos::{RemoteRepo, RepoPage};
use crate::transport::{ForgeError, Transport};

pub mod deliveries;
pub mod myself;

/// GitHub's largest page.
const PER_PAGE: usize = 100;
/// How many installations of one App are listed.
const INSTALLATIONS: Bound = Bound { per_page: PER_PAGE, max_pages: 10 };
/// What a token for listing needs.
const LISTING: [(&str, &str); 1] = [("metadata", "read")];
/// An App's number and the key that it signs with.
#[derive(Clone)]
pub struct AppAccess {
    /// The App's number.
    pub app_id: u64,
    /// Its RSA key, PKCS #1 as GitHub gives it, or PKCS #8.
    pub private_key_pem: String,
}

/// What is needed to reach GitHub as an App.
pub struct AppConnect {
    /// Where GitHub is, as the connection says; `None` means github.com.
    pub base_url: Option<Url>,
    /// Who we are.
    pub access: AppAccess,
    /// Decides which addresses may be reached.
    pub egress: Egress,
    /// For waiting times that GitHub gives as a time of day.
    pub clock: Clock,
    /// Limit for one call, everything included.
    pub timeout: Duration,
}

/// One App on one GitHub. Its host is resolved at the first call and pinned from then on, so make a new one for each
/// piece of work.
#[derive(Clone)]
pub struct AppApi {
    app: AppAuth,
    /// Without a credential: each call brings its own.
    transport: Transport,
}

/// An account that installed the App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Its number, which deliveries bear.
    pub id: u64,
    /// Name of the user or organisation.
    pub account: String,
    /// No token is given for it until the account lifts this.
    pub suspended: bool,
    /// The App sees every repository of the account, also those to come.
    pub all_repositories: bool,
}

/// A token of an installation. It lasts an hour. GitHub may refuse it (401, 403 or 404) in its first seconds, until
/// all of GitHub has heard of it: whoever is refused with a fresh one should ask once more before believing it.
#[derive(Clone, PartialEq, Eq)]
pub struct InstallationToken {
    /// The password, whose user is `x-access-token`.
    pub token: String,
    /// When GitHub stops to take it.
    pub expires_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct InstallationAnswer {
    id: u64,
    account: Option<Account>,
    #[serde(default)]
    repository_selection: Option<String>,
    #[serde(default)]
    suspended_at: Option<String>,
}

/// Enterprises have a `slug` and no `login`.
#[derive(Deserialize)]
struct Account {
    #[serde(alias = "slug")]
    login: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: String,
    expires_at: DateTime<Utc>,
    #[serde(default)]
    repositories: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Vec<RepositoryAnswer>,
}

#[derive(Deserialize)]
struct RepositoryAnswer {
    id: u64,
    full_name: String,
    clone_url: String,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default)]
    default_branch: Option<String>,
    #[serde(default)]
    private: Option<bool>,
}

impl AppApi {
    /// Prepares; contacts nobody. Fails when there is no address, or the key is none that can sign.
    pub fn new(connect: AppConnect) -> Result<Self, ForgeError> {
        let AppConnect { base_url, access, egress, clock, timeout } = connect;
        let base = api_base(ForgeKind::Github, base_url.as_ref())?;
        let key = EncodingKey::from_rsa_pem(access.private_key_pem.as_bytes()).map_err(|_| unusable_key())?;
        let app = AppAuth { app_id: AppId(access.app_id), key };
        let transport = Transport { egress, http: Arc::default(), base, credential: None, timeout, clock };
        let api = Self { app, transport };
        api.as_app()?;
        Ok(api)
    }

    /// The accounts that installed the App, at most 1000.
    pub async fn installations(&self) -> Result<Vec<Installation>, ForgeError> {
        let listed = pages::<InstallationAnswer>(&self.as_app()?, INSTALLATIONS, &["app", "installations"]).await?;
        Ok(listed.items.into_iter().map(installation).collect())
    }

    /// The installation that covers this repository (owner/name). [`ForgeError::NotFound`] when none does.
    pub async fn installation_of(&self, repo: &str) -> Result<Installation, ForgeError> {
        let (owner, name) = owner_and_name(repo)?;
        let route = route(["repos", owner, name, "installation"], &[])?;
        Ok(installation(read(&get(&self.as_app()?, route).await?)?))
    }

    /// A token for this one repository: it reads contents and pull requests, and writes statuses and checks.
    /// [`ForgeError::NotFound`] when the installation does not cover the repository; [`ForgeError::Unauthorized`]
    /// when it is suspended; [`ForgeError::Rejected`] when the account has not granted all of these rights.
    /// See [`InstallationToken`] for its first seconds.
    pub async fn repository_token(&self, installation: u64, repo: &str) -> Result<InstallationToken, ForgeError> {
        let (_, name) = owner_and_name(repo)?;
        let given = self.token(installation, Some(name), &PERMISSIONS).await.map_err(|e| not_covered(e, repo))?;
        // Repositories are asked for without their owner. A token for another one, or for more, must not be used.
        match given.repositories.as_slice() {
            [only] if only.full_name.eq_ignore_ascii_case(repo) => Ok(given.into()),
            [_] => {
                Err(ForgeError::NotFound(format!("the GitHub App's installation covers another {name}, not {repo}")))
            }
            _ => Err(ForgeError::Transient("its token is not for one repository".to_owned())),
        }
    }

    /// A token for the whole installation that sees which repositories there are, and nothing in them.
    pub async fn listing_token(&self, installation: u64) -> Result<InstallationToken, ForgeError> {
        self.token(installation, None, &LISTING).await.map(InstallationToken::from)
    }

    /// A page of the repositories that the token's installation covers; the first without `cursor`, the others with
    /// the one that came with the page before.
    pub async fn installation_repos(
        &self,
        token: &InstallationToken,
        cursor: Option<&str>,
    ) -> Result<RepoPage, ForgeError> {
        let page: u32 = cursor
            .unwrap_or("1")
            .parse()
            .map_err(|_| ForgeError::Invalid("the cursor is none that this list gave".to_owned()))?;
        let query = [("per_page", PER_PAGE.to_string()), ("page", page.to_string())];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let route = route(["installation", "repositories"], &query)?;
        let answer = get(&self.bearing(&token.token)?, route).await?;
        let repositories = read::<Repositories>(&answer)?.repositories;
        let more = has_more(&answer, repositories.len(), PER_PAGE);
        let next = more.then(|| page.saturating_add(1).to_string());
        Ok(RepoPage { items: repositories.into_iter().map(remote_repo).collect(), next })
    }

    async fn token(
        &self,
        installation: u64,
        repository: Option<&str>,
        permissions: &[(&str, &str)],
    ) -> Result<TokenAnswer, ForgeError> {
        let pair = |(name, level): &(&str, &str)| ((*name).to_owned(), (*level).to_owned());
        let wanted = CreateInstallationAccessToken {
            repositories: repository.map(|name| vec![name.to_owned()]),
            repository_ids: None,
            permissions: Some(permissions.iter().map(pair).collect()),
        };
        let route = format!("/app/installations/{installation}/access_tokens");
        read(&call(&self.as_app()?, Method::POST, route, Some(&wanted)).await?)
    }

    /// The way to GitHub for the App itself.
    fn as_app(&self) -> Result<Transport, ForgeError> {
        let signed = create_jwt(self.app.app_id, &self.app.key).map_err(|_| unusable_key())?;
        self.bearing(&signed)
    }

    fn bearing(&self, token: &str) -> Result<Transport, ForgeError> {
        Ok(Transport { credential: Some(bearer(token)?), ..self.transport.clone() })
    }
}

impl From<TokenAnswer> for InstallationToken {
    fn from(given: TokenAnswer) -> Self {
        Self { token: given.token, expires_at: given.expires_at }
    }
}

impl fmt::Debug for AppAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppAccess").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for InstallationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallationToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

fn unusable_key() -> ForgeError {
    ForgeError::Invalid(
        "the GitHub App's private key is not a usable RSA key in PEM form; give the whole file that GitHub made, \
         its BEGIN and END lines included"
            .to_owned(),
    )
}

fn bearer(token: &str) -> Result<(HeaderName, HeaderValue), ForgeError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| ForgeError::Invalid("the token holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok((header::AUTHORIZATION, value))
}

/// GitHub answers 422 for a repository outside the installation ("There is at least one repository that does not exist
/// or is not accessible to the parent installation."), and for a right that the account has not granted ("The
/// permissions requested are not granted to this installation.").
fn not_covered(e: ForgeError, repo: &str) -> ForgeError {
    match e {
        ForgeError::Rejected { status: 422, message } if !message.contains("permission") => {
            ForgeError::NotFound(format!(
                "the GitHub App's installation does not cover {repo}; add the repository to the installation on GitHub"
            ))
        }
        other => other,
    }
}

fn installation(answer: InstallationAnswer) -> Installation {
    Installation {
        id: answer.id,
        account: answer.account.map(|account| account.login).unwrap_or_default(),
        suspended: answer.suspended_at.is_some(),
        all_repositories: answer.repository_selection.as_deref() == Some("all"),
    }
}

fn remote_repo(answer: RepositoryAnswer) -> RemoteRepo {
    RemoteRepo {
        id: answer.id.to_string(),
        full_path: answer.full_name,
        clone_url: answer.clone_url,
        web_url: answer.html_url,
        default_branch: answer.default_branch,
        private: answer.private,
    }
}

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;
