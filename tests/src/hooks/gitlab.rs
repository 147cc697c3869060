//! GitLab's deliveries, with the token header and with the signed form of 19.0. Shape and
//! headers: "Webhook events" in GitLab's documentation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use serde_json::{Value, json};

use super::mac::hmac_sha256;
use super::{Change, Delivery, FORK_ID, FORK_PATH, News, ZERO, delivery, delivery_id, two_parts};
use crate::env::repo::{Move, Repo};

/// The project's id.
const PROJECT_ID: u64 = 4861503;

/// Who did it.
const USER_ID: u64 = 51764;

/// The delivery of a ref's move, with the hook's secret as its token.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    unsigned(repo, moved).with_header("x-gitlab-token", secret)
}

/// The same, signed as GitLab 19.0 signs (Standard Webhooks): the key is what follows `whsec_`, in base64.
pub fn push_signed(repo: &Repo, moved: &Move, secret: &str, unix_secs: i64) -> Delivery {
    let delivery = unsigned(repo, moved);
    let id = delivery_id();
    let key = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
    let key = key.unwrap_or_else(|| secret.as_bytes().to_vec());
    let mut message = format!("{id}.{unix_secs}.").into_bytes();
    message.extend_from_slice(&delivery.body);
    let signature = format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &message)));
    delivery
        .with_header("webhook-id", &id)
        .with_header("webhook-timestamp", &unix_secs.to_string())
        .with_header("webhook-signature", &signature)
}

/// News of a merge request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let (action, state, oldrev) = match change.news {
        News::Opened => ("open", "opened", None),
        News::Updated => ("update", "opened", Some(ZERO.replace('0', "8"))),
        News::Closed => ("close", "closed", None),
        News::Merged => ("merge", "merged", None),
    };
    let target = project(repo);
    let mut source = target.clone();
    if change.fork {
        source["id"] = json!(FORK_ID);
        source["path_with_namespace"] = json!(FORK_PATH);
    }
    let mut merge = json!({
        "id": 134400602,
        "iid": change.number,
        "action": action,
        "state": state,
        "author_id": USER_ID,
        "title": change.title,
        "draft": change.draft,
        "work_in_progress": change.draft,
        "updated_at": Utc::now().format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "source_branch": change.source,
        "source_project_id": source["id"],
        "source": source,
        "target_branch": "main",
        "target_project_id": target["id"],
        "target": target,
        "last_commit": commit("https://gitlab.example.com/x", change.head, "Propose it"),
    });
    if let Some(oldrev) = oldrev {
        merge["oldrev"] = json!(oldrev);
    }
    let body = json!({
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": { "id": USER_ID, "name": change.author, "username": change.author, "email": "[REDACTED]" },
        "project": target,
        "object_attributes": merge,
        "labels": [],
        "changes": {},
        "repository": { "name": target["name"], "url": target["git_ssh_url"], "homepage": target["web_url"] },
        "assignees": [],
    });
    sign("Merge Request Hook", body.to_string().into_bytes(), secret)
}

/// Somebody wrote a comment.
pub(super) fn unwanted(repo: &Repo) -> Value {
    json!({ "object_kind": "note", "event_type": "note", "project_id": PROJECT_ID, "project": project(repo) })
}

/// Any body as an event of this name, with the secret as its token.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    with_headers(event, body).with_header("x-gitlab-token", secret)
}

fn unsigned(repo: &Repo, moved: &Move) -> Delivery {
    let is_tag = moved.git_ref.starts_with("refs/tags/");
    let (event, kind) = if is_tag { ("Tag Push Hook", "tag_push") } else { ("Push Hook", "push") };
    with_headers(event, body(repo, moved, kind).to_string().into_bytes())
}

fn with_headers(event: &str, body: Vec<u8>) -> Delivery {
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "GitLab/17.11.1-ee".to_owned()),
        ("idempotency-key", delivery_id()),
        ("x-gitlab-event", event.to_owned()),
        ("x-gitlab-webhook-uuid", "21612c2a-03f8-5531-8e85-483ca1a02143".to_owned()),
        ("x-gitlab-instance", "https://gitlab.example.com".to_owned()),
        ("x-gitlab-event-uuid", delivery_id()),
    ];
    delivery(headers, body)
}

fn body(repo: &Repo, moved: &Move, kind: &str) -> Value {
    let project = project(repo);
    let web = format!("https://gitlab.example.com/{}", repo.full_path());
    let commits: Vec<Value> = moved.commit.iter().map(|id| commit(&web, id, &moved.message)).collect();
    json!({
        "object_kind": kind,
        "event_name": kind,
        "before": moved.before.as_deref().unwrap_or(ZERO),
        "after": moved.after.as_deref().unwrap_or(ZERO),
        "ref": moved.git_ref,
        "ref_protected": true,
        "checkout_sha": moved.commit,
        "message": null,
        "user_id": USER_ID,
        "user_name": "Ada",
        "user_username": "ada",
        "user_email": "",
        "user_avatar": null,
        "project_id": PROJECT_ID,
        "project": project,
        "total_commits_count": commits.len(),
        "commits": commits,
        "push_options": {},
        "repository": {
            "name": project["name"], "url": project["git_ssh_url"], "description": "", "homepage": web,
            "visibility_level": 0,
        },
    })
}

fn project(repo: &Repo) -> Value {
    let (owner, name) = two_parts(repo.full_path());
    let web = format!("https://gitlab.example.com/{}", repo.full_path());
    json!({
        "id": PROJECT_ID,
        "name": name,
        "description": "",
        "web_url": web,
        "avatar_url": null,
        "git_ssh_url": format!("git@gitlab.example.com:{}.git", repo.full_path()),
        "git_http_url": format!("{web}.git"),
        "namespace": owner,
        "visibility_level": 0,
        "path_with_namespace": repo.full_path(),
        "default_branch": "main",
        "ci_config_path": null,
    })
}

fn commit(web: &str, id: &str, message: &str) -> Value {
    json!({
        "id": id,
        "message": message,
        "title": message.lines().next().unwrap_or_default(),
        "timestamp": "2026-05-15T15:20:41+00:00",
        "url": format!("{web}/-/commit/{id}"),
        "author": { "name": "Ada", "email": "[REDACTED]" },
        "added": ["Dockerfile"],
        "modified": [],
        "removed": [],
    })
}
