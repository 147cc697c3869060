//! GitLab.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Listing, Moved, Reply, Request, Right, State, page_of};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["api", "v4", segments @ ..] = segments else { return None };
    if let ("GET", ["users"]) = (request.method.as_str(), segments) {
        let asked = request.query("username");
        let named = |(place, (name, _)): (usize, &(String, Right))| {
            name.eq_ignore_ascii_case(asked).then(|| json!({"id": place, "username": name}))
        };
        return Some(Reply::Json(200, state.people.iter().enumerate().filter_map(named).collect()));
    }
    if let ("GET", ["projects"]) = (request.method.as_str(), segments) {
        let asked = ["membership", "archived", "order_by", "sort"].map(|name| request.query(name));
        if asked != ["true", "false", "last_activity_at", "desc"] {
            return None;
        }
        let found: Vec<&Listing> =
            state.listed.iter().filter(|listing| listing.named(request.query("search"))).collect();
        return Some(listed(&found, request, |listing| project_json(listing)));
    }
    if let ("GET", ["projects", project]) = (request.method.as_str(), segments) {
        let found = state.listing(project).or_else(|| state.by_id(project)).map(project_json);
        return Some(found.map_or_else(|| missing("404 Project Not Found"), |found| Reply::Json(200, found)));
    }
    let ["projects", project, rest @ ..] = segments else { return None };
    if *project != "acme/sub/widget" {
        return Some(missing("404 Project Not Found"));
    }
    match (request.method.as_str(), rest) {
        ("GET", ["repository", "commits", commit]) if state.has(commit) => {
            Some(Reply::Json(200, json!({"id": commit, "message": state.message(commit)})))
        }
        ("GET", ["repository", "commits", _]) => Some(missing("404 Commit Not Found")),
        ("GET", ["repository", "compare"]) if request.query("straight") == "true" => {
            if !state.has(request.query("from")) || !state.has(request.query("to")) {
                return Some(missing("404 Ref Not Found"));
            }
            let diffs: Vec<Value> = state.changed.iter().map(diff).collect();
            Some(Reply::Json(200, json!({"diffs": diffs, "compare_timeout": state.overflown, "commits": []})))
        }
        ("GET", ["merge_requests", "7", "diffs"]) => Some(listed(&state.changed, request, diff)),
        ("GET", ["merge_requests", _, "diffs"]) => Some(missing("404 Not found")),
        ("GET", ["members", "all", id]) => {
            let (name, right) = state.people.get(id.parse::<usize>().expect("a number"))?;
            // A person of the instance who is no member of the project.
            if name == "elsewhere" {
                return Some(missing("404 Not found"));
            }
            let level = match right {
                Right::Read => 20,
                Right::Write => 30,
                Right::Admin => 50,
            };
            Some(Reply::Json(200, json!({"id": id, "access_level": level, "state": "active"})))
        }
        (_, ["deploy_keys", rest @ ..]) => super::keys::reply(ForgeKind::Gitlab, state, request, rest),
        (_, ["hooks", rest @ ..]) => super::hooks::reply(ForgeKind::Gitlab, state, request, rest),
        _ => None,
    }
}

fn project_json(listing: &Listing) -> Value {
    let page = format!("https://gitlab.test/{}", listing.path);
    json!({
        "id": listing.id, "path_with_namespace": listing.path, "http_url_to_repo": format!("{page}.git"),
        "web_url": page, "default_branch": listing.branch,
        "visibility": if listing.private { "internal" } else { "public" }
    })
}

/// GitLab gives both names of every file.
fn diff(moved: &Moved) -> Value {
    let old = moved.old.as_deref().unwrap_or(moved.name());
    json!({"old_path": old, "new_path": moved.name(), "diff": "@@", "renamed_file": moved.renamed().is_some()})
}

pub(super) fn listed<T>(all: &[T], request: &Request, entry: impl Fn(&T) -> Value) -> Reply {
    let (found, _) = page_of(all, request.query("page"), request.query("per_page"));
    Reply::Json(200, found.iter().map(entry).collect())
}

pub(super) fn missing(message: &str) -> Reply {
    Reply::Json(404, json!({"message": message}))
}
