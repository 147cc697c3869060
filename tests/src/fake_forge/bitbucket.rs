//! Bitbucket Cloud's API, version 2.0.

use serde_json::{Value, json};

use super::question::{Asked, Found, Reply};
use super::request::Request;
use super::status::Status;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let path = request.path();
    let rest = match path.as_slice() {
        ["2.0", "repositories", "{}", _] if request.is_get() => return Some(Asked::RepoById),
        ["2.0", "repositories", workspace, slug, rest @ ..] if format!("{workspace}/{slug}") == repo => rest,
        _ => return None,
    };
    if let ["commit", commit, "statuses", "build"] = rest
        && request.method == "POST"
    {
        return Some(Asked::Status(Status {
            commit: (*commit).to_owned(),
            state: request.text("state"),
            context: request.text("key"),
            name: request.text("name"),
            description: request.text("description"),
            url: request.text("url"),
            check: None,
            fields: request.fields.clone(),
        }));
    }
    if !request.is_get() {
        return None;
    }
    match rest {
        [] => Some(Asked::Repo),
        ["src", commit, path @ ..] => Some(Asked::File { commit: (*commit).to_owned(), path: path.join("/") }),
        ["commit", revision] => Some(Asked::Commit((*revision).to_owned())),
        ["refs", "branches", name @ ..] => Some(Asked::Head(format!("refs/heads/{}", name.join("/")))),
        ["refs", "tags", name @ ..] => Some(Asked::Head(format!("refs/tags/{}", name.join("/")))),
        // Destination and source are the other way round here.
        ["diffstat", both] if request.query("topic") == "false" => {
            let (after, before) = both.split_once("..")?;
            Some(Asked::Compare { before: before.to_owned(), after: after.to_owned() })
        }
        ["pullrequests", number, "diffstat"] => number.parse().ok().map(Asked::Change),
        _ => None,
    }
}

pub(super) fn shown(found: &Found) -> Reply {
    let json = |body: Value| Reply::Json(200, body);
    match found {
        Found::Commit { id, message } => {
            json(json!({ "type": "commit", "hash": id, "message": message, "target": { "hash": id } }))
        }
        Found::Text(text) => Reply::Text(text.clone()),
        Found::Compared(files) | Found::Files(files) => {
            let file = |path: &String| json!({ "path": path, "type": "commit_file" });
            let entry = |path: &String| json!({ "status": "modified", "old": file(path), "new": file(path) });
            let listed: Vec<Value> = files.paths.iter().map(entry).collect();
            // There is always another page of a list that has no end.
            let next = files.cut.then_some("https://elsewhere.invalid/2.0/x?pagelen=100&page=2");
            json(json!({ "pagelen": 100, "page": 1, "values": listed, "next": next }))
        }
        Found::Repo { path } => json(json!({
            "uuid": "{bc771cbf-829e-4c4b-b71f-a0eb3ac2b860}", "full_name": path, "is_private": true,
            "mainbranch": { "name": "main", "type": "branch" },
            "links": {
                "html": { "href": format!("https://elsewhere.invalid/{path}") },
                "clone": [{ "name": "https", "href": format!("https://elsewhere.invalid/{path}.git") }],
            },
        })),
        Found::Right(_) | Found::User { .. } | Found::Writers(_) | Found::Checks(_) | Found::Absent => {
            Reply::Json(404, json!({ "type": "error", "error": { "message": "No such thing" } }))
        }
    }
}
