//! The normalised forge event: what a delivery says, in the same words for every forge. The JSON form
//! is what `slipway hook inspect` prints.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::text_enum::text_enum;

text_enum! {
    /// The forges we speak to.
    ForgeKind {
        /// github.com and GitHub Enterprise Server.
        Github = "github",
        /// gitlab.com and self-managed GitLab.
        Gitlab = "gitlab",
        /// Bitbucket Cloud.
        Bitbucket = "bitbucket",
        /// Bitbucket Data Center.
        BitbucketDc = "bitbucket_dc",
        /// Gitea and Forgejo.
        Gitea = "gitea",
        /// gitee.com.
        Gitee = "gitee",
        /// CODING DevOps.
        Coding = "coding",
    }
}

text_enum! {
    /// How a delivery proved where it comes from.
    HookAuth {
        /// HMAC-SHA256 over the raw body.
        HmacSha256 = "hmac_sha256",
        /// HMAC-SHA1 over the raw body.
        HmacSha1 = "hmac_sha1",
        /// Standard Webhooks 1.0: id, timestamp and body are signed.
        StandardWebhooksV1 = "standard_webhooks_v1",
        /// A shared token in a header.
        SharedToken = "shared_token",
        /// A signed timestamp; the body is not covered.
        TimestampOnly = "timestamp_only",
        /// Nothing.
        None = "none",
    }
}

/// What a delivery means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "snake_case")]
pub enum Outcome {
    /// The forge tries whether we listen.
    Ping,
    /// Something happened to the repository; one delivery may tell of several things.
    Events(Vec<Event>),
    /// Something happened to the installation, the hook or the repository itself.
    Lifecycle(String),
    /// Authentic, understood, and nothing to do; the reason is shown on the delivery.
    Ignored(String),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A branch or tag moved.
    Ref(RefEvent),
    /// A pull or merge request changed.
    Change(ChangeEvent),
    /// A release was published.
    Release(ReleaseEvent),
    /// Somebody asked on the forge to run again.
    Rerun(RerunEvent),
}

text_enum! {
    /// What kind of ref moved.
    RefKind {
        /// `refs/heads/…`
        Branch = "branch",
        /// `refs/tags/…`
        Tag = "tag",
        /// Anything else.
        Other = "other",
    }
}

text_enum! {
    /// How it moved.
    RefOp {
        /// It did not exist before.
        Created = "created",
        /// It points somewhere else now.
        Updated = "updated",
        /// It is gone.
        Deleted = "deleted",
    }
}

impl Event {
    /// The full path of the repository that it happened to.
    pub fn repo(&self) -> &str {
        match self {
            Self::Ref(event) => &event.repo,
            Self::Change(event) => &event.repo,
            Self::Release(event) => &event.repo,
            Self::Rerun(event) => &event.repo,
        }
    }
}

/// A branch or tag moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefEvent {
    /// The repository's full path on the forge.
    pub repo: String,
    /// Branch, tag or other.
    pub kind: RefKind,
    /// The short name; the full ref where `kind` is `other`.
    pub name: String,
    /// Created, updated or deleted.
    pub op: RefOp,
    /// The commit it points to now (tags peeled), where the forge says it.
    pub commit: Option<String>,
    /// Whether history was rewritten; `None` where the forge does not say.
    pub forced: Option<bool>,
    /// Whether the head commit or a push option asks not to build.
    pub skip_ci: bool,
    /// The object it pointed to before; `None` when created.
    #[serde(default, skip_serializing)]
    pub before: Option<String>,
    /// The object it points to now; for an annotated tag the tag object. `None` when deleted.
    #[serde(default, skip_serializing)]
    pub after: Option<String>,
    /// The marker that asked to skip, as written.
    #[serde(default, skip_serializing)]
    pub skip_marker: Option<String>,
    /// First line of the head commit's message.
    #[serde(default, skip_serializing)]
    pub title: Option<String>,
    /// Who pushed, as the forge names them.
    #[serde(default, skip_serializing)]
    pub actor: Option<String>,
}

