//! `pull_request` events. A draft is a title that begins with a mark; there is no action for the end of it.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent};

use super::parse::{Repository, full_name};
use crate::body::{ForgeTime, Id, ParseError, Person, details, need, told_id};

/// Beginnings of a title that make a pull request a draft, unless the instance has others
/// (`WORK_IN_PROGRESS_PREFIXES`); in lower case.
const DRAFT_MARKS: [&str; 2] = ["wip:", "[wip]"];

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
    title: Option<String>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    user: Option<Person>,
    #[serde(default)]
    updated_at: ForgeTime,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    head: Option<Side>,
    #[serde(default)]
    base: Option<Side>,
}

/// One end of a pull request. `repo` is null when the fork was deleted.
#[derive(Debug, Deserialize)]
struct Side {
    #[serde(default, rename = "ref")]
    branch: Option<String>,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    repo: Option<Repository>,
}

/// What an edit changed.
#[derive(Debug, Deserialize)]
struct Changes {
    #[serde(default)]
    title: Option<Changed>,
    /// The target branch.
    #[serde(default, rename = "ref")]
    target: Option<Changed>,
}

#[derive(Debug, Deserialize)]
struct Changed {
    #[serde(default)]
    from: Option<String>,
}

pub(super) fn change_event(body: &PullRequestEvent) -> Result<ChangeEvent, ParseError> {
    let pull = need(body.pull_request.as_ref(), "pull_request")?;
    let head = need(pull.head.as_ref(), "pull_request.head")?;
    let number = body.number.number().or_else(|| pull.number.number());
    Ok(ChangeEvent {
        repo: full_name(body.repository.as_ref())?,
        number: need(number, "number")?,
        action: action(body, pull),
        head: told_id(head.sha.clone(), "pull_request.head.sha")?,
        source_branch: head.branch.clone(),
        target_branch: pull.base.as_ref().and_then(|base| base.branch.clone()),
        from_fork: from_fork(pull),
        details: ChangeDetails {
            draft: pull.draft.unwrap_or_else(|| is_draft(pull.title.as_deref())),
            told_at: pull.updated_at.0,
            ..details(pull.title.as_deref(), pull.user.as_ref(), body.sender.as_ref())
        },
    })
}

fn action(body: &PullRequestEvent, pull: &PullRequest) -> ChangeAction {
    match body.action.as_deref().unwrap_or_default() {
        "opened" => ChangeAction::Opened,
        "reopened" => ChangeAction::Reopened,
        "synchronized" => ChangeAction::HeadUpdated,
        "closed" if pull.merged == Some(true) => ChangeAction::Merged,
        "closed" => ChangeAction::Closed,
        "edited" => body.changes.as_ref().map_or(ChangeAction::Metadata, |changes| edited(changes, pull)),
        "assigned"
        | "unassigned"
        | "label_updated"
        | "label_cleared"
        | "milestoned"
        | "demilestoned"
        | "review_requested"
        | "review_request_removed" => ChangeAction::Metadata,
        _ => ChangeAction::Other,
    }
}

fn is_draft(title: Option<&str>) -> bool {
    let title = title.unwrap_or_default().trim_start().to_lowercase();
    DRAFT_MARKS.iter().any(|mark| title.starts_with(mark))
}

fn edited(changes: &Changes, pull: &PullRequest) -> ChangeAction {
    let was_draft = changes.title.as_ref().is_some_and(|title| is_draft(title.from.as_deref()));
    if changes.target.is_some() {
        ChangeAction::Retargeted
    } else if was_draft && !is_draft(pull.title.as_deref()) {
        ChangeAction::ReadyForReview
    } else {
        ChangeAction::Metadata
    }
}

fn from_fork(pull: &PullRequest) -> bool {
    let id = |side: &Option<Side>| side.as_ref()?.repo.as_ref()?.id.0.clone();
    match (id(&pull.head), id(&pull.base)) {
        (Some(head), Some(base)) => head != base,
        _ => true,
    }
}
