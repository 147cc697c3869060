//! Bitbucket Cloud's deliveries. Shape and headers: "Event payloads" and "Manage webhooks" in Atlassian's
//! documentation. There are no zero ids, and of a pull request's commits only twelve digits.

use chrono::Utc;
use serde_json::{Value, json};

use super::mac::hmac_sha256;
use super::{Change, Delivery, FORK_PATH, News, delivery, delivery_id, two_parts};
use crate::env::repo::{Move, Repo};

/// How much of a commit's id a pull request tells.
const SHOWN_DIGITS: usize = 12;

/// The repository's id.
const REPO_ID: &str = "{bc771cbf-829e-4c4b-b71f-a0eb3ac2b860}";

/// The delivery of a ref's move, signed with the hook's secret.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    let side = |commit: Option<&String>| commit.map(|commit| side(moved, commit));
    // Of an annotated tag both sides tell the commit.
    let new = side(moved.commit.as_ref());
    let old = side(moved.before.as_ref());
    let commits: Vec<Value> = moved.commit.iter().map(|commit| target(commit, &moved.message)).collect();
    let body = json!({
        "push": { "changes": [{
            "old": old,
            "new": new,
            "created": moved.before.is_none(),
            "closed": moved.after.is_none(),
            "forced": moved.forced,
            "truncated": false,
            "commits": commits,
            "links": { "html": { "href": format!("https://bitbucket.org/{}/branch/x", repo.full_path()) } },
        }]},
        "repository": repository(repo.full_path(), REPO_ID),
        "actor": person("ada"),
    });
    sign("repo:push", body.to_string().into_bytes(), secret)
}

/// News of a pull request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let (event, state) = match change.news {
        News::Opened => ("pullrequest:created", "OPEN"),
        News::Updated => ("pullrequest:updated", "OPEN"),
        News::Closed => ("pullrequest:rejected", "DECLINED"),
        News::Merged => ("pullrequest:fulfilled", "MERGED"),
    };
    let own = repository(repo.full_path(), REPO_ID);
    let source =
        if change.fork { repository(FORK_PATH, "{f58c57d2-28b0-44f4-8c30-ea83e4825381}") } else { own.clone() };
    let short = &change.head[..SHOWN_DIGITS.min(change.head.len())];
    let body = json!({
        "pullrequest": {
            "id": change.number,
            "type": "pullrequest",
            "state": state,
            "draft": change.draft,
            "title": change.title,
            "description": "",
            "reason": "",
            "author": person(change.author),
            "created_on": "2026-03-06T11:52:20.092358+00:00",
            "updated_on": Utc::now().to_rfc3339(),
            "source": { "commit": { "hash": short }, "branch": { "name": change.source }, "repository": source },
            "destination": { "commit": { "hash": "1986c2284946" }, "branch": { "name": "main" }, "repository": own },
            "merge_commit": null,
            "reviewers": [],
            "participants": [],
        },
        "repository": own,
        "actor": person(change.author),
    });
    sign(event, body.to_string().into_bytes(), secret)
}

/// Somebody forked the repository.
pub(super) fn unwanted(repo: &Repo) -> Value {
    json!({ "repository": repository(repo.full_path(), REPO_ID), "actor": person("stranger") })
}

/// Any body as an event of this name, signed.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "Bitbucket-Webhooks/2.0".to_owned()),
        ("x-attempt-number", "1".to_owned()),
        ("x-event-key", event.to_owned()),
        ("x-hook-uuid", "93f9927a-80c8-53cb-917e-bda8f7b3f58d".to_owned()),
        ("x-request-uuid", delivery_id()),
        ("x-hub-signature", format!("sha256={}", hex::encode(hmac_sha256(secret.as_bytes(), &body)))),
    ];
    delivery(headers, body)
}

fn side(moved: &Move, commit: &str) -> Value {
    let (kind, name) = match moved.git_ref.strip_prefix("refs/tags/") {
        Some(tag) => ("tag", tag),
        None => ("branch", moved.git_ref.trim_start_matches("refs/heads/")),
    };
    json!({ "type": kind, "name": name, "target": target(commit, &moved.message), "links": {} })
}

fn target(commit: &str, message: &str) -> Value {
    json!({
        "type": "commit",
        "hash": commit,
        "message": message,
        "date": "2026-05-15T15:20:41+00:00",
        "author": { "type": "author", "raw": "Ada <ada@example.com>" },
        "parents": [],
    })
}

fn repository(path: &str, id: &str) -> Value {
    let (owner, name) = two_parts(path);
    json!({
        "type": "repository",
        "uuid": id,
        "scm": "git",
        "website": "",
        "name": name,
        "full_name": path,
        "is_private": true,
        "owner": { "username": owner, "display_name": owner, "type": "team" },
        "links": {
            "self": { "href": format!("https://api.bitbucket.org/2.0/repositories/{path}") },
            "html": { "href": format!("https://bitbucket.org/{path}") },
        },
    })
}

fn person(name: &str) -> Value {
    json!({
        "type": "user", "nickname": name, "username": name, "display_name": name,
        "account_id": "557058:2a6349dc-4346-4805-bd84-3abdd0812d17", "uuid": "{87bb15eb-47c1-49b3-9f16-ca824a2979a4}",
    })
}
