//! GitHub's API below an own server's `/api/v3`.

use serde_json::{Value, json};

use super::question::{Asked, Files, Found, Reply};
use super::request::Request;
use super::status::Status;
use crate::hooks::ZERO;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let path = request.path();
    let rest = match path.as_slice() {
        ["api", "v3", "repos", owner, name, rest @ ..] if format!("{owner}/{name}") == repo => rest,
        ["api", "v3", "repositories", _] if request.is_get() => return Some(Asked::RepoById),
        _ => return None,
    };
    if let ["statuses", commit] = rest
        && request.method == "POST"
    {
        return Some(Asked::Status(Status {
            commit: (*commit).to_owned(),
            state: request.text("state"),
            context: request.text("context"),
            name: request.text("context"),
            description: request.text("description"),
            url: request.text("target_url"),
            check: None,
            fields: request.fields.clone(),
        }));
    }
    if !request.is_get() {
        return None;
    }
    match rest {
        [] => Some(Asked::Repo),
        ["contents", path @ ..] => Some(Asked::File { commit: request.query("ref").to_owned(), path: path.join("/") }),
        ["git", "commits", commit] => Some(Asked::Commit((*commit).to_owned())),
        ["commits", kind @ ("heads" | "tags"), name @ ..] => {
            Some(Asked::Head(format!("refs/{kind}/{}", name.join("/"))))
        }
        ["compare", both] => {
            let (before, after) = both.split_once("...")?;
            Some(Asked::Compare { before: before.to_owned(), after: after.to_owned() })
        }
        ["pulls", number, "files"] => number.parse().ok().map(Asked::Change),
        ["collaborators", login, "permission"] => Some(Asked::Right((*login).to_owned())),
        _ => None,
    }
}

pub(super) fn shown(found: &Found) -> Reply {
    let json = |body: Value| Reply::Json(200, body);
    match found {
        Found::Commit { id, message } => json(json!({ "sha": id, "message": message })),
        Found::Text(text) => Reply::Text(text.clone()),
        Found::Compared(files) => {
            // It compares with the commit that both come from, and says which that is.
            let base = files.base.clone().filter(|_| !files.cut).unwrap_or_else(|| ZERO.to_owned());
            json(json!({ "merge_base_commit": { "sha": base }, "files": listed(files) }))
        }
        Found::Files(files) => json(json!(listed(files))),
        Found::Right(may) => json(json!({ "permission": if *may { "write" } else { "read" } })),
        Found::Repo { path } => json(json!({
            "id": 186853002, "full_name": path, "clone_url": format!("https://elsewhere.invalid/{path}.git"),
            "html_url": format!("https://elsewhere.invalid/{path}"), "default_branch": "main", "private": false,
        })),
        Found::User { .. } | Found::Writers(_) | Found::Checks(_) | Found::Absent => {
            Reply::Json(404, json!({ "message": "Not Found" }))
        }
    }
}

fn listed(files: &Files) -> Vec<Value> {
    files.paths.iter().map(|path| json!({ "filename": path, "status": "modified" })).collect()
}

pub(super) fn took(status: &Status) -> Reply {
    let (fields, at) = (&status.fields, "2026-01-01T00:00:00Z");
    let body = json!({
        "id": 1, "node_id": "x", "url": "https://192.0.2.1/", "state": fields["state"],
        "context": fields["context"], "description": fields["description"], "target_url": fields["target_url"],
        "created_at": at, "updated_at": at,
    });
    Reply::Json(201, body)
}
