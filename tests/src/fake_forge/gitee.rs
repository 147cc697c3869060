//! Gitee's API, version 5, as its reference describes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::question::{Asked, Files, Found, Reply};
use super::request::Request;
use super::status::Status;
use crate::hooks::ZERO;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let path = request.path();
    let rest = match path.as_slice() {
        ["api", "v5", "repos", owner, name, rest @ ..] if format!("{owner}/{name}") == repo => rest,
        _ => return None,
    };
    match (request.method.as_str(), rest) {
        ("POST", ["check-runs"]) => return Some(Asked::Status(status(request, None))),
        ("PATCH", ["check-runs", number]) => return Some(Asked::Status(status(request, number.parse().ok()))),
        ("GET", _) => {}
        _ => return None,
    }
    match rest {
        [] => Some(Asked::Repo),
        ["commits", commit, "check-runs"] => Some(Asked::Checks((*commit).to_owned())),
        ["contents", path @ ..] => Some(Asked::File { commit: request.query("ref").to_owned(), path: path.join("/") }),
        ["branches", name] => Some(Asked::Head(format!("refs/heads/{name}"))),
        ["commits", revision] => Some(Asked::Commit((*revision).to_owned())),
        ["compare", both] => {
            let (before, after) = both.split_once("...")?;
            Some(Asked::Compare { before: before.to_owned(), after: after.to_owned() })
        }
        ["pulls", number, "files"] => number.parse().ok().map(Asked::Change),
        ["collaborators", login, "permission"] => Some(Asked::Right((*login).to_owned())),
        _ => None,
    }
}

/// A check: it is waiting, it runs, or it is over with a conclusion.
fn status(request: &Request, check: Option<usize>) -> Status {
    let state = match request.text("status").as_str() {
        "completed" => request.text("conclusion"),
        waiting => waiting.to_owned(),
    };
    Status {
        commit: request.text("head_sha"),
        state,
        context: request.text("name"),
        name: request.text("name"),
        description: request.fields["output"]["summary"].as_str().unwrap_or_default().to_owned(),
        url: request.text("details_url"),
        check,
        fields: request.fields.clone(),
    }
}

pub(super) fn shown(found: &Found) -> Reply {
    let json = |body: Value| Reply::Json(200, body);
    match found {
        // Commit and branch have the id at different places.
        Found::Commit { id, message } => json(json!({ "sha": id, "commit": { "sha": id, "message": message } })),
        Found::Text(text) => json(json!({ "type": "file", "encoding": "base64", "content": STANDARD.encode(text) })),
        Found::Compared(files) => {
            let base = files.base.clone().unwrap_or_else(|| ZERO.to_owned());
            json(json!({ "merge_base_commit": { "sha": base }, "files": listed(files), "truncated": files.cut }))
        }
        Found::Files(files) => json(json!(listed(files))),
        Found::Right(may) => json(json!({ "permission": if *may { "write" } else { "read" } })),
        Found::Checks(checks) => {
            let checks: Vec<Value> =
                checks.iter().map(|(number, name)| json!({ "id": number, "name": name })).collect();
            json(json!({ "total_count": checks.len(), "check_runs": checks }))
        }
        Found::Repo { path } => json(json!({
            "id": 14836026, "full_name": path, "private": true, "default_branch": "main",
            "html_url": format!("https://elsewhere.invalid/{path}.git"),
        })),
        Found::User { .. } | Found::Writers(_) | Found::Absent => {
            Reply::Json(404, json!({ "message": "404 Not Found" }))
        }
    }
}

fn listed(files: &Files) -> Vec<Value> {
    files
        .paths
        .iter()
        .map(|path| json!({ "filename": path, "patch": { "old_path": path, "new_path": path } }))
        .collect()
}
