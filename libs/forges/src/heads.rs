//! Where a branch or tag points now: for builds that somebody asks for by name.

use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::{GitRef, is_commit_id};

use crate::transport::{ForgeError, Transport};
use crate::{github, gitlab};

pub(crate) async fn head_of(
    kind: ForgeKind,
    transport: &Transport,
    repo: &str,
    git_ref: &GitRef,
) -> Result<Option<String>, ForgeError> {
    let head = match kind {
        ForgeKind::Github => github::heads::head_of(transport, repo, git_ref).await,
        ForgeKind::Gitlab => gitlab::heads::head_of(transport, repo, git_ref).await,
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
            Err(ForgeError::NotSupported(kind))
        }
    };
    match head {
        Ok(Some(commit)) if !is_commit_id(&commit) => {
            Err(ForgeError::Invalid("the forge's answer names no full commit id".to_owned()))
        }
        other => other,
    }
}
