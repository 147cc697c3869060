//! Meaning of CODING's events. V2 and the Service Hook have bodies shaped like GitHub's; the first format has
//! words of its own. The header names the event, the body's keys tell the format.

use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::{Event, Outcome, RefEvent};

use super::change::{MergeRequestEvent, change_event};
use crate::body::{Id, ParseError, event_name, is_form, need, need_text, read_json, short};
use crate::hook::Found;
use crate::refs::{self, ref_event, tell_head};

const EVENT: &str = "X-Coding-Event";
const SERVICE_HOOK_EVENT: &str = "X-Coding-Service-Hook-Event";
/// What CODING's own Jenkins plugin honours beside the usual markers.
const SKIP_MARKER: &str = "[ci-skip]";

/// A repository as every event names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    id: Id,
    /// The first format's id.
    #[serde(default)]
    project_id: Id,
    #[serde(default)]
    full_name: Option<String>,
    /// The first format has no full name; its address ends with it.
    #[serde(default)]
    https_url: Option<String>,
    /// `git` or `svn`.
    #[serde(default)]
    vcs_type: Option<String>,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    global_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Commit {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    message: Option<String>,
    /// The first format's id.
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    short_message: Option<String>,
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
    head_commit: Option<refs::Commit>,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    #[serde(default)]
    sender: Option<User>,
    #[serde(default)]
    pusher: Option<User>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    repository: Option<Repository>,
}

/// What is read of every event first.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    repository: Option<Repository>,
}

/// Reads what the delivery means.
pub(crate) fn parse(headers: &HeaderMap, raw: &[u8]) -> Result<Found, ParseError> {
    let header = if headers.contains_key(SERVICE_HOOK_EVENT) { SERVICE_HOOK_EVENT } else { EVENT };
    let event = event_name(headers, header)?;
    // Nobody tells what a form's signature would cover.
    if is_form(headers) {
        return Err(ParseError::at(
            "header Content-Type",
            "is a form; set the hook's content type to application/json",
        ));
    }
    let repository = read_json::<Envelope>(raw)?.repository.unwrap_or_default();
    let outcome = match event.as_str() {
        "ping" | "PING" => Outcome::Ping,
        _ if repository.is_foreign() => Outcome::Ignored("the repository is not one of git".to_owned()),
        "push" | "GIT_PUSHED" => push(raw)?,
        "merge request" | "merge_request" | "pull request" | "pull_request" | "GIT_MR_CREATED" | "GIT_MR_UPDATED"
        | "GIT_MR_MERGED" | "GIT_MR_CLOSED" => {
            let body: MergeRequestEvent = read_json(raw)?;
            Outcome::Events(vec![Event::Change(change_event(&event, &body)?)])
        }
        other => Outcome::Ignored(format!("{} is not an event that starts builds", short(other))),
    };
    Ok(Found { event_name: event, repo_id: repository.stable_id().map(str::to_owned), forge_time: None, outcome })
}

fn push(raw: &[u8]) -> Result<Outcome, ParseError> {
    let push: Push = read_json(raw)?;
    let repo = need(push.repository.as_ref(), "repository")?.path()?;
    let mut event = ref_event(repo, push.full_ref, push.before, push.after)?;
    event.actor = push.sender.and_then(|user| user.login);
    event.actor = event.actor.or(push.pusher.and_then(|user| user.username));
    event.actor = event.actor.or(push.user.and_then(|user| user.global_key));
    let commits: Vec<refs::Commit> = push.commits.unwrap_or_default().into_iter().map(Commit::plain).collect();
    tell_head(&mut event, (push.head_commit.as_ref(), "head_commit.id"), &commits)?;
    tell_own_marker(&mut event, push.head_commit.iter().chain(&commits));
    Ok(Outcome::Events(vec![Event::Ref(event)]))
}

fn tell_own_marker<'a>(event: &mut RefEvent, mut commits: impl Iterator<Item = &'a refs::Commit>) {
    let head = commits.find(|commit| commit.id.is_some() && commit.id == event.commit);
    let message = head.and_then(|commit| commit.message.as_deref()).unwrap_or_default();
    if !event.skip_ci && message.contains(SKIP_MARKER) {
        event.skip_marker = Some(SKIP_MARKER.to_owned());
        event.skip_ci = true;
    }
}

impl Commit {
    fn plain(self) -> refs::Commit {
        refs::Commit { id: self.id.or(self.sha), message: self.message.or(self.short_message) }
    }
}

impl Repository {
    /// The full path, which every event that we act on has.
    pub(super) fn path(&self) -> Result<String, ParseError> {
        let from_url = || {
            let url = url::Url::parse(self.https_url.as_deref()?).ok()?;
            let path = url.path().trim_matches('/');
            Some(path.strip_suffix(".git").unwrap_or(path).to_owned())
        };
        let full_name = self.full_name.clone().filter(|name| !name.is_empty());
        need_text(full_name.or_else(from_url), "repository.full_name")
    }

    /// What survives a rename.
    pub(super) fn stable_id(&self) -> Option<&str> {
        self.id.0.as_deref().or(self.project_id.0.as_deref())
    }

    fn is_foreign(&self) -> bool {
        self.vcs_type.as_deref().is_some_and(|kind| !kind.is_empty() && !kind.eq_ignore_ascii_case("git"))
    }
}
