//! Meaning of GitLab's project, group and system hooks ("Webhook events"). The body's `object_kind` or
//! `event_name` says what it is; the header only names the kind of hook.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use slipway_domain::event::{Event, Outcome, RefKind, RefOp, ReleaseEvent};

use super::change::{MergeRequestEvent, change_event};
use crate::body::{Id, ParseError, need_text, optional_id, read_json, short};
use crate::headers::single;
use crate::hook::Found;
use crate::refs::{Commit, ref_event, tell_message};

/// A project as most events name it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Project {
    #[serde(default)]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) path_with_namespace: Option<String>,
}

/// What is read of every event first.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    object_kind: Option<String>,
    #[serde(default)]
    event_name: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    project: Option<Project>,
    #[serde(default)]
    project_id: Id,
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
    checkout_sha: Option<String>,
    #[serde(default)]
    user_username: Option<String>,
    #[serde(default)]
    user_name: Option<String>,
    #[serde(default)]
    project: Option<Project>,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    #[serde(default)]
    push_options: Value,
}

/// Reads what the delivery means.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let envelope: Envelope = read_json(raw)?;
    let kind = envelope.object_kind.clone().or_else(|| envelope.event_name.clone()).ok_or_else(|| {
        ParseError::at("object_kind", "is missing, and event_name too; remove the hook's custom payload template")
    })?;
    let header = single(headers, "x-gitlab-event")
        .map_err(|_| ParseError::at("header X-Gitlab-Event", "is there more than once"))?;
    let outcome = match kind.as_str() {
        "push" | "tag_push" => push(raw)?,
        "merge_request" => {
            let event: MergeRequestEvent = read_json(raw)?;
            Outcome::Events(vec![Event::Change(change_event(&event)?)])
        }
        "release" => release(&envelope)?,
        "repository_update" => Outcome::Ignored("repository_update: the push events tell the same".to_owned()),
        project if project.starts_with("project_") => Outcome::Lifecycle(short(project).replace('_', " ")),
        other => Outcome::Ignored(format!("{} is not an event that starts builds", short(other))),
    };
    let repo_id = envelope.project.and_then(|project| project.id.0).or(envelope.project_id.0);
    Ok(Found { event_name: header.map_or(kind, str::to_owned), repo_id, forge_time: None, outcome })
}

fn push(raw: &[u8]) -> Result<Outcome, ParseError> {
    let push: Push = read_json(raw)?;
    let repo = project_path(push.project.as_ref())?;
    let mut event = ref_event(repo, push.full_ref, push.before, push.after)?;
    event.actor = push.user_username.or(push.user_name);
    if event.op != RefOp::Deleted {
        // `after` of an annotated tag is the tag object, and `checkout_sha` may be null on a living ref.
        let checkout = optional_id(push.checkout_sha, "checkout_sha")?;
        event.commit = if event.kind == RefKind::Branch { checkout.or_else(|| event.after.clone()) } else { checkout };
        let is_head = |commit: &Commit| commit.id.is_some() && commit.id == event.commit;
        let head = push.commits.unwrap_or_default().into_iter().find(is_head);
        tell_message(&mut event, &head.and_then(|commit| commit.message).unwrap_or_default());
        event.skip_marker = event.skip_marker.or_else(|| skip_option(&push.push_options));
        event.skip_ci = event.skip_marker.is_some();
    }
    Ok(Outcome::Events(vec![Event::Ref(event)]))
}

/// `git push -o ci.skip`, which arrives as `{"ci": {"skip": true}}`.
fn skip_option(push_options: &Value) -> Option<String> {
    let skip = match push_options.pointer("/ci/skip")? {
        Value::Bool(skip) => *skip,
        Value::String(text) => !matches!(text.as_str(), "false" | "0"),
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    skip.then(|| "push option ci.skip".to_owned())
}

fn release(envelope: &Envelope) -> Result<Outcome, ParseError> {
    let action = short(envelope.action.as_deref().unwrap_or_default());
    if action != "create" {
        return Ok(Outcome::Ignored(format!("release {action}: only new releases count")));
    }
    let event =
        ReleaseEvent { repo: project_path(envelope.project.as_ref())?, tag: need_text(envelope.tag.clone(), "tag")? };
    Ok(Outcome::Events(vec![Event::Release(event)]))
}

/// The project's full path, of any depth, which every event that we act on has.
pub(super) fn project_path(project: Option<&Project>) -> Result<String, ParseError> {
    need_text(project.and_then(|project| project.path_with_namespace.clone()), "project.path_with_namespace")
}
