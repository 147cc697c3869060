//! Meaning of Bitbucket Cloud's events ("Event payloads"). One `repo:push` tells of every ref that moved and
//! gives one event for each. There are no zero ids: a side that is not there is null.

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome, RefEvent, RefKind, RefOp};

use super::change::{PullRequestEvent, change_event};
use crate::body::{ParseError, event_name, need, need_text, object_id, read_json, short};
use crate::hook::Found;
use crate::refs::{moved, ref_name, tell_message};

/// A repository as every event names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    pub(super) uuid: Option<String>,
    #[serde(default)]
    pub(super) full_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(default)]
    nickname: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PushEvent {
    #[serde(default)]
    push: Option<Push>,
    #[serde(default)]
    actor: Option<Actor>,
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Push {
    #[serde(default)]
    changes: Option<Vec<Change>>,
}

/// One ref that moved; `old` is null when it was created, `new` when it was deleted.
#[derive(Debug, Deserialize)]
struct Change {
    #[serde(default)]
    old: Option<Side>,
    #[serde(default)]
    new: Option<Side>,
    #[serde(default)]
    forced: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Side {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    target: Option<Target>,
}

/// The commit that a ref points to; of annotated tags too.
#[derive(Debug, Deserialize)]
struct Target {
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    message: Option<String>,
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
    let (repository, outcome) = match event.as_str() {
        "repo:push" => push(raw)?,
        "pullrequest:created" | "pullrequest:updated" | "pullrequest:fulfilled" | "pullrequest:rejected" => {
            let body: PullRequestEvent = read_json(raw)?;
            let change = change_event(&event, &body)?;
            (body.repository, Outcome::Events(vec![Event::Change(change)]))
        }
        other => {
            let envelope: Envelope = read_json(raw)?;
            (envelope.repository, other_event(other))
        }
    };
    let repo_id = repository.and_then(|repository| repository.uuid);
    Ok(Found { event_name: event, repo_id, forge_time: None, outcome })
}

fn push(raw: &[u8]) -> Result<(Option<Repository>, Outcome), ParseError> {
    let event: PushEvent = read_json(raw)?;
    let repo = full_name(event.repository.as_ref())?;
    let actor = event.actor.and_then(|actor| actor.nickname.or(actor.username).or(actor.display_name));
    let changes = need(event.push.and_then(|push| push.changes), "push.changes")?;
    if changes.is_empty() {
        return Ok((event.repository, Outcome::Ignored("repo:push: it tells of no ref that moved".to_owned())));
    }
    let events = changes.iter().enumerate().map(|(index, change)| {
        let mut moved = ref_event(&repo, change, &format!("push.changes[{index}]"))?;
        moved.actor.clone_from(&actor);
        Ok(Event::Ref(moved))
    });
    let events = events.collect::<Result<_, ParseError>>()?;
    Ok((event.repository, Outcome::Events(events)))
}

fn ref_event(repo: &str, change: &Change, place: &str) -> Result<RefEvent, ParseError> {
    let (side, place_of_side) = match (&change.new, &change.old) {
        (Some(new), _) => (new, format!("{place}.new")),
        (None, Some(old)) => (old, format!("{place}.old")),
        (None, None) => return Err(ParseError::at(&format!("{place}.new"), "is missing, and old too")),
    };
    let name = ref_name(side.name.clone(), &format!("{place_of_side}.name"))?;
    let kind = match need_text(side.kind.clone(), &format!("{place_of_side}.type"))?.as_str() {
        "branch" | "named_branch" => RefKind::Branch,
        "tag" | "annotated_tag" => RefKind::Tag,
        _ => RefKind::Other,
    };
    let before = hash(change.old.as_ref(), &format!("{place}.old.target.hash"))?;
    let after = hash(change.new.as_ref(), &format!("{place}.new.target.hash"))?;
    let mut event = moved(repo.to_owned(), (kind, name), before, after);
    event.forced = change.forced;
    if event.op != RefOp::Deleted {
        event.commit.clone_from(&event.after);
        let message = side.target.as_ref().and_then(|target| target.message.clone());
        tell_message(&mut event, &message.unwrap_or_default());
    }
    Ok(event)
}

fn hash(side: Option<&Side>, place: &str) -> Result<Option<String>, ParseError> {
    let Some(side) = side else { return Ok(None) };
    object_id(side.target.as_ref().and_then(|target| target.hash.clone()), place)
}

fn other_event(event: &str) -> Outcome {
    match event {
        "repo:updated" | "repo:transfer" | "repo:deleted" | "repo:imported" => {
            Outcome::Lifecycle(event.replace(':', " "))
        }
        _ => Outcome::Ignored(format!("{} is not an event that starts builds", short(event))),
    }
}

/// The repository's full path, which every event that we act on has.
pub(super) fn full_name(repository: Option<&Repository>) -> Result<String, ParseError> {
    need_text(repository.and_then(|repository| repository.full_name.clone()), "repository.full_name")
}
