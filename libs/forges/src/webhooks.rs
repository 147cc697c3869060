//! Our webhook on the forge: made, set right, looked at, removed. The hook is the one that has our URL, which nobody
//! else has; so a call whose answer was lost can be repeated.

use std::fmt;

use slipway_domain::event::ForgeKind;
use url::Url;

use crate::api::ForgeApi;
use crate::transport::{ForgeError, Transport};
use crate::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};

/// Pages of hooks that are looked through.
pub(crate) const MAX_PAGES: usize = 5;
/// What our hooks are called on forges that name them.
pub(crate) const HOOK_NAME: &str = "Slipway";
/// Longest part of what a forge says about a delivery.
const MAX_ERROR_CHARS: usize = 200;

/// What the hook is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSpec {
    /// Where the forge is to deliver.
    pub url: String,
    /// What it is to sign with; on GitLab both the shared token and, in the form `whsec_…`, the signing token.
    pub secret: String,
}

impl fmt::Debug for HookSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookSpec").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The hook as the forge tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteHook {
    /// The forge's id of it.
    pub id: String,
    /// Where it delivers.
    pub url: String,
    /// Whether it delivers at all.
    pub active: bool,
    /// Of the events that we want, by the forge's names, those that it does not deliver.
    pub missing_events: Vec<String>,
    /// Why the last delivery failed or the forge has stopped delivering, where it tells.
    pub last_error: Option<String>,
}

impl ForgeApi {
    /// Makes the webhook, or sets the events, the secret and `active` of the one that already has this URL.
    pub async fn ensure_hook(&self, repo: &str, spec: &HookSpec) -> Result<RemoteHook, ForgeError> {
        let transport = &self.transport;
        match self.with_url(repo, &spec.url).await?.into_iter().next() {
            Some(hook) => self.set_hook(repo, &hook, spec).await?,
            None => match self.kind {
                ForgeKind::Github => github::hooks::make(transport, repo, spec).await?,
                ForgeKind::Gitlab => gitlab::hooks::make(transport, repo, spec).await?,
                ForgeKind::Bitbucket => bitbucket::hooks::make(transport, repo, spec).await?,
                ForgeKind::BitbucketDc => bitbucket_dc::hooks::make(transport, repo, spec).await?,
                ForgeKind::Gitea => gitea::hooks::make(transport, repo, spec).await?,
                ForgeKind::Gitee => gitee::hooks::make(transport, repo, spec).await?,
                ForgeKind::Coding => coding::hooks::make(transport, repo, spec).await?,
            },
        }
        let made = self.find_hook(repo, &spec.url).await?;
        made.ok_or_else(|| ForgeError::Transient("it took the webhook and does not list it".to_owned()))
    }

    /// The webhook that has this URL.
    pub async fn find_hook(&self, repo: &str, url: &str) -> Result<Option<RemoteHook>, ForgeError> {
        let Some(mut hook) = self.with_url(repo, url).await?.into_iter().next() else { return Ok(None) };
        if self.kind == ForgeKind::BitbucketDc {
            hook.last_error = bitbucket_dc::hooks::last_error(&self.transport, repo, &hook.id).await?;
        }
        Ok(Some(hook))
    }

    /// Removes the webhook that has this URL. True if there was one.
    pub async fn remove_hook(&self, repo: &str, url: &str) -> Result<bool, ForgeError> {
        let hooks = self.with_url(repo, url).await?;
        for hook in &hooks {
            remove(self.kind, &self.transport, repo, &hook.id).await?;
        }
        Ok(!hooks.is_empty())
    }

    async fn set_hook(&self, repo: &str, hook: &RemoteHook, spec: &HookSpec) -> Result<(), ForgeError> {
        let (transport, id) = (&self.transport, hook.id.as_str());
        match self.kind {
            ForgeKind::Github => github::hooks::set(transport, repo, id, spec).await,
            // Nothing but a successful test delivery ends GitLab's pause of a hook, and that would look like a push.
            ForgeKind::Gitlab if !hook.active => {
                remove(self.kind, transport, repo, id).await?;
                gitlab::hooks::make(transport, repo, spec).await
            }
            ForgeKind::Gitlab => gitlab::hooks::set(transport, repo, id, spec).await,
            ForgeKind::Bitbucket => bitbucket::hooks::set(transport, repo, id, spec).await,
            ForgeKind::BitbucketDc => bitbucket_dc::hooks::set(transport, repo, id, spec).await,
            ForgeKind::Gitea => gitea::hooks::set(transport, repo, id, spec).await,
            ForgeKind::Gitee => gitee::hooks::set(transport, repo, id, spec).await,
            ForgeKind::Coding => coding::hooks::set(transport, repo, id, spec).await,
        }
    }

    /// Hooks that have this URL: one, but for what people do by hand.
    async fn with_url(&self, repo: &str, url: &str) -> Result<Vec<RemoteHook>, ForgeError> {
        let transport = &self.transport;
        let mut hooks = match self.kind {
            ForgeKind::Github => github::hooks::list(transport, repo).await,
            ForgeKind::Gitlab => gitlab::hooks::list(transport, repo).await,
            ForgeKind::Bitbucket => bitbucket::hooks::list(transport, repo).await,
            ForgeKind::BitbucketDc => bitbucket_dc::hooks::list(transport, repo).await,
            ForgeKind::Gitea => gitea::hooks::list(transport, repo).await,
            ForgeKind::Gitee => gitee::hooks::list(transport, repo).await,
            ForgeKind::Coding => coding::hooks::list(transport, repo).await,
        }?;
        hooks.retain(|hook| is_same(&hook.url, url));
        Ok(hooks)
    }
}

/// What somebody else has removed meanwhile is gone as well.
async fn remove(kind: ForgeKind, transport: &Transport, repo: &str, id: &str) -> Result<(), ForgeError> {
    let removed = match kind {
        ForgeKind::Github => github::hooks::remove(transport, repo, id).await,
        ForgeKind::Gitlab => gitlab::hooks::remove(transport, repo, id).await,
        ForgeKind::Bitbucket => bitbucket::hooks::remove(transport, repo, id).await,
        ForgeKind::BitbucketDc => bitbucket_dc::hooks::remove(transport, repo, id).await,
        ForgeKind::Gitea => gitea::hooks::remove(transport, repo, id).await,
        ForgeKind::Gitee => gitee::hooks::remove(transport, repo, id).await,
        ForgeKind::Coding => coding::hooks::remove(transport, repo, id).await,
    };
    match removed {
        Err(ForgeError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Of the events that we want, those that are not there.
pub(crate) fn missing(wanted: &[&str], has: impl Fn(&str) -> bool) -> Vec<String> {
    wanted.iter().filter(|event| !has(event)).map(|event| (*event).to_owned()).collect()
}

/// The status of a delivery that failed, with the forge's words for it.
pub(crate) fn failed(code: Option<i64>, words: Option<&str>) -> Option<String> {
    let code = code.filter(|code| !(200..300).contains(code))?;
    let words = words.map(one_line).filter(|words| !words.is_empty());
    Some(words.map_or_else(|| format!("status {code}"), |words| format!("status {code}: {words}")))
}

/// A forge's words as one line of bounded length.
pub(crate) fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_ERROR_CHARS).collect()
}

fn is_same(one: &str, other: &str) -> bool {
    one == other || matches!((Url::parse(one), Url::parse(other)), (Ok(one), Ok(other)) if one == other)
}
