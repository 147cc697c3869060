//! Deploy keys, which fetch one repository and nothing else. A key is the one that has the same text, comments aside.

use slipway_domain::event::ForgeKind;

use crate::api::ForgeApi;
use crate::transport::ForgeError;
use crate::{bitbucket, bitbucket_dc, gitea, gitee, github, gitlab};

/// Pages of keys that are looked through.
pub(crate) const MAX_PAGES: usize = 5;

/// A key as the forge tells of it.
pub(crate) struct DeployKey {
    pub(crate) id: String,
    pub(crate) text: String,
    /// It may push; we want one that may not.
    pub(crate) writes: bool,
}

/// A public key as OpenSSH writes it, without its comment.
struct KeyText<'a> {
    algorithm: &'a str,
    blob: &'a str,
}

impl ForgeApi {
    /// Adds a key that may read, unless the repository has it; one that may write is replaced. Gives its id. `public_key`
    /// is one line of OpenSSH's. [`ForgeError::Invalid`] on CODING, which shows fingerprints only.
    pub async fn ensure_deploy_key(&self, repo: &str, title: &str, public_key: &str) -> Result<String, ForgeError> {
        let wanted = KeyText::read(public_key)?;
        for key in self.keys(repo).await?.into_iter().filter(|key| wanted.is(&key.text)) {
            if !key.writes {
                return Ok(key.id);
            }
            self.remove_key(repo, &key.id).await?;
        }
        let (transport, text) = (&self.transport, wanted.line());
        match self.kind {
            ForgeKind::Github => github::keys::add(transport, repo, title, &text).await,
            ForgeKind::Gitlab => gitlab::keys::add(transport, repo, title, &text).await,
            ForgeKind::Bitbucket => bitbucket::keys::add(transport, repo, title, &text).await,
            ForgeKind::BitbucketDc => bitbucket_dc::keys::add(transport, repo, title, &text).await,
            ForgeKind::Gitea => gitea::keys::add(transport, repo, title, &text).await,
            ForgeKind::Gitee => gitee::keys::add(transport, repo, title, &text).await,
            ForgeKind::Coding => Err(unsupported()),
        }
    }

    /// Removes the key of this text from the repository. True if it had it.
    pub async fn remove_deploy_key(&self, repo: &str, public_key: &str) -> Result<bool, ForgeError> {
        let wanted = KeyText::read(public_key)?;
        let mut found = false;
        for key in self.keys(repo).await?.into_iter().filter(|key| wanted.is(&key.text)) {
            self.remove_key(repo, &key.id).await?;
            found = true;
        }
        Ok(found)
    }

    async fn keys(&self, repo: &str) -> Result<Vec<DeployKey>, ForgeError> {
        let transport = &self.transport;
        match self.kind {
            ForgeKind::Github => github::keys::list(transport, repo).await,
            ForgeKind::Gitlab => gitlab::keys::list(transport, repo).await,
            ForgeKind::Bitbucket => bitbucket::keys::list(transport, repo).await,
            ForgeKind::BitbucketDc => bitbucket_dc::keys::list(transport, repo).await,
            ForgeKind::Gitea => gitea::keys::list(transport, repo).await,
            ForgeKind::Gitee => gitee::keys::list(transport, repo).await,
            ForgeKind::Coding => Err(unsupported()),
        }
    }

    /// What somebody else has removed meanwhile is gone as well.
    async fn remove_key(&self, repo: &str, id: &str) -> Result<(), ForgeError> {
        let transport = &self.transport;
        let removed = match self.kind {
            ForgeKind::Github => github::keys::remove(transport, repo, id).await,
            ForgeKind::Gitlab => gitlab::keys::remove(transport, repo, id).await,
            ForgeKind::Bitbucket => bitbucket::keys::remove(transport, repo, id).await,
            ForgeKind::BitbucketDc => bitbucket_dc::keys::remove(transport, repo, id).await,
            ForgeKind::Gitea => gitea::keys::remove(transport, repo, id).await,
            ForgeKind::Gitee => gitee::keys::remove(transport, repo, id).await,
            ForgeKind::Coding => Err(unsupported()),
        };
        match removed {
            Err(ForgeError::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

impl<'a> KeyText<'a> {
    fn read(public_key: &'a str) -> Result<Self, ForgeError> {
        let invalid = || ForgeError::Invalid("the deploy key is not one line of an OpenSSH public key".to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '@' | '.');
        if public_key.trim().contains(['\n', '\r']) {
            return Err(invalid());
        }
        let mut parts = public_key.split_ascii_whitespace();
        match (parts.next(), parts.next()) {
            (Some(algorithm), Some(blob)) if [algorithm, blob].iter().all(|part| part.chars().all(plain)) => {
                Ok(Self { algorithm, blob })
            }
            _ => Err(invalid()),
        }
    }

    fn is(&self, text: &str) -> bool {
        let mut parts = text.split_ascii_whitespace();
        (parts.next(), parts.next()) == (Some(self.algorithm), Some(self.blob))
    }

    fn line(&self) -> String {
        format!("{} {}", self.algorithm, self.blob)
    }
}

fn unsupported() -> ForgeError {
    let words = "CODING tells only fingerprints of deploy keys: add the key in the repository's settings";
    ForgeError::Invalid(words.to_owned())
}
