//! Bitbucket Data Center's API.

use serde_json::{Value, json};

use super::question::{Asked, Found, Reply};
use super::request::Request;
use super::status::Status;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let path = request.path();
    let rest = match path.as_slice() {
        ["rest", "build-status", "1.0", "commits", commit] if request.method == "POST" => {
            return Some(Asked::Status(status(request, commit)));
        }
        ["rest", "api", "1.0", "users"] if request.is_get() => return writers(request, repo),
        ["rest", "api", "1.0", "projects", key, "repos", slug, rest @ ..] if format!("{key}/{slug}") == repo => rest,
        _ => return None,
    };
    if !request.is_get() {
        return None;
    }
    let query = |name: &str| request.query(name).to_owned();
    match rest {
        // The default branch is asked for apart; one answer has both.
        [] | ["default-branch"] => Some(Asked::Repo),
        ["raw", path @ ..] => Some(Asked::File { commit: query("at"), path: path.join("/") }),
        ["commits", commit] => Some(Asked::Commit((*commit).to_owned())),
        ["commits"] if request.query("limit") == "1" => Some(Asked::Head(query("until"))),
        ["changes"] => Some(Asked::Compare { before: query("since"), after: query("until") }),
        ["pull-requests", number, "changes"] => number.parse().ok().map(Asked::Change),
        _ => None,
    }
}

fn status(request: &Request, commit: &str) -> Status {
    Status {
        commit: commit.to_owned(),
        state: request.text("state"),
        context: request.text("key"),
        name: request.text("name"),
        description: request.text("description"),
        url: request.text("url"),
        check: None,
        fields: request.fields.clone(),
    }
}

fn writers(request: &Request, repo: &str) -> Option<Asked> {
    let place = format!("{}/{}", request.query("permission.projectKey"), request.query("permission.repositorySlug"));
    let is_ours = request.query("permission") == "REPO_WRITE" && place == repo;
    is_ours.then(|| Asked::Writers(request.query("filter").to_owned()))
}

pub(super) fn shown(found: &Found) -> Reply {
    match found {
        // A commit alone, and the newest of a list.
        Found::Commit { id, message } => {
            let commit = json!({ "id": id, "message": message });
            Reply::Json(200, json!({ "id": id, "message": message, "values": [commit], "isLastPage": false }))
        }
        Found::Text(text) => Reply::Text(text.clone()),
        Found::Compared(files) | Found::Files(files) => {
            let path = |path: &String| json!({ "components": [], "name": path, "toString": path });
            let listed: Vec<Value> =
                files.paths.iter().map(|name| json!({ "path": path(name), "type": "MODIFY" })).collect();
            page(&listed, !files.cut)
        }
        Found::Writers(names) => {
            let person = |name: &String| json!({ "name": name, "active": true, "slug": name });
            page(&names.iter().map(person).collect::<Vec<_>>(), true)
        }
        Found::Repo { path } => {
            let (key, slug) = path.split_once('/').unwrap_or_default();
            let clone = format!("https://elsewhere.invalid/scm/{path}.git");
            Reply::Json(
                200,
                json!({
                    "id": 84, "slug": slug, "project": { "key": key }, "public": false, "displayId": "main",
                    "links": { "clone": [{ "name": "http", "href": clone }], "self": [] },
                }),
            )
        }
        Found::Right(_) | Found::User { .. } | Found::Checks(_) | Found::Absent => {
            Reply::Json(404, json!({ "errors": [{ "message": "No such thing." }] }))
        }
    }
}

fn page(values: &[Value], is_last: bool) -> Reply {
    Reply::Json(200, json!({ "values": values, "isLastPage": is_last, "nextPageStart": null, "start": 0 }))
}
