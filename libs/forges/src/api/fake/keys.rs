//! Deploy keys, which are the same everywhere but for names.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Reply, Request, State, bitbucket, bitbucket_dc, gitea, gitee, github, gitlab};

/// A deploy key of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Key {
    pub(in crate::api) id: u64,
    pub(in crate::api) title: String,
    pub(in crate::api) text: String,
    pub(in crate::api) writes: bool,
}

pub(super) fn reply(kind: ForgeKind, state: &mut State, request: &Request, rest: &[&str]) -> Option<Reply> {
    match (request.method.as_str(), rest) {
        ("GET", []) => Some(list(kind, state, request)),
        ("POST", []) => {
            let (title, text, read_only) = given(kind, request)?;
            if !read_only {
                return None;
            }
            // Every forge refuses a key that is there.
            if state.keys.iter().any(|key| key.text.starts_with(&text)) {
                return Some(Reply::Json(422, json!({"message": "key is already in use"})));
            }
            let id = state.keys.iter().map(|key| key.id).max().unwrap_or(40) + 1;
            state.keys.push(Key { id, title, text, writes: false });
            Some(Reply::Json(201, entry(kind, state.keys.last()?)))
        }
        ("DELETE", [id]) => {
            let before = state.keys.len();
            state.keys.retain(|key| key.id.to_string() != *id);
            Some(if state.keys.len() < before { Reply::Nothing } else { gitee::missing() })
        }
        _ => None,
    }
}

/// Title, text, and whether it is to read only.
fn given(kind: ForgeKind, request: &Request) -> Option<(String, String, bool)> {
    let is = |name: &str, wanted: Value| request.body[name] == wanted;
    Some(match kind {
        ForgeKind::Github | ForgeKind::Gitea => {
            (request.text("/title")?, request.text("/key")?, is("read_only", json!(true)))
        }
        ForgeKind::Gitlab => (request.text("/title")?, request.text("/key")?, is("can_push", json!("false"))),
        ForgeKind::Bitbucket => (request.text("/label")?, request.text("/key")?, true),
        ForgeKind::BitbucketDc => {
            (request.text("/key/label")?, request.text("/key/text")?, is("permission", json!("REPO_READ")))
        }
        ForgeKind::Gitee => (request.text("/title")?, request.text("/key")?, true),
        ForgeKind::Coding => return None,
    })
}

fn entry(kind: ForgeKind, key: &Key) -> Value {
    let mut shown = json!({"id": key.id, "title": key.title, "label": key.title, "key": key.text});
    match kind {
        ForgeKind::Github | ForgeKind::Gitea => shown["read_only"] = json!(!key.writes),
        ForgeKind::Gitlab => shown["can_push"] = json!(key.writes),
        ForgeKind::BitbucketDc => {
            let permission = if key.writes { "REPO_WRITE" } else { "REPO_READ" };
            shown = json!({"key": {"id": key.id, "text": key.text, "label": key.title}, "permission": permission});
        }
        ForgeKind::Bitbucket | ForgeKind::Gitee | ForgeKind::Coding => {}
    }
    shown
}

fn list(kind: ForgeKind, state: &State, request: &Request) -> Reply {
    let entry = |key: &Key| entry(kind, key);
    match kind {
        ForgeKind::Github => github::listed(&state.keys, request, entry),
        ForgeKind::Gitlab => gitlab::listed(&state.keys, request, entry),
        ForgeKind::Bitbucket => bitbucket::listed(&state.keys, request, entry),
        ForgeKind::BitbucketDc => bitbucket_dc::listed(&state.keys, request, entry),
        ForgeKind::Gitea => gitea::listed(&state.keys, request, entry),
        ForgeKind::Gitee | ForgeKind::Coding => gitee::listed(&state.keys, request, entry),
    }
}
