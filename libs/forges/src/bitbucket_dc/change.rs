//! `pr:*` events. `modified` is told for the title, the target and the draft mark; what was before tells which.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent};

use super::parse::{Repository, path};
use crate::body::{ForgeTime, Id, ParseError, Person, details, need, told_id};

/// The event's body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PullRequestEvent {
    #[serde(default)]
    pull_request: Option<PullRequest>,
    #[serde(default)]
    actor: Option<Person>,
    #[serde(default)]
    previous_target: Option<Side>,
    #[serde(default)]
    previous_draft: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullRequest {
    #[serde(default)]
    id: Id,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    from_ref: Option<Side>,
    #[serde(default)]
    to_ref: Option<Side>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    author: Option<Participant>,
    #[serde(default)]
    updated_date: ForgeTime,
}

#[derive(Debug, Deserialize)]
struct Participant {
    #[serde(default)]
    user: Option<Person>,
}

/// One end of a pull request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    latest_commit: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
}

impl PullRequestEvent {
    /// The repository that the pull request goes to.
    pub(super) fn target(self) -> Option<Repository> {
        self.pull_request?.to_ref?.repository
    }
}

impl Side {
    fn branch(&self) -> Option<String> {
        let id = self.id.as_deref()?;
        Some(id.strip_prefix("refs/heads/").unwrap_or(id).to_owned())
    }
}

pub(super) fn change_event(event: &str, body: &PullRequestEvent) -> Result<ChangeEvent, ParseError> {
    let pull = need(body.pull_request.as_ref(), "pullRequest")?;
    let source = need(pull.from_ref.as_ref(), "pullRequest.fromRef")?;
    let target = need(pull.to_ref.as_ref(), "pullRequest.toRef")?;
    Ok(ChangeEvent {
        repo: path(target.repository.as_ref(), "pullRequest.toRef.repository")?,
        number: need(pull.id.number(), "pullRequest.id")?,
        action: action(event, body, pull),
        head: told_id(source.latest_commit.clone(), "pullRequest.fromRef.latestCommit")?,
        source_branch: source.branch(),
        target_branch: target.branch(),
        from_fork: from_fork(source, target),
        details: ChangeDetails {
            draft: pull.draft == Some(true),
            told_at: pull.updated_date.0,
            ..details(
                pull.title.as_deref(),
                pull.author.as_ref().and_then(|author| author.user.as_ref()),
                body.actor.as_ref(),
            )
        },
    })
}

fn action(event: &str, body: &PullRequestEvent, pull: &PullRequest) -> ChangeAction {
    let id = |side: &Option<Side>| side.as_ref().and_then(|side| side.id.clone());
    match event {
        "pr:opened" => ChangeAction::Opened,
        "pr:reopened" => ChangeAction::Reopened,
        "pr:from_ref_updated" => ChangeAction::HeadUpdated,
        "pr:merged" => ChangeAction::Merged,
        "pr:declined" | "pr:deleted" => ChangeAction::Closed,
        "pr:modified" if body.previous_target.is_some() && id(&body.previous_target) != id(&pull.to_ref) => {
            ChangeAction::Retargeted
        }
        "pr:modified" if body.previous_draft == Some(true) && pull.draft == Some(false) => ChangeAction::ReadyForReview,
        "pr:modified" | "pr:to_ref_updated" | "pr:reviewer:updated" => ChangeAction::Metadata,
        _ => ChangeAction::Other,
    }
}

fn from_fork(source: &Side, target: &Side) -> bool {
    let id = |side: &Side| side.repository.as_ref().and_then(|repository| repository.id.0.clone());
    match (id(source), id(target)) {
        (Some(source), Some(target)) => source != target,
        _ => true,
    }
}
