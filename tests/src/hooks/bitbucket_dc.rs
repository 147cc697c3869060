//! Bitbucket Data Center's deliveries. Shape and headers: "Event payload" and "Manage webhooks" in Atlassian's
//! documentation, as version 10 sends them. A repository's path is its project's key and its slug.

use chrono::Utc;
use serde_json::{Value, json};

use super::mac::hmac_sha256;
use super::{Change, Delivery, FORK_ID, FORK_PATH, News, ZERO, delivery, delivery_id, two_parts};
use crate::env::repo::{Move, Repo};

/// The repository's id.
const REPO_ID: u64 = 84;

/// The delivery of a ref's move, signed with the hook's secret.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    let is_tag = moved.git_ref.starts_with("refs/tags/");
    let short = moved.git_ref.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
    let kind = match (&moved.before, &moved.after) {
        (None, _) => "ADD",
        (_, None) => "DELETE",
        _ => "UPDATE",
    };
    let mut body = json!({
        "eventKey": "repo:refs_changed",
        "date": now(),
        "actor": person("ada"),
        "repository": repository(repo.full_path(), REPO_ID),
        "changes": [{
            "ref": { "id": moved.git_ref, "displayId": short, "type": if is_tag { "TAG" } else { "BRANCH" } },
            "refId": moved.git_ref,
            "fromHash": moved.before.as_deref().unwrap_or(ZERO),
            "toHash": moved.after.as_deref().unwrap_or(ZERO),
            "type": kind,
        }],
    });
    if let Some(id) = &moved.commit {
        let head = commit(id, &moved.message);
        body["commits"] = json!([head]);
        body["toCommit"] = head;
    }
    sign("repo:refs_changed", body.to_string().into_bytes(), secret)
}

/// News of a pull request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let (event, state) = match change.news {
        News::Opened => ("pr:opened", "OPEN"),
        News::Updated => ("pr:from_ref_updated", "OPEN"),
        News::Closed => ("pr:declined", "DECLINED"),
        News::Merged => ("pr:merged", "MERGED"),
    };
    let own = repository(repo.full_path(), REPO_ID);
    let source = if change.fork { repository(FORK_PATH, FORK_ID) } else { own.clone() };
    let side = |branch: &str, commit: &str, repository: Value| {
        json!({
            "id": format!("refs/heads/{branch}"), "displayId": branch, "latestCommit": commit,
            "repository": repository,
        })
    };
    let mut body = json!({
        "eventKey": event,
        "date": now(),
        "actor": person(change.author),
        "pullRequest": {
            "id": change.number,
            "version": 0,
            "title": change.title,
            "state": state,
            "open": change.is_open(),
            "closed": !change.is_open(),
            "draft": change.draft,
            "createdDate": 1530818490848_u64,
            "updatedDate": Utc::now().timestamp_millis(),
            "fromRef": side(change.source, change.head, source),
            "toRef": side("main", ZERO, own),
            "locked": false,
            "author": { "user": person(change.author), "role": "AUTHOR", "approved": false, "status": "UNAPPROVED" },
            "reviewers": [],
            "participants": [],
        },
    });
    if change.news == News::Updated {
        body["previousFromHash"] = json!(ZERO.replace('0', "8"));
    }
    sign(event, body.to_string().into_bytes(), secret)
}

/// What "Test connection" sends.
pub fn ping(secret: &str) -> Delivery {
    sign("diagnostics:ping", json!({ "test": true }).to_string().into_bytes(), secret)
}

/// Somebody forked the repository.
pub(super) fn unwanted(repo: &Repo) -> Value {
    json!({
        "eventKey": "repo:forked", "date": now(), "actor": person("stranger"),
        "repository": repository(repo.full_path(), REPO_ID),
    })
}

/// Any body as an event of this name, signed.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    let headers = [
        ("content-type", "application/json; charset=utf-8".to_owned()),
        ("user-agent", "Atlassian HttpClient 4.2.0 / Bitbucket-8.19.0 (8019000) / Default".to_owned()),
        ("x-event-key", event.to_owned()),
        ("x-request-id", delivery_id()),
        ("x-hub-signature", format!("sha256={}", hex::encode(hmac_sha256(secret.as_bytes(), &body)))),
    ];
    delivery(headers, body)
}

fn now() -> String {
    Utc::now().format("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

fn commit(id: &str, message: &str) -> Value {
    let person = json!({ "name": "Ada", "emailAddress": "ada@example.com" });
    json!({
        "id": id, "displayId": &id[..11.min(id.len())], "message": message, "parents": [],
        "author": person, "authorTimestamp": "2026-09-21T14:09:51.000Z",
        "committer": person, "committerTimestamp": "2026-09-21T14:09:51.000Z",
    })
}

fn repository(path: &str, id: u64) -> Value {
    let (key, slug) = two_parts(path);
    json!({
        "id": id,
        "slug": slug,
        "name": slug,
        "scmId": "git",
        "state": "AVAILABLE",
        "statusMessage": "Available",
        "forkable": true,
        "archived": false,
        "public": false,
        "hierarchyId": "12cb3c28a34e6d0a78c6",
        "project": { "key": key, "id": 2, "name": key, "public": false, "type": "NORMAL" },
    })
}

fn person(name: &str) -> Value {
    json!({
        "name": name, "emailAddress": "ada@example.com", "id": 1, "displayName": name, "active": true,
        "slug": name, "type": "NORMAL",
    })
}