text_enum! {
    /// What happened to a pull or merge request.
    ChangeAction {
        /// New.
        Opened = "opened",
        /// Open again.
        Reopened = "reopened",
        /// New commits.
        HeadUpdated = "head_updated",
        /// Another target branch.
        Retargeted = "retargeted",
        /// No draft any more.
        ReadyForReview = "ready_for_review",
        /// Title, labels, reviewers.
        Metadata = "metadata",
        /// Closed without a merge.
        Closed = "closed",
        /// Merged.
        Merged = "merged",
        /// Anything else.
        Other = "other",
    }
}

/// A pull or merge request changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEvent {
    /// The target repository's full path.
    pub repo: String,
    /// Its number there.
    pub number: u64,
    /// What happened.
    pub action: ChangeAction,
    /// The head commit; some forges give only a prefix.
    pub head: Option<String>,
    /// Branch it comes from.
    pub source_branch: Option<String>,
    /// Branch it goes to.
    pub target_branch: Option<String>,
    /// Comes from another repository; unknown counts as true.
    pub from_fork: bool,
    /// What else the forge says about it.
    #[serde(default, skip_serializing)]
    pub details: ChangeDetails,
}

/// What a forge says about a pull or merge request beside what moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeDetails {
    /// Its authors do not want it reviewed yet.
    pub draft: bool,
    /// First line of its title.
    pub title: Option<String>,
    /// Who opened it, as the forge names them; `None` where the delivery does not say for sure.
    pub author: Option<String>,
    /// Who caused this news.
    pub sender: Option<String>,
    /// The marker of its head commit that asks not to build, as written, where the forge tells the message.
    pub skip_marker: Option<String>,
    /// When it changed last, by the forge's clock.
    pub told_at: Option<DateTime<Utc>>,
}

/// A release was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEvent {
    /// The repository's full path.
    pub repo: String,
    /// Its tag.
    pub tag: String,
}

/// Somebody asked on the forge to run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerunEvent {
    /// The repository's full path.
    pub repo: String,
    /// The commit to build again.
    pub commit: String,
    /// Our own id of what is to run again, where the forge gives it back.
    #[serde(default, skip_serializing)]
    pub ours: Option<String>,
}

/// True for the all-zero object id, of 40 or 64 digits, by which forges say "none".
pub fn is_zero_id(id: &str) -> bool {
    matches!(id.len(), 40 | 64) && id.bytes().all(|b| b == b'0')
}

/// The first marker in a commit message that asks not to build, as written.
/// GitHub's list (`[skip ci]`, `[ci skip]`, `[no ci]`, `[skip actions]`, `[actions skip]`, the trailer
/// `skip-checks: true`), case-insensitive.
pub fn skip_marker(message: &str) -> Option<String> {
    const MARKERS: [&str; 5] = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"];
    let lower = message.to_ascii_lowercase();
    if let Some(at) = MARKERS.iter().filter_map(|m| lower.find(m).map(|at| (at, m.len()))).min() {
        return message.get(at.0..at.0 + at.1).map(str::to_owned);
    }
    message
        .lines()
        .map(str::trim)
        .find(|line| {
            line.split_once(':').is_some_and(|(key, value)| {
                key.eq_ignore_ascii_case("skip-checks") && value.trim().eq_ignore_ascii_case("true")
            })
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_markers_are_found_as_written() {
        assert_eq!(skip_marker("docs: typo [Skip CI]"), Some("[Skip CI]".to_owned()));
        assert_eq!(skip_marker("x\n\nskip-checks: TRUE"), Some("skip-checks: TRUE".to_owned()));
        assert_eq!(skip_marker("über [ci skip]"), Some("[ci skip]".to_owned()));
        assert_eq!(skip_marker("skip ci without brackets"), None);
    }

    #[test]
    fn zero_ids_of_both_lengths() {
        assert!(is_zero_id(&"0".repeat(40)) && is_zero_id(&"0".repeat(64)));
        assert!(!is_zero_id(&"0".repeat(41)) && !is_zero_id(&"1".repeat(40)));
    }
}
