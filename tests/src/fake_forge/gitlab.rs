//! GitLab's API, version 4.

use serde_json::{Value, json};

use super::question::{Asked, Files, Found, Reply};
use super::request::Request;
use super::status::Status;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let path = request.path();
    let rest = match path.as_slice() {
        ["api", "v4", "projects", path, rest @ ..] if *path == repo => rest,
        ["api", "v4", "projects", id] if request.is_get() && id.parse::<u64>().is_ok() => return Some(Asked::RepoById),
        ["api", "v4", "users"] if request.is_get() => return Some(Asked::User(request.query("username").to_owned())),
        _ => return None,
    };
    if let ["statuses", commit] = rest
        && request.method == "POST"
    {
        return Some(Asked::Status(Status {
            commit: (*commit).to_owned(),
            state: request.text("state"),
            context: request.text("name"),
            name: request.text("name"),
            description: request.text("description"),
            url: request.text("target_url"),
            check: None,
            fields: request.fields.clone(),
        }));
    }
    if !request.is_get() {
        return None;
    }
    let query = |name: &str| request.query(name).to_owned();
    match rest {
        [] => Some(Asked::Repo),
        ["repository", "files", path, "raw"] => Some(Asked::File { commit: query("ref"), path: (*path).to_owned() }),
        ["repository", "branches", name] => Some(Asked::Head(format!("refs/heads/{name}"))),
        ["repository", "tags", name] => Some(Asked::Head(format!("refs/tags/{name}"))),
        ["repository", "commits", commit] => Some(Asked::Commit((*commit).to_owned())),
        ["repository", "compare"] if request.query("straight") == "true" => {
            Some(Asked::Compare { before: query("from"), after: query("to") })
        }
        ["merge_requests", number, "diffs"] => number.parse().ok().map(Asked::Change),
        ["members", "all", number] => number.parse::<usize>().ok()?.checked_sub(1).map(Asked::Member),
        _ => None,
    }
}

pub(super) fn shown(found: &Found) -> Reply {
    let json = |body: Value| Reply::Json(200, body);
    match found {
        // Commit, branch and tag have the id at different places.
        Found::Commit { id, message } => json(json!({ "id": id, "message": message, "commit": { "id": id } })),
        Found::Text(text) => Reply::Text(text.clone()),
        Found::Compared(files) => json(json!({ "diffs": listed(files), "compare_timeout": files.cut })),
        Found::Files(files) => json(json!(listed(files))),
        Found::Right(may) => json(json!({ "access_level": if *may { 30 } else { 20 }, "state": "active" })),
        Found::User { number, login } => json(json!([{ "id": number + 1, "username": login }])),
        Found::Repo { path } => json(json!({
            "id": 4861503, "path_with_namespace": path, "default_branch": "main", "visibility": "private",
            "http_url_to_repo": format!("https://elsewhere.invalid/{path}.git"),
        })),
        Found::Writers(_) | Found::Checks(_) | Found::Absent => {
            Reply::Json(404, json!({ "message": "404 File Not Found" }))
        }
    }
}

pub(super) fn took(status: &Status) -> Reply {
    let fields = &status.fields;
    let body = json!({
        "id": 1, "sha": status.commit, "ref": fields["ref"], "status": fields["state"], "name": fields["name"],
        "description": fields["description"], "target_url": fields["target_url"], "pipeline_id": 4711,
        "created_at": "2026-01-01T00:00:00Z",
    });
    Reply::Json(201, body)
}

/// How it refuses a state that stands there already.
pub(super) fn repeated(state: &str) -> Reply {
    let event = if state == "pending" { "enqueue" } else { "run" };
    Reply::Json(400, json!({ "message": format!("Cannot transition status via :{event} from :{state}") }))
}

fn listed(files: &Files) -> Vec<Value> {
    files.paths.iter().map(|path| json!({ "old_path": path, "new_path": path, "diff": "@@" })).collect()
}
