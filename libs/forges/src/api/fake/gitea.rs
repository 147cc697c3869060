//! Gitea and Forgejo.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Listing, Reply, Request, Right, Said, State, page_of};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["api", "v1", segments @ ..] = segments else { return None };
    match (request.method.as_str(), segments) {
        ("GET", ["user"]) if state.nameless => {
            return Some(Reply::Json(403, json!({"message": "token does not have at least one of required scope(s)"})));
        }
        ("GET", ["user"]) => return Some(Reply::Json(200, json!({"id": 4, "login": "me"}))),
        ("GET", ["repos", "search"]) => {
            let uid = if state.nameless { "" } else { "4" };
            if ["sort", "order", "uid"].map(|name| request.query(name)) != ["updated", "desc", uid] {
                return None;
            }
            let found: Vec<&Listing> =
                state.listed.iter().filter(|listing| listing.named(request.query("q"))).collect();
            let Reply::Linked(data, more) = listed(&found, request, |listing| repo_json(listing)) else { return None };
            return Some(Reply::Linked(json!({"ok": true, "data": data}), more));
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
        ("POST", ["statuses", commit]) => said(state, request, commit),
        ("GET", ["raw", path @ ..]) => Some(match state.file(request.query("ref"), &path.join("/")) {
            Some(text) => Reply::Text(text.clone()),
            None => missing(),
        }),
        ("GET", ["git", "commits", commit]) => Some(if state.has(commit) {
            Reply::Json(200, json!({"sha": commit, "commit": {"message": state.message(commit)}}))
        } else {
            missing()
        }),
        ("GET", ["branches", name @ ..]) => Some(match state.refs.get(&format!("refs/heads/{}", name.join("/"))) {
            Some(commit) => Reply::Json(200, json!({"name": name, "commit": {"id": commit}})),
            None => missing(),
        }),
        // An annotated tag's own id is not its commit's.
        ("GET", ["tags", name @ ..]) => Some(match state.refs.get(&format!("refs/tags/{}", name.join("/"))) {
            Some(commit) => Reply::Json(200, json!({"id": "0".repeat(40), "commit": {"sha": commit}})),
            None => missing(),
        }),
        ("GET", ["compare", both]) if request.query("verification") == "false" => Some(compared(state, both)),
        ("GET", ["pulls", "7", "files"]) => Some(listed(
            &state.changed,
            request,
            |moved| json!({"filename": moved.name(), "previous_filename": moved.renamed(), "status": moved.status()}),
        )),
        ("GET", ["pulls", _, "files"]) => Some(missing()),
        ("GET", ["collaborators", login, "permission"]) => Some(match state.right(login) {
            Some(right) => Reply::Json(200, json!({"permission": word(right), "role_name": word(right)})),
            None => missing(),
        }),
        (_, ["keys", rest @ ..]) => super::keys::reply(ForgeKind::Gitea, state, request, rest),
        (_, ["hooks", rest @ ..]) => super::hooks::reply(ForgeKind::Gitea, state, request, rest),
        _ => None,
    }
}

fn one(listing: &Listing) -> Reply {
    Reply::Json(200, repo_json(listing))
}

fn repo_json(listing: &Listing) -> Value {
    let page = format!("https://gitea.test/{}", listing.path);
    json!({
        "id": listing.id, "full_name": listing.path, "private": listing.private, "html_url": page,
        "clone_url": format!("{page}.git"), "default_branch": listing.branch.as_deref().unwrap_or_default()
    })
}

/// Commits that are in the second and not in the first, each with its files: renamed ones under both names.
fn compared(state: &State, both: &str) -> Reply {
    let Some((base, head)) = both.split_once("...").filter(|(base, head)| state.has(base) && state.has(head)) else {
        return missing();
    };
    let forward = state.commits.iter().position(|commit| commit == base) < state.commits.iter().position(|c| c == head);
    let names: Vec<&str> = match (&state.taken, forward) {
        (_, true) => state.changed.iter().flat_map(|moved| [moved.renamed(), Some(moved.name())]).flatten().collect(),
        (Some(taken), false) => vec![taken],
        (None, false) => vec![],
    };
    let commits: Vec<Value> = names
        .chunks(2)
        .map(|names| names.iter().map(|name| json!({"filename": name, "status": "modified"})).collect::<Vec<_>>())
        .map(|files| json!({"sha": head, "files": files}))
        .collect();
    Reply::Json(200, json!({"total_commits": commits.len() + usize::from(state.overflown), "commits": commits}))
}

/// A server that gives 50 entries at once, whatever it is asked for.
pub(super) fn listed<T>(all: &[T], request: &Request, entry: impl Fn(&T) -> Value) -> Reply {
    assert!(!request.query("limit").is_empty());
    let (found, more) = page_of(all, request.query("page"), "50");
    Reply::Linked(found.iter().map(entry).collect(), more)
}

fn word(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Write => "write",
        Right::Admin => "admin",
    }
}

fn said(state: &mut State, request: &Request, commit: &str) -> Option<Reply> {
    let said = Said {
        commit: commit.to_owned(),
        key: request.text("/context")?,
        name: None,
        state: request.text("/state")?,
        description: request.text("/description")?,
        url: request.body.get("target_url").and_then(Value::as_str).unwrap_or_default().to_owned(),
        refname: None,
    };
    if !["pending", "success", "error", "failure", "warning"].contains(&said.state.as_str()) {
        return Some(Reply::Json(422, json!({"message": "invalid state"})));
    }
    if !state.has(commit) {
        return Some(missing());
    }
    state.said.push(said);
    Some(Reply::Json(201, json!({"id": state.said.len()})))
}

pub(super) fn missing() -> Reply {
    Reply::Json(404, json!({"errors": [], "message": "The target couldn't be found.", "url": "…/swagger"}))
}
