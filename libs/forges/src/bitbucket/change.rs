//! `pullrequest:*` events. Hashes have 12 digits and stay the prefixes that they are. `updated` is told for new
//! commits and for edits alike and does not say which; it counts as new commits, for those must not be missed.

use serde::Deserialize;
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent};

use super::parse::{Repository, full_name};
use crate::body::{ForgeTime, Id, ParseError, Person, details, id_prefix, need};

/// The event's body.
#[derive(Debug, Deserialize)]
pub(super) struct PullRequestEvent {
    #[serde(default)]
    pullrequest: Option<PullRequest>,
    #[serde(default)]
    actor: Option<Person>,
    #[serde(default)]
    pub(super) repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    #[serde(default)]
    id: Id,
    #[serde(default)]
    source: Option<Side>,
    #[serde(default)]
    destination: Option<Side>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    author: Option<Person>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    updated_on: ForgeTime,
}

/// One end of a pull request. `repository` is null when the fork was deleted.
#[derive(Debug, Deserialize)]
struct Side {
    #[serde(default)]
    commit: Option<Commit>,
    #[serde(default)]
    branch: Option<Branch>,
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Commit {
    #[serde(default)]
    hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Branch {
    #[serde(default)]
    name: Option<String>,
}

pub(super) fn change_event(event: &str, body: &PullRequestEvent) -> Result<ChangeEvent, ParseError> {
    let pull = need(body.pullrequest.as_ref(), "pullrequest")?;
    let source = need(pull.source.as_ref(), "pullrequest.source")?;
    let branch = |side: &Side| side.branch.as_ref().and_then(|branch| branch.name.clone());
    let head = source.commit.as_ref().and_then(|commit| commit.hash.clone());
    Ok(ChangeEvent {
        repo: full_name(body.repository.as_ref())?,
        number: need(pull.id.number(), "pullrequest.id")?,
        action: match event {
            "pullrequest:created" => ChangeAction::Opened,
            "pullrequest:updated" => ChangeAction::HeadUpdated,
            "pullrequest:fulfilled" => ChangeAction::Merged,
            "pullrequest:rejected" => ChangeAction::Closed,
            _ => ChangeAction::Other,
        },
        head: id_prefix(head, "pullrequest.source.commit.hash")?,
        source_branch: branch(source),
        target_branch: pull.destination.as_ref().and_then(branch),
        from_fork: from_fork(pull),
        details: ChangeDetails {
            draft: pull.draft == Some(true),
            told_at: pull.updated_on.0,
            ..details(pull.title.as_deref(), pull.author.as_ref(), body.actor.as_ref())
        },
    })
}

fn from_fork(pull: &PullRequest) -> bool {
    let repository = |side: &Option<Side>| side.as_ref()?.repository.as_ref()?.uuid.clone();
    match (repository(&pull.source), repository(&pull.destination)) {
        (Some(source), Some(destination)) => source != destination,
        _ => true,
    }
}
