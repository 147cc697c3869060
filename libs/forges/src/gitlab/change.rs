//! `merge_request` events. GitLab says `update` for everything; new commits are those with an `oldrev`.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent, skip_marker};

use super::parse::{Project, project_path};
use crate::body::{ForgeTime, Id, ParseError, Person, details, need, optional_id};

/// The event's body.
#[derive(Debug, Deserialize)]
pub(super) struct MergeRequestEvent {
    #[serde(default)]
    project: Option<Project>,
    #[serde(default)]
    user: Option<Person>,
    #[serde(default)]
    object_attributes: Option<MergeRequest>,
    #[serde(default)]
    changes: Option<Changes>,
}

#[derive(Debug, Deserialize)]
struct MergeRequest {
    #[serde(default)]
    iid: Id,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    oldrev: Option<String>,
    #[serde(default)]
    source_branch: Option<String>,
    #[serde(default)]
    target_branch: Option<String>,
    #[serde(default)]
    source_project_id: Id,
    #[serde(default)]
    target_project_id: Id,
    #[serde(default)]
    source: Option<Project>,
    #[serde(default)]
    target: Option<Project>,
    #[serde(default)]
    last_commit: Option<LastCommit>,
    #[serde(default)]
    author_id: Id,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    work_in_progress: Option<bool>,
    #[serde(default)]
    updated_at: ForgeTime,
}

#[derive(Debug, Deserialize)]
struct LastCommit {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Changes {
    #[serde(default)]
    target_branch: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    draft: Option<Flag>,
    #[serde(default)]
    work_in_progress: Option<Flag>,
}

#[derive(Debug, Default, Deserialize)]
struct Flag {
    #[serde(default)]
    previous: Option<bool>,
    #[serde(default)]
    current: Option<bool>,
}

pub(super) fn change_event(event: &MergeRequestEvent) -> Result<ChangeEvent, ParseError> {
    let merge = need(event.object_attributes.as_ref(), "object_attributes")?;
    let head = merge.last_commit.as_ref().and_then(|commit| commit.id.clone());
    Ok(ChangeEvent {
        repo: project_path(event.project.as_ref().or(merge.target.as_ref()))?,
        number: need(merge.iid.number(), "object_attributes.iid")?,
        action: action(merge, event.changes.as_ref().unwrap_or(&Changes::default())),
        head: optional_id(head, "object_attributes.last_commit.id")?,
        source_branch: merge.source_branch.clone(),
        target_branch: merge.target_branch.clone(),
        from_fork: from_fork(merge),
        details: about(event, merge),
    })
}

/// The author is told by a number only, so they are known where they caused the news themselves.
fn about(event: &MergeRequestEvent, merge: &MergeRequest) -> ChangeDetails {
    let sender = event.user.as_ref();
    let author = sender.filter(|sender| sender.id.0.is_some() && sender.id == merge.author_id);
    let message = merge.last_commit.as_ref().and_then(|commit| commit.message.as_deref());
    ChangeDetails {
        draft: merge.draft.or(merge.work_in_progress) == Some(true),
        skip_marker: message.and_then(skip_marker),
        told_at: merge.updated_at.0,
        ..details(merge.title.as_deref(), author, sender)
    }
}

fn action(merge: &MergeRequest, changes: &Changes) -> ChangeAction {
    let became_ready = |flag: &Option<Flag>| {
        flag.as_ref().is_some_and(|flag| flag.previous == Some(true) && flag.current == Some(false))
    };
    match merge.action.as_deref().unwrap_or_default() {
        "open" => ChangeAction::Opened,
        "reopen" => ChangeAction::Reopened,
        "close" => ChangeAction::Closed,
        "merge" => ChangeAction::Merged,
        "update" if merge.oldrev.is_some() => ChangeAction::HeadUpdated,
        "update" if changes.target_branch.is_some() => ChangeAction::Retargeted,
        "update" if became_ready(&changes.draft) || became_ready(&changes.work_in_progress) => {
            ChangeAction::ReadyForReview
        }
        "update" => ChangeAction::Metadata,
        _ => ChangeAction::Other,
    }
}

fn from_fork(merge: &MergeRequest) -> bool {
    let path = |project: &Option<Project>| project.as_ref().and_then(|project| project.path_with_namespace.clone());
    match (&merge.source_project_id.0, &merge.target_project_id.0) {
        (Some(source), Some(target)) => source != target,
        _ => match (path(&merge.source), path(&merge.target)) {
            (Some(source), Some(target)) => source != target,
            _ => true,
        },
    }
}
