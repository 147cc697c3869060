//! CODING's deliveries as its Service Hook sends them. Shape and headers: "Service Hook" in CODING's help; the bodies
//! are those of its second format and some keys more.

use chrono::Utc;
use serde_json::{Value, json};

use super::mac::hmac_sha1;
use super::{Change, Delivery, FORK_ID, FORK_PATH, News, ZERO, delivery, delivery_id, two_parts};
use crate::env::repo::{Move, Repo};

/// The repository's id.
const REPO_ID: u64 = 33774;

/// The delivery of a ref's move, signed with the hook's secret.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    let head = moved.commit.as_ref().map(|id| commit(id, &moved.message));
    let body = around(
        repo,
        "GIT_PUSHED",
        json!({
            "ref": moved.git_ref,
            "before": moved.before.as_deref().unwrap_or(ZERO),
            "after": moved.after.as_deref().unwrap_or(ZERO),
            "created": moved.before.is_none(),
            "deleted": moved.after.is_none(),
            "compare": "",
            "commits": head.iter().collect::<Vec<_>>(),
            "head_commit": head,
            "pusher": { "name": "Ada", "email": "ada@example.com", "username": "ada" },
            "sender": person("ada"),
        }),
    );
    sign("GIT_PUSHED", body.to_string().into_bytes(), secret)
}

/// News of a merge request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let (event, action, state) = match change.news {
        News::Opened => ("GIT_MR_CREATED", "create", "CANMERGE"),
        News::Updated => ("GIT_MR_UPDATED", "synchronize", "CANMERGE"),
        News::Closed => ("GIT_MR_CLOSED", "close", "CANCEL"),
        News::Merged => ("GIT_MR_MERGED", "merge", "ACCEPTED"),
    };
    let own = repository(repo.full_path(), REPO_ID);
    let source = if change.fork { repository(FORK_PATH, FORK_ID) } else { own.clone() };
    let side = |branch: &str, commit: &str, repo: Value| json!({ "label": format!("ada:{branch}"), "ref": branch, "sha": commit, "repo": repo, "user": person("ada") });
    let body = around(
        repo,
        event,
        json!({
            "action": action,
            "number": change.number,
            "mergeRequest": {
                "id": 6428648,
                "number": change.number,
                "state": state,
                "title": change.title,
                "body": "",
                "user": person(change.author),
                "created_at": 1589451699000_u64,
                "updated_at": Utc::now().timestamp_millis(),
                "merge_commit_sha": "",
                "head": side(change.source, change.head, source),
                "base": side("main", ZERO, own),
                "merged": change.news == News::Merged,
            },
            "sender": person(change.author),
        }),
    );
    sign(event, body.to_string().into_bytes(), secret)
}

/// The delivery that tries the hook. Its addresses may hold HTML.
pub fn ping(repo: &Repo, secret: &str) -> Delivery {
    let mut own = repository(repo.full_path(), REPO_ID);
    own["html_url"] = json!("<a href='https://coding.net/u/ada'>here</a>");
    let body = json!({
        "zen": "Coding！ 让开发更简单",
        "hook_id": 92608,
        "hook": { "id": 92608, "name": "web", "type": "Repository", "active": true, "events": ["push"] },
        "repository": own,
        "sender": person("ada"),
    });
    sign("PING", body.to_string().into_bytes(), secret)
}

/// Somebody wrote a comment.
pub(super) fn unwanted(repo: &Repo) -> Value {
    around(repo, "GIT_MR_NOTE", json!({ "action": "comment", "sender": person("ada") }))
}

/// Any body as an event of this name, signed.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    let old_name = if event == "GIT_PUSHED" { "push" } else { "merge request" };
    let headers = [
        ("content-type", "application/json; charset=UTF-8".to_owned()),
        ("user-agent", "Coding.net Hook".to_owned()),
        ("accept-encoding", "gzip,deflate".to_owned()),
        ("x-coding-event", old_name.to_owned()),
        ("x-coding-delivery", delivery_id()),
        ("x-coding-signature", format!("sha1={}", hex::encode(hmac_sha1(secret.as_bytes(), &body)))),
        ("x-coding-service-hook-event", event.to_owned()),
        ("x-coding-service-hook-id", "f0b0ed2e-1810-51f5-bded-d4b07a8bc858".to_owned()),
        ("x-coding-service-hook-action", "webhook_http_post".to_owned()),
    ];
    delivery(headers, body)
}

/// What the Service Hook puts around the second format's body.
fn around(repo: &Repo, event: &str, mut body: Value) -> Value {
    let mut own = repository(repo.full_path(), REPO_ID);
    own["vcs_type"] = json!("git");
    body["repository"] = own;
    body["event"] = json!(event);
    body["eventName"] = json!("代码仓库");
    body["project"] = json!({ "id": 77, "name": "tools", "display_name": "tools" });
    body["team"] = json!({ "id": 7, "domain": "team", "name": "team" });
    body
}

fn commit(id: &str, message: &str) -> Value {
    let author = json!({ "name": "Ada", "email": "ada@example.com", "username": "ada" });
    json!({
        "id": id, "distinct": false, "message": message, "timestamp": 1589451706000_u64, "url": "", "author": author,
        "committer": author, "added": [], "removed": [], "modified": ["Dockerfile"],
    })
}

fn repository(path: &str, id: u64) -> Value {
    let (owner, name) = two_parts(path);
    json!({
        "id": id,
        "name": name,
        "full_name": path,
        "owner": person(owner),
        "private": true,
        "html_url": format!("https://team.coding.net/p/{path}"),
        "description": "",
        "fork": id == FORK_ID,
        "created_at": 1531397030000_u64,
        "updated_at": 1567396699000_u64,
        "clone_url": format!("https://e.coding.net/{path}.git"),
        "default_branch": "main",
    })
}

fn person(login: &str) -> Value {
    json!({
        "id": 15271, "login": login, "name": login, "name_pinyin": login, "url": "https://coding.net/api/user/key/x",
        "html_url": "https://coding.net/u/x",
    })
}
