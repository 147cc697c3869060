//! The API of Gitea and Forgejo, version 1.

use serde_json::{Value, json};

use super::question::{Asked, Files, Found, Reply};
use super::request::Request;
use super::status::Status;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let path = request.path();
    let rest = match path.as_slice() {
        ["api", "v1", "repositories", _] if request.is_get() => return Some(Asked::RepoById),
        ["api", "v1", "repos", owner, name, rest @ ..] if format!("{owner}/{name}") == repo => rest,
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
        ["raw", path @ ..] => Some(Asked::File { commit: request.query("ref").to_owned(), path: path.join("/") }),
        ["git", "commits", commit] => Some(Asked::Commit((*commit).to_owned())),
        ["branches", name @ ..] => Some(Asked::Head(format!("refs/heads/{}", name.join("/")))),
        ["tags", name @ ..] => Some(Asked::Head(format!("refs/tags/{}", name.join("/")))),
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
        // Commit, branch and tag have the id at different places.
        Found::Commit { id, message } => {
            json(json!({ "sha": id, "commit": { "id": id, "sha": id, "message": message } }))
        }
        Found::Text(text) => Reply::Text(text.clone()),
        Found::Compared(files) => {
            // Commits of the second that the first has not, each with its files.
            let commits = if files.ahead { vec![json!({ "sha": "…", "files": listed(files) })] } else { Vec::new() };
            json(json!({ "total_commits": commits.len() + usize::from(files.cut), "commits": commits }))
        }
        Found::Files(files) => json(json!(listed(files))),
        Found::Right(may) => json(json!({ "permission": if *may { "write" } else { "read" } })),
        Found::Repo { path } => json(json!({
            "id": 6589, "full_name": path, "private": false, "default_branch": "main",
            "html_url": format!("https://elsewhere.invalid/{path}"),
            "clone_url": format!("https://elsewhere.invalid/{path}.git"),
        })),
        Found::User { .. } | Found::Writers(_) | Found::Checks(_) | Found::Absent => {
            Reply::Json(404, json!({ "errors": [], "message": "The target couldn't be found.", "url": "…" }))
        }
    }
}

fn listed(files: &Files) -> Vec<Value> {
    files.paths.iter().map(|path| json!({ "filename": path, "status": "changed" })).collect()
}
