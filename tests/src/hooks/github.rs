//! GitHub's deliveries. Shape and headers: "Webhook events and payloads" and "Validating
//! webhook deliveries" in GitHub's documentation.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::mac::hmac_sha256;
use super::{Change, Delivery, FORK_ID, FORK_PATH, News, ZERO, delivery, delivery_id, two_parts};
use crate::env::repo::{Move, Repo};

/// When the commits of a delivery were made, as far as it says.
const COMMITTED_AT: &str = "2026-09-21T14:13:20Z";

/// The same in seconds since 1970.
const PUSHED_AT: u64 = 1_790_000_000;

/// The delivery of a ref's move, signed with the hook's secret.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    sign("push", push_body(repo, moved).to_string().into_bytes(), secret)
}

/// News of a pull request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let action = match change.news {
        News::Opened => "opened",
        News::Updated => "synchronize",
        News::Closed | News::Merged => "closed",
    };
    told(repo, change, action, secret)
}

/// News of this name of a pull request from `feature` to `main`, whose head is this commit, out of the repository
/// itself or a fork.
pub fn pull_request(repo: &Repo, (number, action): (u64, &str), head: &str, fork: bool, secret: &str) -> Delivery {
    told(repo, &Change { fork, ..Change::new(number, News::Opened, head) }, action, secret)
}

fn told(repo: &Repo, change: &Change<'_>, action: &str, secret: &str) -> Delivery {
    let base = repository(repo);
    let mut source = base.clone();
    if change.fork {
        source["id"] = json!(FORK_ID);
        source["full_name"] = json!(FORK_PATH);
        source["fork"] = json!(true);
    }
    let user = person(change.author);
    let body = json!({
        "action": action,
        "number": change.number,
        "pull_request": {
            "number": change.number,
            "state": if change.is_open() { "open" } else { "closed" },
            "draft": change.draft,
            "title": change.title,
            "author_association": "NONE",
            "user": user,
            "merged": change.news == News::Merged,
            "updated_at": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            "head": { "ref": change.source, "sha": change.head, "repo": source },
            "base": { "ref": "main", "sha": ZERO, "repo": base.clone() },
        },
        "repository": base,
        "sender": user,
    });
    sign("pull_request", body.to_string().into_bytes(), secret)
}

/// Somebody pressed "Re-run" beside a check of this commit.
pub fn rerequested(repo: &Repo, commit: &str, secret: &str) -> Delivery {
    let body = json!({
        "action": "rerequested",
        "check_run": { "id": 128620228, "head_sha": commit, "status": "completed", "conclusion": "failure" },
        "repository": repository(repo),
        "sender": sender(),
    });
    sign("check_run", body.to_string().into_bytes(), secret)
}

/// Somebody likes the repository.
pub(super) fn unwanted(repo: &Repo) -> Value {
    json!({ "action": "created", "starred_at": COMMITTED_AT, "repository": repository(repo), "sender": sender() })
}

/// The delivery that GitHub sends when a hook is made.
pub fn ping(repo: &Repo, secret: &str) -> Delivery {
    let body = json!({
        "zen": "Non-blocking is better than blocking.",
        "hook_id": 292430182,
        "hook": { "type": "Repository", "id": 292430182, "active": true, "events": ["push"] },
        "repository": repository(repo),
        "sender": sender(),
    });
    sign("ping", body.to_string().into_bytes(), secret)
}

/// Any body as an event of this name, signed.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    let headers = [
        ("accept", "*/*".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("user-agent", "GitHub-Hookshot/044aadd".to_owned()),
        ("x-github-delivery", delivery_id()),
        ("x-github-event", event.to_owned()),
        ("x-github-hook-id", "292430182".to_owned()),
        ("x-github-hook-installation-target-id", "79929171".to_owned()),
        ("x-github-hook-installation-target-type", "repository".to_owned()),
        ("x-hub-signature-256", format!("sha256={}", hex::encode(hmac_sha256(secret.as_bytes(), &body)))),
    ];
    delivery(headers, body)
}

fn push_body(repo: &Repo, moved: &Move) -> Value {
    let before = moved.before.as_deref().unwrap_or(ZERO);
    let after = moved.after.as_deref().unwrap_or(ZERO);
    let html = format!("https://github.com/{}", repo.full_path());
    let head_commit = moved.commit.as_ref().map(|id| commit(&html, id, &moved.message));
    json!({
        "ref": moved.git_ref,
        "before": before,
        "after": after,
        "repository": repository(repo),
        "pusher": { "name": "ada", "email": "ada@example.com" },
        "sender": sender(),
        "created": moved.before.is_none(),
        "deleted": moved.after.is_none(),
        "forced": moved.forced,
        "base_ref": null,
        "compare": format!("{html}/compare/{}...{}", &before[..12.min(before.len())], &after[..12.min(after.len())]),
        "commits": head_commit.iter().collect::<Vec<_>>(),
        "head_commit": head_commit,
    })
}

fn commit(html: &str, id: &str, message: &str) -> Value {
    let person = json!({ "name": "Ada", "email": "ada@example.com", "username": "ada" });
    json!({
        "id": id,
        "tree_id": "9d7b51e1b4f5e1b0e8f1b9f1a9c1d3e5f7a9b1c3",
        "distinct": true,
        "message": message,
        "timestamp": COMMITTED_AT,
        "url": format!("{html}/commit/{id}"),
        "author": person,
        "committer": person,
        "added": ["Dockerfile"],
        "removed": [],
        "modified": [],
    })
}

fn repository(repo: &Repo) -> Value {
    let (owner, name) = two_parts(repo.full_path());
    let full = repo.full_path();
    json!({
        "id": 186853002,
        "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
        "name": name,
        "full_name": full,
        "private": false,
        "owner": { "name": owner, "email": null, "login": owner, "id": 21031067, "type": "Organization" },
        "html_url": format!("https://github.com/{full}"),
        "description": null,
        "fork": false,
        "url": format!("https://api.github.com/repos/{full}"),
        "git_url": format!("git://github.com/{full}.git"),
        "ssh_url": format!("git@github.com:{full}.git"),
        "clone_url": format!("https://github.com/{full}.git"),
        "created_at": 1557933565,
        "updated_at": "2026-05-15T15:20:41Z",
        "pushed_at": PUSHED_AT,
        "archived": false,
        "disabled": false,
        "visibility": "public",
        "default_branch": "main",
        "master_branch": "main",
    })
}

fn sender() -> Value {
    person("ada")
}

fn person(login: &str) -> Value {
    json!({ "login": login, "id": 21031067, "node_id": "MDQ6VXNlcjIxMDMxMDY3", "type": "User", "site_admin": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_githubs_own_example() {
        // From "Testing the webhook payload validation" in GitHub's documentation.
        let delivery = sign("push", b"Hello, World!".to_vec(), "It's a Secret to Everybody");
        let signature = delivery.headers.iter().find(|(name, _)| name == "x-hub-signature-256");
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(signature.map(|(_, value)| value.as_str()), Some(expected));
    }
}
