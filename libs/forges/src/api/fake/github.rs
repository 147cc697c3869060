//! GitHub.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Listing, Moved, Reply, Request, Right, State, page_of};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["api", "v3", segments @ ..] = segments else { return None };
    match (request.method.as_str(), segments) {
        ("GET", ["user", "repos"]) if [request.query("sort"), request.query("direction")] == ["pushed", "desc"] => {
            return Some(listed(&state.listed, request, repo_json));
        }
        ("GET", ["repositories", id]) => return Some(state.by_id(id).map_or_else(missing, one)),
        ("GET", ["repos", owner, repo]) => {
            return Some(state.listing(&format!("{owner}/{repo}")).map_or_else(missing, one));
        }
        _ => {}
    }
    let ["repos", owner, repo, rest @ ..] = segments else { return None };
    if [*owner, *repo] != ["acme", "widget"] {
        return Some(missing());
    }
    match (request.method.as_str(), rest) {
        ("GET", ["git", "commits", commit]) if state.has(commit) => {
            Some(Reply::Json(200, json!({"sha": commit, "message": state.message(commit)})))
        }
        ("GET", ["git", "commits", _]) => Some(missing()),
        ("GET", ["compare", both]) => Some(match both.split_once("...") {
            Some((before, after)) if state.has(before) && state.has(after) => {
                let files: Vec<Value> = state.changed.iter().take(300).map(file).collect();
                let base = json!({"sha": state.base(before)});
                Reply::Json(200, json!({"merge_base_commit": base, "commits": [], "files": files}))
            }
            _ => missing(),
        }),
        ("GET", ["pulls", "7", "files"]) => Some(listed(&state.changed, request, file)),
        ("GET", ["pulls", _, "files"]) => Some(missing()),
        ("GET", ["collaborators", login, "permission"]) => {
            // The permission has three words; the role has more.
            let word = match state.right(login) {
                Some(Right::Admin) => "admin",
                Some(Right::Write) => "write",
                Some(Right::Read) => "read",
                None => return Some(missing()),
            };
            Some(Reply::Json(200, json!({"permission": word, "role_name": "maintain", "user": {"login": login}})))
        }
        (_, ["keys", rest @ ..]) => super::keys::reply(ForgeKind::Github, state, request, rest),
        (_, ["hooks", rest @ ..]) => super::hooks::reply(ForgeKind::Github, state, request, rest),
        _ => None,
    }
}

fn one(listing: &Listing) -> Reply {
    Reply::Json(200, repo_json(listing))
}

fn repo_json(listing: &Listing) -> Value {
    let page = format!("https://github.test/{}", listing.path);
    json!({
        "id": listing.id, "full_name": listing.path, "private": listing.private, "html_url": page,
        "clone_url": format!("{page}.git"), "default_branch": listing.branch, "owner": null
    })
}

fn file(moved: &Moved) -> Value {
    json!({"filename": moved.name(), "previous_filename": moved.renamed(), "status": moved.status(), "patch": "@@"})
}

pub(super) fn listed<T>(all: &[T], request: &Request, entry: impl Fn(&T) -> Value) -> Reply {
    let (found, more) = page_of(all, request.query("page"), request.query("per_page"));
    Reply::Linked(found.iter().map(entry).collect(), more)
}

pub(super) fn missing() -> Reply {
    Reply::Json(404, json!({"message": "Not Found", "documentation_url": "…"}))
}
