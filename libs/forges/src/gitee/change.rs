//! `Merge Request Hook`. `action` says `update` for everything; `action_desc` tells what.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent};

use super::parse::{Repository, path};
use crate::body::{ForgeTime, Id, ParseError, Person, details, need, told_id};

/// The event's body.
#[derive(Debug, Deserialize)]
pub(super) struct MergeRequestEvent {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    action_desc: Option<String>,
    #[serde(default)]
    number: Id,
    #[serde(default)]
    iid: Id,
    #[serde(default)]
    pull_request: Option<PullRequest>,
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
    head: Option<Side>,
    #[serde(default)]
    base: Option<Side>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    user: Option<Person>,
    #[serde(default)]
    updated_at: ForgeTime,
}

/// One end of a pull request.
#[derive(Debug, Deserialize)]
struct Side {
    #[serde(default, rename = "ref")]
    branch: Option<String>,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    repo: Option<Repository>,
}

pub(super) fn change_event(body: &MergeRequestEvent) -> Result<ChangeEvent, ParseError> {
    let pull = need(body.pull_request.as_ref(), "pull_request")?;
    let head = need(pull.head.as_ref(), "pull_request.head")?;
    let number = [&body.number, &body.iid, &pull.number].into_iter().find_map(Id::number);
    Ok(ChangeEvent {
        repo: path(body.repository.as_ref())?,
        number: need(number, "number")?,
        action: action(body),
        head: told_id(head.sha.clone(), "pull_request.head.sha")?,
        source_branch: head.branch.clone(),
        target_branch: pull.base.as_ref().and_then(|base| base.branch.clone()),
        from_fork: from_fork(pull),
        details: ChangeDetails {
            draft: pull.draft == Some(true),
            told_at: pull.updated_at.0,
            ..details(pull.title.as_deref(), pull.user.as_ref(), body.sender.as_ref())
        },
    })
}

fn action(body: &MergeRequestEvent) -> ChangeAction {
    match body.action.as_deref().unwrap_or_default() {
        "open" => ChangeAction::Opened,
        "reopen" => ChangeAction::Reopened,
        "close" => ChangeAction::Closed,
        "merge" => ChangeAction::Merged,
        "update" => match body.action_desc.as_deref().unwrap_or_default() {
            // Old hooks do not tell; new commits must not be missed.
            "source_branch_changed" | "" => ChangeAction::HeadUpdated,
            "target_branch_changed" => ChangeAction::Retargeted,
            _ => ChangeAction::Metadata,
        },
        "assign" | "unassign" | "test" | "untest" => ChangeAction::Metadata,
        _ => ChangeAction::Other,
    }
}

fn from_fork(pull: &PullRequest) -> bool {
    let id = |side: &Option<Side>| side.as_ref()?.repo.as_ref()?.id.0.clone();
    match (id(&pull.head), id(&pull.base)) {
        (Some(head), Some(base)) => head != base,
        _ => true,
    }
}
