//! What a push or a change touches, for a project's rules: changed files, whole commit messages, and who may push.

use std::collections::BTreeSet;

use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::is_commit_id;

use crate::api::ForgeApi;
use crate::transport::{ForgeError, too_long};
use crate::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};

/// How many pages of changed files are read; what has more touches so much that a path filter says little.
pub(crate) const MAX_PAGES: usize = 3;

/// Names of files, from the repository's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedFiles {
    /// Sorted, each once; of a renamed file both names.
    pub paths: Vec<String>,
    /// The forge left files out, or may have: what is not listed may have changed all the same.
    pub truncated: bool,
}

impl ChangedFiles {
    /// Nothing is known.
    pub(crate) fn unknown() -> Self {
        Self { paths: Vec::new(), truncated: true }
    }

    /// From old and new names in any order, with repetitions.
    pub(crate) fn new(names: impl IntoIterator<Item = Option<String>>, truncated: bool) -> Self {
        let paths: BTreeSet<String> = names.into_iter().flatten().filter(|path| !path.is_empty()).collect();
        Self { paths: paths.into_iter().collect(), truncated }
    }
}

impl ForgeApi {
    /// Files that differ between two commits of the repository. Where a forge compares only with the commit that
    /// both come from, a push that took commits away gives a truncated list.
    pub async fn changed_files(&self, repo: &str, before: &str, after: &str) -> Result<ChangedFiles, ForgeError> {
        full_id(before)?;
        full_id(after)?;
        let transport = &self.transport;
        known_or_cut(match self.kind {
            ForgeKind::Github => github::compare::between(transport, repo, before, after).await,
            ForgeKind::Gitlab => gitlab::compare::between(transport, repo, before, after).await,
            ForgeKind::Bitbucket => bitbucket::compare::between(transport, repo, before, after).await,
            ForgeKind::BitbucketDc => bitbucket_dc::compare::between(transport, repo, before, after).await,
            ForgeKind::Gitea => gitea::compare::between(transport, repo, before, after).await,
            ForgeKind::Gitee => gitee::compare::between(transport, repo, before, after).await,
            // CODING compares two commits for a path that one names (`DescribeDifferentBetween2Commits`), and lists none.
            ForgeKind::Coding => Ok(ChangedFiles::unknown()),
        })
    }

    /// Files that a pull or merge request changes.
    pub async fn files_of_change(&self, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
        let transport = &self.transport;
        known_or_cut(match self.kind {
            ForgeKind::Github => github::compare::of_change(transport, repo, number).await,
            ForgeKind::Gitlab => gitlab::compare::of_change(transport, repo, number).await,
            ForgeKind::Bitbucket => bitbucket::compare::of_change(transport, repo, number).await,
            ForgeKind::BitbucketDc => bitbucket_dc::compare::of_change(transport, repo, number).await,
            ForgeKind::Gitea => gitea::compare::of_change(transport, repo, number).await,
            ForgeKind::Gitee => gitee::compare::of_change(transport, repo, number).await,
            ForgeKind::Coding => coding::compare::of_change(transport, repo, number).await,
        })
    }

    /// The whole message of a commit; on CODING its beginning, which is all that its API shows.
    pub async fn commit_message(&self, repo: &str, commit: &str) -> Result<String, ForgeError> {
        full_id(commit)?;
        let transport = &self.transport;
        match self.kind {
            ForgeKind::Github => github::compare::message(transport, repo, commit).await,
            ForgeKind::Gitlab => gitlab::compare::message(transport, repo, commit).await,
            ForgeKind::Bitbucket => bitbucket::compare::message(transport, repo, commit).await,
            ForgeKind::BitbucketDc => bitbucket_dc::compare::message(transport, repo, commit).await,
            ForgeKind::Gitea => gitea::compare::message(transport, repo, commit).await,
            ForgeKind::Gitee => gitee::compare::message(transport, repo, commit).await,
            ForgeKind::Coding => coding::compare::message(transport, repo, commit).await,
        }
    }

    /// Whether a person, by the name that the forge's events tell, may push to the repository. Nobody may on
    /// Bitbucket Cloud, whose events tell a nickname that anybody can take, and on CODING, which shows no rights of
    /// a repository.
    pub async fn may_push(&self, repo: &str, login: &str) -> Result<bool, ForgeError> {
        // As a part of an address these would name something else.
        if matches!(login, "" | "." | "..") {
            return Ok(false);
        }
        let transport = &self.transport;
        match self.kind {
            ForgeKind::Github => github::compare::may_push(transport, repo, login).await,
            ForgeKind::Gitlab => gitlab::compare::may_push(transport, repo, login).await,
            ForgeKind::BitbucketDc => bitbucket_dc::compare::may_push(transport, repo, login).await,
            ForgeKind::Gitea => gitea::compare::may_push(transport, repo, login).await,
            ForgeKind::Gitee => gitee::compare::may_push(transport, repo, login).await,
            ForgeKind::Bitbucket | ForgeKind::Coding => Ok(false),
        }
    }
}

/// Some forges send each file's difference along: what is too long to be read is a list that was cut.
fn known_or_cut(found: Result<ChangedFiles, ForgeError>) -> Result<ChangedFiles, ForgeError> {
    match found {
        Err(e) if e == too_long() => Ok(ChangedFiles::unknown()),
        other => other,
    }
}

fn full_id(commit: &str) -> Result<(), ForgeError> {
    if is_commit_id(commit) {
        return Ok(());
    }
    Err(ForgeError::Invalid("the commit is not a full object id".to_owned()))
}
