//! A delivery as it came in: is it really from the forge, which one is it, and what does it mean.
//! Pure functions over headers and raw bytes; they dispatch to the forge's folder.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use slipway_domain::event::{ForgeKind, HookAuth, Outcome};

use crate::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};

pub use crate::auth::VerifyError;
pub use crate::body::ParseError;

/// Longest delivery id that we take from a header; anything longer is replaced by the body's hash.
const MAX_DELIVERY_ID_BYTES: usize = 128;

/// A request that came in on a hook, exactly as received.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The forge, as the hook's row says.
    pub kind: ForgeKind,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The raw body, before any decoding.
    pub body: &'a [u8],
}

/// A delivery that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The forge's name for the event.
    pub event_name: String,
    /// What tells this delivery from others on the same hook, see [`delivery_id`].
    pub delivery_id: String,
    /// The forge's own stable id of the repository, which survives a rename.
    pub repo_id: Option<String>,
    /// When it happened by the forge's clock, where the forge says so.
    pub forge_time: Option<DateTime<Utc>>,
    /// What it means.
    pub outcome: Outcome,
}

/// What a forge's parser finds in the body.
pub(crate) struct Found {
    pub(crate) event_name: String,
    pub(crate) repo_id: Option<String>,
    pub(crate) forge_time: Option<DateTime<Utc>>,
    pub(crate) outcome: Outcome,
}

/// Says how the delivery proves its origin, or why it does not. `secrets` are the hook's current one and,
/// during a rotation, the previous one; without any, nothing is ever accepted.
pub fn verify(received: &Received<'_>, secrets: &[String], now: DateTime<Utc>) -> Result<HookAuth, VerifyError> {
    let Received { kind, headers, body } = *received;
    match kind {
        ForgeKind::Github => github::verify::verify(headers, body, secrets, now),
        ForgeKind::Gitlab => gitlab::verify::verify(headers, body, secrets, now),
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc => bitbucket::verify::verify(headers, body, secrets, now),
        ForgeKind::Gitea => gitea::verify::verify(headers, body, secrets, now),
        ForgeKind::Gitee => gitee::verify::verify(headers, body, secrets, now),
        ForgeKind::Coding => coding::verify::verify(headers, body, secrets, now),
    }
}

/// The proof that the headers carry, whether or not it holds.
pub fn claimed_auth(received: &Received<'_>) -> HookAuth {
    match received.kind {
        ForgeKind::Github => github::verify::claimed(received.headers),
        ForgeKind::Gitlab => gitlab::verify::claimed(received.headers),
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc => bitbucket::verify::claimed(received.headers),
        ForgeKind::Gitea => gitea::verify::claimed(received.headers),
        ForgeKind::Gitee => gitee::verify::claimed(received.headers),
        ForgeKind::Coding => coding::verify::claimed(received.headers, received.body),
    }
}

/// Reads what the delivery means. Does not verify.
pub fn parse(received: &Received<'_>) -> Result<Parsed, ParseError> {
    let Received { kind, headers, body } = *received;
    let found = match kind {
        ForgeKind::Github => github::parse::parse(headers, body),
        ForgeKind::Gitlab => gitlab::parse::parse(headers, body),
        ForgeKind::Bitbucket => bitbucket::parse::parse(headers, body),
        ForgeKind::BitbucketDc => bitbucket_dc::parse::parse(headers, body),
        ForgeKind::Gitea => gitea::parse::parse(headers, body),
        ForgeKind::Gitee => gitee::parse::parse(headers, body),
        ForgeKind::Coding => coding::parse::parse(headers, body),
    }?;
    Ok(Parsed {
        event_name: found.event_name,
        delivery_id: delivery_id(received),
        repo_id: found.repo_id,
        forge_time: found.forge_time,
        outcome: found.outcome,
    })
}

/// The id that stays the same when the forge sends the same delivery again: GitLab's `webhook-id` or
/// `Idempotency-Key`, the request's or delivery's id of the others. Where the forge gives none: `sha256:` and the
/// hash of the body, which two equal events share, so that such an id is only good within a short window.
pub fn delivery_id(received: &Received<'_>) -> String {
    let names: &[&str] = match received.kind {
        ForgeKind::Github => &["x-github-delivery"],
        ForgeKind::Gitlab => &["webhook-id", "idempotency-key"],
        ForgeKind::Bitbucket => &["x-request-uuid"],
        ForgeKind::BitbucketDc => &["x-request-id"],
        ForgeKind::Gitea => &["x-gitea-delivery"],
        ForgeKind::Gitee => &[],
        ForgeKind::Coding => &["x-coding-delivery"],
    };
    let usable = |id: &&str| !id.is_empty() && id.len() <= MAX_DELIVERY_ID_BYTES;
    names
        .iter()
        .filter_map(|name| received.headers.get(*name)?.to_str().ok().map(str::trim))
        .find(usable)
        .map(str::to_owned)
        .unwrap_or_else(|| format!("sha256:{}", hex::encode(Sha256::digest(received.body))))
}

#[cfg(test)]
mod details_tests;
#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod verify_tests;
