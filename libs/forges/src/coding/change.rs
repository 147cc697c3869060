//! Merge requests. V2 and the Service Hook name both repositories; the first format names the source of a
//! `pull_request`, and none for a `merge_request`.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent};

use super::parse::Repository;
use crate::body::{ForgeTime, Id, ParseError, Person, details, need, told_id};

/// The event's body, in any of the formats.
#[derive(Debug, Deserialize)]
pub(super) struct MergeRequestEvent {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    number: Id,
    #[serde(default)]
    sender: Option<Person>,
    #[serde(default, rename = "mergeRequest", alias = "pullRequest")]
    newer: Option<MergeRequest>,
    #[serde(default, rename = "merge_request", alias = "pull_request")]
    first: Option<FirstMergeRequest>,
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct MergeRequest {
    #[serde(default)]
    number: Id,
    #[serde(default)]
    head: Option<Side>,
    #[serde(default)]
    base: Option<Side>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    user: Option<Person>,
    #[serde(default)]
    updated_at: ForgeTime,
}

/// One end of a merge request.
#[derive(Debug, Deserialize)]
struct Side {
    #[serde(default, rename = "ref")]
    branch: Option<String>,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    repo: Option<Repository>,
}

/// As the first format has it.
#[derive(Debug, Deserialize)]
struct FirstMergeRequest {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    number: Id,
    /// Often empty.
    #[serde(default)]
    source_sha: Option<String>,
    #[serde(default)]
    source_branch: Option<String>,
    #[serde(default)]
    target_branch: Option<String>,
    #[serde(default)]
    source_repository: Option<Repository>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    user: Option<Person>,
}

pub(super) fn change_event(event: &str, body: &MergeRequestEvent) -> Result<ChangeEvent, ParseError> {
    let target = need(body.repository.as_ref(), "repository")?;
    match (&body.newer, &body.first) {
        (None, Some(first)) => first_change(event, target, first),
        (newer, _) => newer_change(event, target, body, need(newer.as_ref(), "mergeRequest")?),
    }
}

fn newer_change(
    event: &str,
    target: &Repository,
    body: &MergeRequestEvent,
    merge: &MergeRequest,
) -> Result<ChangeEvent, ParseError> {
    let head = need(merge.head.as_ref(), "mergeRequest.head")?;
    let base = merge.base.as_ref();
    let source = head.repo.as_ref().and_then(Repository::stable_id);
    let number = merge.number.number().or_else(|| body.number.number());
    Ok(ChangeEvent {
        repo: target.path()?,
        number: need(number, "mergeRequest.number")?,
        action: action(event, body.action.as_deref()),
        head: told_id(head.sha.clone(), "mergeRequest.head.sha")?,
        source_branch: head.branch.clone(),
        target_branch: base.and_then(|base| base.branch.clone()),
        from_fork: is_fork(source, base.and_then(|base| base.repo.as_ref()).and_then(Repository::stable_id)),
        details: ChangeDetails {
            told_at: merge.updated_at.0,
            ..details(merge.title.as_deref(), merge.user.as_ref(), body.sender.as_ref())
        },
    })
}

fn first_change(event: &str, target: &Repository, first: &FirstMergeRequest) -> Result<ChangeEvent, ParseError> {
    let source = first.source_repository.as_ref().and_then(Repository::stable_id);
    Ok(ChangeEvent {
        repo: target.path()?,
        number: need(first.number.number(), &format!("{event}.number"))?,
        action: action(event, first.action.as_deref()),
        head: told_id(first.source_sha.clone(), &format!("{event}.source_sha"))?,
        source_branch: first.source_branch.clone(),
        target_branch: first.target_branch.clone(),
        from_fork: is_fork(source, target.stable_id()),
        details: details(first.title.as_deref(), first.user.as_ref(), None),
    })
}

fn action(event: &str, action: Option<&str>) -> ChangeAction {
    match (event, action.unwrap_or_default()) {
        ("GIT_MR_CREATED", _) => ChangeAction::Opened,
        ("GIT_MR_MERGED", _) => ChangeAction::Merged,
        ("GIT_MR_CLOSED", _) => ChangeAction::Closed,
        // The Service Hook need not tell what was updated; new commits must not be missed.
        ("GIT_MR_UPDATED", "" | "update") => ChangeAction::HeadUpdated,
        (_, "create") => ChangeAction::Opened,
        (_, "reopen") => ChangeAction::Reopened,
        (_, "synchronize") => ChangeAction::HeadUpdated,
        (_, "merge") => ChangeAction::Merged,
        (_, "close" | "refuse" | "cancel") => ChangeAction::Closed,
        _ => ChangeAction::Other,
    }
}

fn is_fork(source: Option<&str>, target: Option<&str>) -> bool {
    match (source, target) {
        (Some(source), Some(target)) => source != target,
        _ => true,
    }
}
