//! `pull_request` events. A change counts as from a fork unless both repositories are known to be the same.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent};

use super::parse::{Repository, full_name};
use crate::body::{ForgeTime, Id, ParseError, Person, details, need, object_id};

/// The event's body.
#[derive(Debug, Deserialize)]
pub(super) struct PullRequestEvent {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    number: Id,
    #[serde(default)]
    pull_request: Option<PullRequest>,
    #[serde(default)]
    changes: Option<Changes>,
    #[serde(default)]
    sender: Option<Person>,
    #[serde(default)]
    pub(super) repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    #[serde(default)]
    number: Id,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    user: Option<Person>,
    #[serde(default)]
    updated_at: ForgeTime,
    #[serde(default)]
    head: Side,
    #[serde(default)]
    base: Side,
}

/// One end of a pull request. `repo` is null when the fork was deleted.
#[derive(Debug, Default, Deserialize)]
struct Side {
    #[serde(default, rename = "ref")]
    branch: Option<String>,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    repo: Option<Repository>,
}

/// What an edit changed; only whether the base is among it matters.
#[derive(Debug, Deserialize)]
struct Changes {
    #[serde(default)]
    base: Option<serde::de::IgnoredAny>,
}

pub(super) fn change_event(event: &PullRequestEvent) -> Result<ChangeEvent, ParseError> {
    let pull = need(event.pull_request.as_ref(), "pull_request")?;
    let number = event.number.number().or_else(|| pull.number.number());
    Ok(ChangeEvent {
        repo: full_name(event.repository.as_ref())?,
        number: need(number, "number")?,
        action: action(event, pull),
        head: object_id(pull.head.sha.clone(), "pull_request.head.sha")?,
        source_branch: pull.head.branch.clone(),
        target_branch: pull.base.branch.clone(),
        from_fork: from_fork(pull),
        details: ChangeDetails {
            draft: pull.draft == Some(true),
            told_at: pull.updated_at.0,
            ..details(pull.title.as_deref(), pull.user.as_ref(), event.sender.as_ref())
        },
    })
}

fn action(event: &PullRequestEvent, pull: &PullRequest) -> ChangeAction {
    match event.action.as_deref().unwrap_or_default() {
        "opened" => ChangeAction::Opened,
        "reopened" => ChangeAction::Reopened,
        "synchronize" => ChangeAction::HeadUpdated,
        "ready_for_review" => ChangeAction::ReadyForReview,
        "edited" if event.changes.as_ref().is_some_and(|changes| changes.base.is_some()) => ChangeAction::Retargeted,
        "closed" if pull.merged == Some(true) => ChangeAction::Merged,
        "closed" => ChangeAction::Closed,
        "edited"
        | "assigned"
        | "unassigned"
        | "labeled"
        | "unlabeled"
        | "milestoned"
        | "demilestoned"
        | "review_requested"
        | "review_request_removed"
        | "converted_to_draft"
        | "auto_merge_enabled"
        | "auto_merge_disabled"
        | "enqueued"
        | "dequeued"
        | "locked"
        | "unlocked" => ChangeAction::Metadata,
        _ => ChangeAction::Other,
    }
}

fn from_fork(pull: &PullRequest) -> bool {
    let id = |side: &Side| side.repo.as_ref().and_then(|repo| repo.id.0.clone());
    match (id(&pull.head), id(&pull.base)) {
        (Some(head), Some(base)) => head != base,
        _ => true,
    }
}
