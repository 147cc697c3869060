//! GitLab's push and tag deliveries, with the token header and with the signed form of 19.0. Shape and
//! headers: "Webhook events" in GitLab's documentation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::github::hmac_sha256;
use super::{Delivery, ZERO, delivery_id};
use crate::env::repo::{Move, Repo};

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

fn unsigned(repo: &Repo, moved: &Move) -> Delivery {
    let is_tag = moved.git_ref.starts_with("refs/tags/");
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "GitLab/17.11.1-ee".to_owned()),
        ("idempotency-key", delivery_id()),
        ("x-gitlab-event", if is_tag { "Tag Push Hook" } else { "Push Hook" }.to_owned()),
        ("x-gitlab-webhook-uuid", "21612c2a-03f8-5531-8e85-483ca1a02143".to_owned()),
        ("x-gitlab-instance", "https://gitlab.example.com".to_owned()),
        ("x-gitlab-event-uuid", delivery_id()),
    ];
    Delivery {
        headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        body: body(repo, moved, if is_tag { "tag_push" } else { "push" }).to_string().into_bytes(),
    }
}

fn body(repo: &Repo, moved: &Move, kind: &str) -> Value {
    let (owner, name) = repo.full_path().rsplit_once('/').unwrap_or(("", repo.full_path()));
    let web = format!("https://gitlab.example.com/{}", repo.full_path());
    let ssh = format!("git@gitlab.example.com:{}.git", repo.full_path());
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
        "user_id": 51764,
        "user_name": "Ada",
        "user_username": "ada",
        "user_email": "",
        "user_avatar": null,
        "project_id": 4861503,
        "project": {
            "id": 4861503,
            "name": name,
            "description": "",
            "web_url": web,
            "avatar_url": null,
            "git_ssh_url": ssh,
            "git_http_url": format!("{web}.git"),
            "namespace": owner,
            "visibility_level": 0,
            "path_with_namespace": repo.full_path(),
            "default_branch": "main",
            "ci_config_path": null,
        },
        "total_commits_count": commits.len(),
        "commits": commits,
        "push_options": {},
        "repository": { "name": name, "url": ssh, "description": "", "homepage": web, "visibility_level": 0 },
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
