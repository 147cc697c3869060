//! Deliveries of Gitea and Forgejo. Shape and headers: go-gitea/gitea `services/webhook/deliver.go` and
//! `modules/structs/hook.go`. The copies of Gogs's and GitHub's headers are sent, too.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::mac::{hmac_sha1, hmac_sha256};
use super::{Change, Delivery, FORK_ID, FORK_PATH, News, ZERO, delivery, delivery_id, two_parts};
use crate::env::repo::{Move, Repo};

/// The repository's id.
const REPO_ID: u64 = 6589;

/// The delivery of a ref's move, signed with the hook's secret. A deleted branch is told by `delete` alone.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    if let (None, Some(branch)) = (&moved.after, moved.git_ref.strip_prefix("refs/heads/")) {
        let body = json!({
            "ref": branch,
            "ref_type": "branch",
            "pusher_type": "user",
            "repository": repository(repo.full_path(), REPO_ID),
            "sender": person("ada"),
        });
        return sign("delete", body.to_string().into_bytes(), secret);
    }
    let head = moved.commit.as_ref().map(|id| commit(id, &moved.message));
    let body = json!({
        "ref": moved.git_ref,
        "before": moved.before.as_deref().unwrap_or(ZERO),
        "after": moved.after.as_deref().unwrap_or(ZERO),
        "compare_url": "",
        "commits": head.iter().collect::<Vec<_>>(),
        "total_commits": usize::from(head.is_some()),
        "head_commit": head,
        "repository": repository(repo.full_path(), REPO_ID),
        "pusher": person("ada"),
        "sender": person("ada"),
    });
    sign("push", body.to_string().into_bytes(), secret)
}

/// News of a pull request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let action = match change.news {
        News::Opened => "opened",
        News::Updated => "synchronized",
        News::Closed | News::Merged => "closed",
    };
    let own = repository(repo.full_path(), REPO_ID);
    let (source, source_id) =
        if change.fork { (repository(FORK_PATH, FORK_ID), FORK_ID) } else { (own.clone(), REPO_ID) };
    let body = json!({
        "action": action,
        "number": change.number,
        "pull_request": {
            "id": 473,
            "number": change.number,
            "user": person(change.author),
            "title": change.title,
            "draft": change.draft,
            "body": "",
            "state": if change.is_open() { "open" } else { "closed" },
            "mergeable": true,
            "merged": change.news == News::Merged,
            "base": { "label": "main", "ref": "main", "sha": ZERO, "repo_id": REPO_ID, "repo": own },
            "head": {
                "label": change.source, "ref": change.source, "sha": change.head, "repo_id": source_id,
                "repo": source,
            },
            "merge_base": ZERO,
            "created_at": "2026-07-06T00:37:47Z",
            "updated_at": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        },
        "repository": own,
        "sender": person(change.author),
        "review": null,
    });
    sign("pull_request", body.to_string().into_bytes(), secret)
}

/// Somebody forked the repository.
pub(super) fn unwanted(repo: &Repo) -> Value {
    let own = repository(repo.full_path(), REPO_ID);
    json!({ "forkee": own, "repository": own, "sender": person("stranger") })
}

/// Any body as an event of this name, signed.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    let id = delivery_id();
    let signature = hex::encode(hmac_sha256(secret.as_bytes(), &body));
    let old_signature = format!("sha1={}", hex::encode(hmac_sha1(secret.as_bytes(), &body)));
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "Go-http-client/1.1".to_owned()),
        ("x-gitea-delivery", id.clone()),
        ("x-gitea-event", event.to_owned()),
        ("x-gitea-event-type", event.to_owned()),
        ("x-gitea-signature", signature.clone()),
        ("x-gogs-delivery", id.clone()),
        ("x-gogs-event", event.to_owned()),
        ("x-gogs-event-type", event.to_owned()),
        ("x-gogs-signature", signature.clone()),
        ("x-hub-signature", old_signature),
        ("x-hub-signature-256", format!("sha256={signature}")),
        ("x-github-delivery", id),
        ("x-github-event", event.to_owned()),
        ("x-github-event-type", event.to_owned()),
    ];
    delivery(headers, body)
}

fn commit(id: &str, message: &str) -> Value {
    let person = json!({ "name": "Ada", "email": "ada@example.com", "username": "ada" });
    json!({
        "id": id, "message": message, "url": "", "author": person, "committer": person, "verification": null,
        "timestamp": "2026-05-15T15:20:41Z", "added": ["Dockerfile"], "removed": [], "modified": [],
    })
}

fn repository(path: &str, id: u64) -> Value {
    let (owner, name) = two_parts(path);
    json!({
        "id": id,
        "owner": person(owner),
        "name": name,
        "full_name": path,
        "description": "",
        "empty": false,
        "private": false,
        "fork": id == FORK_ID,
        "parent": null,
        "mirror": false,
        "size": 64,
        "html_url": format!("https://gitea.example.com/{path}"),
        "ssh_url": format!("git@gitea.example.com:{path}.git"),
        "clone_url": format!("https://gitea.example.com/{path}.git"),
        "default_branch": "main",
        "created_at": "2026-07-06T00:08:02Z",
        "updated_at": "2026-07-06T01:06:56Z",
        "permissions": { "admin": false, "push": false, "pull": false },
    })
}

fn person(login: &str) -> Value {
    json!({ "id": 6641, "login": login, "full_name": "", "email": "ada@example.com", "username": login })
}
