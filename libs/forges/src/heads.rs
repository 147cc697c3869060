//! Commits by name: where a branch or tag points now, for builds that somebody asks for, and the full id of a
//! shortened one.

use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::{GitRef, is_commit_id};

use crate::transport::{ForgeError, Transport};
use crate::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};

/// Shortest beginning of an id that is taken for one; git itself shows seven digits.
const MIN_PREFIX_DIGITS: usize = 7;

pub(crate) async fn head_of(
    kind: ForgeKind,
    transport: &Transport,
    repo: &str,
    git_ref: &GitRef,
) -> Result<Option<String>, ForgeError> {
    let head = match kind {
        ForgeKind::Github => github::heads::head_of(transport, repo, git_ref).await,
        ForgeKind::Gitlab => gitlab::heads::head_of(transport, repo, git_ref).await,
        ForgeKind::Bitbucket => bitbucket::client::head_of(transport, repo, git_ref).await,
        ForgeKind::BitbucketDc => bitbucket_dc::client::head_of(transport, repo, git_ref).await,
        ForgeKind::Gitea => gitea::client::head_of(transport, repo, git_ref).await,
        ForgeKind::Gitee => gitee::client::head_of(transport, repo, git_ref).await,
        ForgeKind::Coding => coding::client::head_of(transport, repo, git_ref).await,
    };
    match head {
        Ok(Some(commit)) if !is_commit_id(&commit) => {
            Err(ForgeError::Invalid("the forge's answer names no full commit id".to_owned()))
        }
        other => other,
    }
}

/// Only Bitbucket Cloud shortens ids; from every other forge a shortened one is a mistake.
pub(crate) async fn full_commit(
    kind: ForgeKind,
    transport: &Transport,
    repo: &str,
    prefix: &str,
) -> Result<String, ForgeError> {
    let hex = prefix.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if kind != ForgeKind::Bitbucket || !hex || prefix.len() < MIN_PREFIX_DIGITS {
        return Err(ForgeError::Invalid("the commit is not a full object id".to_owned()));
    }
    let commit = bitbucket::client::commit(transport, repo, prefix).await?;
    if is_commit_id(&commit) && commit.starts_with(prefix) {
        return Ok(commit);
    }
    Err(ForgeError::Invalid("the forge's answer names another commit".to_owned()))
}
