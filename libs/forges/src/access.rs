//! What a connection speaks with: a token that somebody gave us, or one that an App makes for one repository and an hour.
//! Apps' tokens are kept until shortly before their end, because making one is a call.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::github::app::{AppAccess, AppApi, AppConnect, InstallationToken};
use crate::transport::ForgeError;

/// A token that ends sooner is made anew: a clone may take a while.
const MARGIN: TimeDelta = TimeDelta::minutes(15);
/// Tokens that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 10_000;

/// What a connection speaks with.
#[derive(Clone)]
pub enum Credential {
    /// A token that is good until somebody renews it.
    Token(String),
    /// An installation of a GitHub App.
    App {
        /// The App.
        access: AppAccess,
        /// GitHub's number of the installation.
        installation: u64,
    },
}

impl Credential {
    /// From what a connection's row has: a token, or GitHub's numbers of an App and its installation with the App's key,
    /// which go before. `None` where it has neither.
    pub fn of_row(token: Option<String>, app: Option<(i64, String, i64)>) -> Option<Self> {
        let Some((app_id, private_key_pem, installation)) = app else { return token.map(Self::Token) };
        let access = AppAccess { app_id: u64::try_from(app_id).ok()?, private_key_pem };
        Some(Self::App { access, installation: u64::try_from(installation).ok()? })
    }
}

/// Never shows what it holds.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(…)"),
            Self::App { access, installation } => write!(f, "App({}, {installation})", access.app_id),
        }
    }
}

/// Tokens of Apps. Cheap to clone; clones share what they remember.
#[derive(Clone, Default)]
pub struct AppTokens(Arc<Mutex<HashMap<Key, InstallationToken>>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    base: Option<String>,
    app: u64,
    installation: u64,
    repo: String,
}

impl AppTokens {
    /// A token for this repository: the connection's own, a remembered one, or a new one. `connect` reaches the App's
    /// GitHub and is used only for a new one.
    pub async fn token(
        &self,
        credential: &Credential,
        repo: &str,
        connect: impl FnOnce(AppAccess) -> AppConnect,
    ) -> Result<String, ForgeError> {
        let (access, installation) = match credential {
            Credential::Token(token) => return Ok(token.clone()),
            Credential::App { access, installation } => (access, *installation),
        };
        let connect = connect(access.clone());
        let now = connect.clock.now();
        let base = connect.base_url.as_ref().map(ToString::to_string);
        let key = Key { base, app: access.app_id, installation, repo: repo.to_lowercase() };
        if let Some(token) = self.remembered(&key, now) {
            return Ok(token);
        }
        let made = AppApi::new(connect)?.repository_token(installation, repo).await?;
        let token = made.token.clone();
        self.remember(key, made, now);
        Ok(token)
    }

    /// Forgets the tokens for a repository that its forge refuses, so that the next call makes a new one.
    pub fn forget_those_of(&self, repo: &str) {
        let repo = repo.to_lowercase();
        self.change(|tokens| tokens.retain(|key, _| key.repo != repo));
    }

    fn remembered(&self, key: &Key, now: DateTime<Utc>) -> Option<String> {
        self.change(|tokens| {
            tokens.get(key).filter(|known| known.expires_at > now + MARGIN).map(|known| known.token.clone())
        })
    }

    fn remember(&self, key: Key, token: InstallationToken, now: DateTime<Utc>) {
        self.change(|tokens| {
            tokens.retain(|_, known| known.expires_at > now);
            if tokens.len() >= REMEMBERED {
                tokens.clear();
            }
            tokens.insert(key, token);
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Key, InstallationToken>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
