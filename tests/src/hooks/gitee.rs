//! Gitee's deliveries, in signature mode. Shape and headers: "WebHook 推送数据格式说明" and "WebHook 密钥验证和验证算法"
//! in Gitee's help. They have no id, and the signature does not cover the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::mac::hmac_sha256;
use super::{Change, Delivery, FORK_ID, FORK_PATH, News, ZERO, delivery, two_parts};
use crate::env::repo::{Move, Repo};

/// The repository's id.
const REPO_ID: u64 = 14836026;

/// The delivery of a ref's move, signed with the hook's secret.
pub fn push(repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    let is_tag = moved.git_ref.starts_with("refs/tags/");
    let (event, hook) = if is_tag { ("Tag Push Hook", "tag_push_hooks") } else { ("Push Hook", "push_hooks") };
    let own = repository(repo.full_path(), REPO_ID);
    let head = moved.commit.as_ref().map(|id| commit(id, &moved.message));
    let body = json!({
        "ref": moved.git_ref,
        "before": moved.before.as_deref().unwrap_or(ZERO),
        "after": moved.after.as_deref().unwrap_or(ZERO),
        "created": moved.before.is_none(),
        "deleted": moved.after.is_none(),
        "compare": "",
        "commits": head.iter().collect::<Vec<_>>(),
        "total_commits_count": usize::from(head.is_some()),
        "commits_more_than_ten": false,
        "head_commit": head,
        "hook_id": 788005,
        "hook_name": hook,
        "password": "",
        "project": own,
        "repository": own,
        "pusher": person("ada"),
        "sender": person("ada"),
        "user": person("ada"),
        "user_name": "ada",
    });
    sign(event, body.to_string().into_bytes(), secret)
}

/// News of a pull request.
pub fn change(repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    let (action, described) = match change.news {
        News::Opened => ("open", "open"),
        News::Updated => ("update", "source_branch_changed"),
        News::Closed => ("close", "close"),
        News::Merged => ("merge", "merge"),
    };
    let own = repository(repo.full_path(), REPO_ID);
    let source = if change.fork { repository(FORK_PATH, FORK_ID) } else { own.clone() };
    let side = |branch: &str, commit: &str, repo: Value| json!({ "label": format!("ada:{branch}"), "ref": branch, "sha": commit, "repo": repo, "user": person("ada") });
    let body = json!({
        "action": action,
        "action_desc": described,
        "number": change.number,
        "iid": change.number,
        "title": change.title,
        "author": person(change.author),
        "pull_request": {
            "id": 4744278,
            "number": change.number,
            "state": if change.is_open() { "open" } else { "closed" },
            "title": change.title,
            "draft": change.draft,
            "user": person(change.author),
            "created_at": "2026-10-08T17:29:49+08:00",
            "updated_at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, false),
            "head": side(change.source, change.head, source),
            "base": side("main", ZERO, own.clone()),
            "merged": change.news == News::Merged,
            "mergeable": true,
        },
        "hook_id": 788005,
        "hook_name": "merge_request_hooks",
        "password": "",
        "project": own,
        "repository": own,
        "sender": person(change.author),
    });
    sign("Merge Request Hook", body.to_string().into_bytes(), secret)
}

/// What "Test" sends: a push of long ago, with a mark.
pub fn ping(repo: &Repo, secret: &str) -> Delivery {
    let body = json!({ "hook_name": "push_hooks", "repository": repository(repo.full_path(), REPO_ID), "commits": [] });
    sign("Push Hook", body.to_string().into_bytes(), secret).with_header("x-gitee-ping", "true")
}

/// Somebody wrote a comment.
pub(super) fn unwanted(repo: &Repo) -> Value {
    let own = repository(repo.full_path(), REPO_ID);
    json!({ "action": "comment", "hook_name": "note_hooks", "password": "", "project": own, "repository": own })
}

/// Any body as an event of this name; the time is signed, and nothing else.
pub fn sign(event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    let millis = Utc::now().timestamp_millis().to_string();
    let signature = hmac_sha256(secret.as_bytes(), format!("{millis}\n{secret}").as_bytes());
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "git-oschina-hook".to_owned()),
        ("x-gitee-event", event.to_owned()),
        ("x-git-oschina-event", event.to_owned()),
        ("x-gitee-ping", "false".to_owned()),
        ("x-gitee-timestamp", millis),
        ("x-gitee-token", STANDARD.encode(signature)),
    ];
    delivery(headers, body)
}

fn commit(id: &str, message: &str) -> Value {
    let author = json!({ "email": "ada@example.com", "id": 1535738, "name": "ada", "username": "ada" });
    json!({
        "id": id, "message": message, "distinct": true, "timestamp": "2026-10-08T17:53:12+08:00", "author": author,
        "committer": author, "tree_id": "fdbf4a1239cdef7f81b6a0e76451735a8a27d2c8", "parent_ids": [],
        "added": ["Dockerfile"], "removed": [], "modified": [], "url": "https://gitee.com/x",
    })
}

fn repository(path: &str, id: u64) -> Value {
    let (owner, name) = two_parts(path);
    json!({
        "id": id,
        "name": name,
        "path": name,
        "full_name": path,
        "path_with_namespace": path,
        "name_with_namespace": path,
        "namespace": owner,
        "owner": person(owner),
        "private": false,
        "fork": id == FORK_ID,
        "html_url": format!("https://gitee.com/{path}"),
        "clone_url": format!("https://gitee.com/{path}.git"),
        "default_branch": "main",
        "pushed_at": "2026-10-08T17:53:18+08:00",
    })
}

fn person(login: &str) -> Value {
    json!({
        "id": 1535738, "login": login, "name": login, "username": login, "user_name": login,
        "email": "ada@example.com", "type": "User", "site_admin": false, "url": "https://gitee.com/x",
    })
}
