//! Meaning of GitHub's events ("Webhook events and payloads"). Own small structs: one missing field that
//! we do not use must not lose an event. Both `push` and `create`/`delete` tell of a new or removed ref;
//! only `push` is used.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome, RefKind, RefOp, ReleaseEvent, RerunEvent, skip_marker};

use super::change::{PullRequestEvent, change_event};
use crate::body::{
    ForgeTime, Id, ParseError, first_line, need, need_text, object_id, optional_id, read_json, ref_event, short,
};
use crate::headers::{is_content_type, single};
use crate::hook::Found;

const FORM: &str = "application/x-www-form-urlencoded";

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
struct Commit {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    message: Option<String>,
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

/// Reads what the delivery means. Form-encoded bodies are decoded here, after their raw bytes were verified.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let event = single(headers, "x-github-event")
        .map_err(|_| ParseError::at("header X-GitHub-Event", "is there more than once"))?;
    let event = need_text(event.map(str::to_owned), "header X-GitHub-Event")?;
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

fn json_body<'a>(headers: &HeaderMap, raw: &'a [u8]) -> Result<Cow<'a, [u8]>, ParseError> {
    if !is_content_type(headers, FORM) {
        return Ok(Cow::Borrowed(raw));
    }
    url::form_urlencoded::parse(raw)
        .find(|(key, _)| key == "payload")
        .map(|(_, payload)| Cow::Owned(payload.into_owned().into_bytes()))
        .ok_or_else(|| ParseError::at("form field payload", "is missing"))
}

fn push(json: &[u8]) -> Result<(Option<Repository>, Outcome), ParseError> {
    let push: Push = read_json(json)?;
    let repo = full_name(push.repository.as_ref())?;
    let mut event = ref_event(repo, push.full_ref, push.before, push.after)?;
    event.forced = push.forced;
    event.actor = push.sender.and_then(|user| user.login).or(push.pusher.and_then(|user| user.name));
    if event.op != RefOp::Deleted {
        let (id, message) = push.head_commit.map_or((None, None), |commit| (commit.id, commit.message));
        // `after` of an annotated tag is the tag object; only `head_commit` tells the commit.
        let head = optional_id(id, "head_commit.id")?;
        event.commit = if event.kind == RefKind::Branch { event.after.clone() } else { head };
        let message = message.unwrap_or_default();
        event.skip_marker = skip_marker(&message);
        event.skip_ci = event.skip_marker.is_some();
        event.title = first_line(&message);
    }
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
    let event = RerunEvent { repo: full_name(envelope.repository.as_ref())?, commit: need(commit, place)? };
    Ok(Outcome::Events(vec![Event::Rerun(event)]))
}

/// The repository's full path, which every event that we act on has.
pub(super) fn full_name(repository: Option<&Repository>) -> Result<String, ParseError> {
    need_text(repository.and_then(|repository| repository.full_name.clone()), "repository.full_name")
}
