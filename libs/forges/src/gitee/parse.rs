//! Meaning of Gitee's hooks ("WebHook 推送数据格式说明"). Since the body is not signed, nothing of it is worth more than
//! a stranger's word until the forge is asked.

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome};

use super::change::{MergeRequestEvent, change_event};
use crate::body::{ForgeTime, Id, ParseError, event_name, need_text, read_json, short};
use crate::headers::single;
use crate::hook::Found;
use crate::refs::{Commit, ref_event, tell_head};

/// A repository as every event names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    pub(super) id: Id,
    #[serde(default)]
    path_with_namespace: Option<String>,
    #[serde(default)]
    full_name: Option<String>,
    #[serde(default)]
    pushed_at: ForgeTime,
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

/// What is read of every event that is not a push or a pull request.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    repository: Option<Repository>,
}

/// Reads what the delivery means.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let event = event_name(headers, "X-Gitee-Event")?;
    let is_test = single(headers, "X-Gitee-Ping").ok().flatten() == Some("true");
    let (repository, outcome) = match event.as_str() {
        _ if is_test => (read_json::<Envelope>(raw)?.repository, Outcome::Ping),
        "Push Hook" | "Tag Push Hook" => push(raw)?,
        "Merge Request Hook" => {
            let body: MergeRequestEvent = read_json(raw)?;
            let change = change_event(&body)?;
            (body.repository, Outcome::Events(vec![Event::Change(change)]))
        }
        other => {
            let reason = format!("{} is not an event that starts builds", short(other));
            (read_json::<Envelope>(raw)?.repository, Outcome::Ignored(reason))
        }
    };
    let repository = repository.unwrap_or_default();
    let is_push = matches!(&outcome, Outcome::Events(events) if matches!(events.as_slice(), [Event::Ref(_)]));
    let forge_time = if is_push { repository.pushed_at.0 } else { None };
    Ok(Found { event_name: event, repo_id: repository.id.0, forge_time, outcome })
}

fn push(raw: &[u8]) -> Result<(Option<Repository>, Outcome), ParseError> {
    let push: Push = read_json(raw)?;
    let mut event = ref_event(path(push.repository.as_ref())?, push.full_ref, push.before, push.after)?;
    let name = |user: Option<User>| user.and_then(|user| user.login.or(user.username));
    event.actor = name(push.sender).or(name(push.pusher));
    tell_head(&mut event, (push.head_commit.as_ref(), "head_commit.id"), &push.commits.unwrap_or_default())?;
    Ok((push.repository, Outcome::Events(vec![Event::Ref(event)])))
}

/// The repository's full path, which every event that we act on has.
pub(super) fn path(repository: Option<&Repository>) -> Result<String, ParseError> {
    let path = |of: &Repository| of.path_with_namespace.clone().or(of.full_name.clone());
    need_text(repository.and_then(path), "repository.path_with_namespace")
}
