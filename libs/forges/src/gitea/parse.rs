//! Meaning of the events of Gitea and Forgejo. `push` and `create` both tell of a new ref, `push` and `delete` of
//! a deleted tag: only `push` is used. A deleted branch is told by `delete` alone, with no word on where it was
//! (gitea `services/repository/push.go`).

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome, RefKind, ReleaseEvent};

use super::change::{PullRequestEvent, change_event};
use crate::body::{Id, ParseError, event_name, json_body, need_text, read_json, short};
use crate::hook::Found;
use crate::refs::{Commit, moved, ref_event, ref_name, tell_head};

/// A repository as every event names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) full_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    username: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Push {
    #[serde(default, rename = "ref")]
    full_ref: Option<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    after: Option<String>,
    /// Missing in old versions.
    #[serde(default)]
    head_commit: Option<Commit>,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    #[serde(default)]
    sender: Option<User>,
    #[serde(default)]
    pusher: Option<User>,
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Release {
    #[serde(default)]
    tag_name: Option<String>,
}

/// What is read of every event that is not a push or a pull request.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    action: Option<String>,
    /// A short name, of `create` and `delete`.
    #[serde(default, rename = "ref")]
    short_ref: Option<String>,
    #[serde(default)]
    ref_type: Option<String>,
    #[serde(default)]
    release: Option<Release>,
    #[serde(default)]
    sender: Option<User>,
    #[serde(default)]
    repository: Option<Repository>,
}

/// Reads what the delivery means.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let event = event_name(headers, "X-Gitea-Event")?;
    let json = json_body(headers, raw)?;
    let (repository, outcome) = match event.as_str() {
        "push" => push(&json)?,
        "pull_request" => {
            let body: PullRequestEvent = read_json(&json)?;
            let change = change_event(&body)?;
            (body.repository, Outcome::Events(vec![Event::Change(change)]))
        }
        other => {
            let envelope: Envelope = read_json(&json)?;
            let outcome = other_event(other, &envelope)?;
            (envelope.repository, outcome)
        }
    };
    let repo_id = repository.and_then(|repository| repository.id.0);
    Ok(Found { event_name: event, repo_id, forge_time: None, outcome })
}

fn push(json: &[u8]) -> Result<(Option<Repository>, Outcome), ParseError> {
    let push: Push = read_json(json)?;
    let repo = full_name(push.repository.as_ref())?;
    let mut event = ref_event(repo, push.full_ref, push.before, push.after)?;
    event.actor = login(push.sender).or(login(push.pusher));
    tell_head(&mut event, (push.head_commit.as_ref(), "head_commit.id"), &push.commits.unwrap_or_default())?;
    Ok((push.repository, Outcome::Events(vec![Event::Ref(event)])))
}

fn other_event(event: &str, envelope: &Envelope) -> Result<Outcome, ParseError> {
    let action = short(envelope.action.as_deref().unwrap_or_default());
    let ignored = |reason: String| Ok(Outcome::Ignored(reason));
    match (event, envelope.ref_type.as_deref()) {
        ("delete", Some("branch")) => branch_deleted(envelope),
        ("create" | "delete", _) => ignored(format!("{event}: the push event tells the same")),
        ("release", _) if action == "published" => release(envelope),
        ("release", _) => ignored(format!("release {action}: only published releases count")),
        ("repository", _) => Ok(Outcome::Lifecycle(format!("repository {action}").trim_end().to_owned())),
        _ => ignored(format!("{} is not an event that starts builds", short(event))),
    }
}

fn branch_deleted(envelope: &Envelope) -> Result<Outcome, ParseError> {
    let name = ref_name(envelope.short_ref.clone(), "ref")?;
    let mut event = moved(full_name(envelope.repository.as_ref())?, (RefKind::Branch, name), None, None);
    event.actor = envelope.sender.as_ref().and_then(|user| user.login.clone().or(user.username.clone()));
    Ok(Outcome::Events(vec![Event::Ref(event)]))
}

fn release(envelope: &Envelope) -> Result<Outcome, ParseError> {
    let tag = envelope.release.as_ref().and_then(|release| release.tag_name.clone());
    let event =
        ReleaseEvent { repo: full_name(envelope.repository.as_ref())?, tag: need_text(tag, "release.tag_name")? };
    Ok(Outcome::Events(vec![Event::Release(event)]))
}

fn login(user: Option<User>) -> Option<String> {
    user.and_then(|user| user.login.or(user.username))
}

/// The repository's full path, which every event that we act on has.
pub(super) fn full_name(repository: Option<&Repository>) -> Result<String, ParseError> {
    need_text(repository.and_then(|repository| repository.full_name.clone()), "repository.full_name")
}
