//! Meaning of Bitbucket Data Center's events ("Event payload"). One `repo:refs_changed` tells of every ref that
//! moved and gives one event for each. A repository's path is its project's key and its own slug; payloads have
//! no clone address.

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome, RefEvent};

use super::change::{PullRequestEvent, change_event};
use crate::body::{ForgeTime, Id, ParseError, event_name, need, need_text, object_id, read_json, short};
use crate::hook::Found;
use crate::refs::{Commit, full_name, moved, tell_head};

/// A repository as every event names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    pub(super) id: Id,
    #[serde(default)]
    slug: Option<String>,
    #[serde(default)]
    project: Option<Project>,
}

#[derive(Debug, Deserialize)]
struct Project {
    #[serde(default)]
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Push {
    #[serde(default)]
    date: ForgeTime,
    #[serde(default)]
    actor: Option<Actor>,
    #[serde(default)]
    repository: Option<Repository>,
    #[serde(default)]
    changes: Option<Vec<Change>>,
    /// The new head; only newer versions tell it.
    #[serde(default)]
    to_commit: Option<Commit>,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[serde(default, rename = "ref")]
    named: Option<Ref>,
    #[serde(default)]
    from_hash: Option<String>,
    #[serde(default)]
    to_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Ref {
    #[serde(default)]
    id: Option<String>,
}

/// What is read of every event that is not a push or a pull request.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    repository: Option<Repository>,
}

/// Reads what the delivery means.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let event = event_name(headers, "X-Event-Key")?;
    if event == "repo:refs_changed" {
        return push(event, raw);
    }
    let (repository, outcome) = match event.as_str() {
        "pr:opened"
        | "pr:reopened"
        | "pr:from_ref_updated"
        | "pr:to_ref_updated"
        | "pr:modified"
        | "pr:reviewer:updated"
        | "pr:merged"
        | "pr:declined"
        | "pr:deleted" => {
            let body: PullRequestEvent = read_json(raw)?;
            let change = change_event(&event, &body)?;
            (body.target(), Outcome::Events(vec![Event::Change(change)]))
        }
        other => {
            let envelope: Envelope = read_json(raw)?;
            (envelope.repository, other_event(other))
        }
    };
    let repo_id = repository.and_then(|repository| repository.id.0);
    Ok(Found { event_name: event, repo_id, forge_time: None, outcome })
}

fn push(event_name: String, raw: &[u8]) -> Result<Found, ParseError> {
    let push: Push = read_json(raw)?;
    let repo = path(push.repository.as_ref(), "repository")?;
    let changes = need(push.changes, "changes")?;
    let commits = push.commits.unwrap_or_default();
    let to_commit = push.to_commit.as_ref().filter(|_| changes.len() == 1);
    let events = changes.into_iter().enumerate().map(|(index, change)| {
        let mut moved = ref_event(&repo, change, index)?;
        tell_head(&mut moved, (to_commit, "toCommit.id"), &commits)?;
        moved.actor = push.actor.as_ref().and_then(|actor| actor.name.clone());
        Ok(Event::Ref(moved))
    });
    let events: Vec<Event> = events.collect::<Result<_, ParseError>>()?;
    let outcome = if events.is_empty() {
        Outcome::Ignored("repo:refs_changed: it tells of no ref that moved".to_owned())
    } else {
        Outcome::Events(events)
    };
    let repo_id = push.repository.and_then(|repository| repository.id.0);
    Ok(Found { event_name, repo_id, forge_time: push.date.0, outcome })
}

fn ref_event(repo: &str, change: Change, index: usize) -> Result<RefEvent, ParseError> {
    let at = |field: &str| format!("changes[{index}].{field}");
    let named = full_name(change.named.and_then(|named| named.id), &at("ref.id"))?;
    let before = object_id(change.from_hash, &at("fromHash"))?;
    let after = object_id(change.to_hash, &at("toHash"))?;
    Ok(moved(repo.to_owned(), named, before, after))
}

fn other_event(event: &str) -> Outcome {
    match event {
        "diagnostics:ping" => Outcome::Ping,
        "repo:modified" | "repo:deleted" | "project:modified" => Outcome::Lifecycle(event.replace(':', " ")),
        _ => Outcome::Ignored(format!("{} is not an event that starts builds", short(event))),
    }
}

/// `PROJECT/repository`, which every event that we act on has.
pub(super) fn path(repository: Option<&Repository>, place: &str) -> Result<String, ParseError> {
    let repository = need(repository, place)?;
    let key = repository.project.as_ref().and_then(|project| project.key.clone());
    let key = need_text(key, &format!("{place}.project.key"))?;
    let slug = need_text(repository.slug.clone(), &format!("{place}.slug"))?;
    Ok(format!("{key}/{slug}"))
}
