//! Meaning of GitHub's events ("Webhook events and payloads"). Own small structs: one missing field that
//! we do not use must not lose an event. Both `push` and `create`/`delete` tell of a new or removed ref;
//! only `push` is used.

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome, ReleaseEvent, RerunEvent};

use super::change::{PullRequestEvent, change_event};
use crate::body::{ForgeTime, Id, ParseError, event_name, json_body, need, need_text, object_id, read_json, short};
use crate::hook::Found;
use crate::refs::{Commit, ref_event, tell_head};

/// A repository as every event names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) full_name: Option<String>,
    #[serde(default)]
    pushed_at: ForgeTime,
}

#[derive(Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Push {
    #[serde(default, rename = "ref")]
    full_ref: Option<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    forced: Option<bool>,
    #[serde(default)]
    head_commit: Option<Commit>,
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

#[derive(Debug, Deserialize)]
struct Check {
    #[serde(default)]
    head_sha: Option<String>,
    #[serde(default)]
    external_id: Option<String>,
}

/// What is read of every event that is not a push or a pull request.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
    #[serde(default)]
    release: Option<Release>,
    #[serde(default)]
    check_run: Option<Check>,
    #[serde(default)]
    check_suite: Option<Check>,
}

/// The installation of an App that a delivery is about; the App's one hook tells of all.
pub fn installation_of(headers: &HeaderMap, raw: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct About {
        #[serde(default)]
        installation: Option<Installation>,
    }
    #[derive(Deserialize)]
    struct Installation {
        #[serde(default)]
        id: Id,
    }
    let json = json_body(headers, raw).ok()?;
    read_json::<About>(&json).ok()?.installation?.id.number()
}

/// Reads what the delivery means. Form-encoded bodies are decoded here, after their raw bytes were verified.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let event = event_name(headers, "X-GitHub-Event")?;
    let json = json_body(headers, raw)?;
    let (repository, outcome) = match event.as_str() {
        "push" => push(&json)?,
        "pull_request" => {
            let event: PullRequestEvent = read_json(&json)?;
            let change = change_event(&event)?;
            (event.repository, Outcome::Events(vec![Event::Change(change)]))
        }
        other => {
            let envelope: Envelope = read_json(&json)?;
            let outcome = other_event(other, &envelope)?;
            (envelope.repository, outcome)
        }
    };
    let repository = repository.unwrap_or_default();
    let forge_time = if event == "push" { repository.pushed_at.0 } else { None };
    Ok(Found { event_name: event, repo_id: repository.id.0, forge_time, outcome })
}

fn push(json: &[u8]) -> Result<(Option<Repository>, Outcome), ParseError> {
    let push: Push = read_json(json)?;
    let repo = full_name(push.repository.as_ref())?;
    let mut event = ref_event(repo, push.full_ref, push.before, push.after)?;
    event.forced = push.forced;
    event.actor = push.sender.and_then(|user| user.login).or(push.pusher.and_then(|user| user.name));
    tell_head(&mut event, (push.head_commit.as_ref(), "head_commit.id"), &[])?;
    Ok((push.repository, Outcome::Events(vec![Event::Ref(event)])))
}

fn other_event(event: &str, envelope: &Envelope) -> Result<Outcome, ParseError> {
    let action = short(envelope.action.as_deref().unwrap_or_default());
    let ignored = |reason: String| Ok(Outcome::Ignored(reason));
    match (event, action.as_str()) {
        ("ping", _) => Ok(Outcome::Ping),
        ("create" | "delete", _) => ignored(format!("{event}: the push event tells the same")),
        ("merge_group", _) => ignored("merge_group: the push of the queue's branch tells the same".to_owned()),
        ("release", "published") => release(envelope),
        ("release", _) => ignored(format!("release {action}: only published releases count")),
        ("check_run", "rerequested") => rerun(envelope, envelope.check_run.as_ref(), "check_run.head_sha"),
        ("check_suite", "rerequested") => rerun(envelope, envelope.check_suite.as_ref(), "check_suite.head_sha"),
        ("check_run" | "check_suite", _) => ignored(format!("{event} {action}: only a request to run again counts")),
        ("installation" | "installation_repositories" | "installation_target" | "repository" | "meta", _) => {
            Ok(Outcome::Lifecycle(format!("{event} {action}").trim_end().to_owned()))
        }
        _ => ignored(format!("{} is not an event that starts builds", short(event))),
    }
}

fn release(envelope: &Envelope) -> Result<Outcome, ParseError> {
    let tag = envelope.release.as_ref().and_then(|release| release.tag_name.clone());
    let event =
        ReleaseEvent { repo: full_name(envelope.repository.as_ref())?, tag: need_text(tag, "release.tag_name")? };
    Ok(Outcome::Events(vec![Event::Release(event)]))
}

fn rerun(envelope: &Envelope, check: Option<&Check>, place: &str) -> Result<Outcome, ParseError> {
    let commit = object_id(check.and_then(|check| check.head_sha.clone()), place)?;
    let ours = check.and_then(|check| check.external_id.clone()).filter(|id| !id.is_empty());
    let event = RerunEvent { repo: full_name(envelope.repository.as_ref())?, commit: need(commit, place)?, ours };
    Ok(Outcome::Events(vec![Event::Rerun(event)]))
}

/// The repository's full path, which every event that we act on has.
pub(super) fn full_name(repository: Option<&Repository>) -> Result<String, ParseError> {
    need_text(repository.and_then(|repository| repository.full_name.clone()), "repository.full_name")
}
