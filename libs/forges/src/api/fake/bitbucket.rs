//! Bitbucket Cloud.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Listing, Moved, Reply, Request, Said, State, page_of};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    match (request.method.as_str(), segments) {
        ("GET", ["2.0", "user", "workspaces"]) => {
            let slugs: Vec<&str> = vec!["zeta", "acme"];
            return Some(listed(&slugs, request, |slug| json!({"administrator": true, "workspace": {"slug": slug}})));
        }
        ("GET", ["2.0", "repositories", workspace]) => return in_workspace(state, request, workspace),
        ("GET", ["2.0", "repositories", "{}", uuid]) => {
            let found = state.listed.iter().find(|listing| uuid_of(listing) == *uuid);
            return Some(found.map_or_else(|| missing("Repository not found"), one));
        }
        ("GET", ["2.0", "repositories", owner, repo]) => {
            let found = state.listing(&format!("{owner}/{repo}"));
            return Some(found.map_or_else(|| missing("Repository not found"), one));
        }
        _ => {}
    }
    let ["2.0", "repositories", owner, repo, rest @ ..] = segments else { return None };
    if [*owner, *repo] != ["acme", "widget"] {
        return Some(missing("Repository not found"));
    }
    match (request.method.as_str(), rest) {
        ("POST", ["commit", commit, "statuses", "build"]) => said(state, request, commit),
        ("GET", ["commit", revision]) => Some(match state.full(revision) {
            Some(commit) => {
                Reply::Json(200, json!({"type": "commit", "hash": commit, "message": state.message(commit)}))
            }
            None => missing("Commit not found"),
        }),
        ("GET", ["diffstat", both]) if request.query("topic") == "false" => match both.split_once("..") {
            Some((after, before)) if state.has(after) && state.has(before) => Some(diffstat(state, request)),
            _ => Some(missing("Commit not found")),
        },
        // The number of a page is lost in the redirect.
        ("GET", ["pullrequests", "7", "diffstat"]) => {
            Some(Reply::Moved("/2.0/repositories/acme/widget/diffstat/acme/widget:of7?pagelen=100".to_owned()))
        }
        ("GET", ["pullrequests", _, "diffstat"]) => Some(missing("No such pull request")),
        ("GET", ["diffstat", "acme", "widget:of7"]) => Some(diffstat(state, request)),
        ("GET", ["src", commit, path @ ..]) => {
            let path = path.join("/");
            Some(match state.file(commit, &path) {
                Some(text) => Reply::Text(text.clone()),
                None if state.is_directory(commit, &path) => {
                    Reply::Json(200, json!({"pagelen": 10, "page": 1, "values": [{"type": "commit_file"}]}))
                }
                None => missing("No such file or directory"),
            })
        }
        ("GET", ["refs", "branches", name @ ..]) => Some(head(state, &format!("refs/heads/{}", name.join("/")))),
        ("GET", ["refs", "tags", name @ ..]) => Some(head(state, &format!("refs/tags/{}", name.join("/")))),
        (_, ["deploy-keys", rest @ ..]) => super::keys::reply(ForgeKind::Bitbucket, state, request, rest),
        (_, ["hooks", rest @ ..]) => super::hooks::reply(ForgeKind::Bitbucket, state, request, rest),
        _ => None,
    }
}

fn in_workspace(state: &State, request: &Request, workspace: &str) -> Option<Reply> {
    if request.query("sort") != "-updated_on" {
        return None;
    }
    // `name ~ "…"`
    let asked = request.query("q").trim_start_matches("name ~ ").trim_matches('"').replace("\\\"", "\"");
    let mine = state.listed.iter().filter(|listing| listing.path.split('/').next() == Some(workspace));
    let found: Vec<&Listing> = mine.filter(|listing| listing.named(&asked)).collect();
    Some(listed(&found, request, |listing| repo_json(listing)))
}

fn uuid_of(listing: &Listing) -> String {
    format!("{{00000000-0000-0000-0000-{:012}}}", listing.id)
}

fn one(listing: &Listing) -> Reply {
    Reply::Json(200, repo_json(listing))
}

fn repo_json(listing: &Listing) -> Value {
    let page = format!("https://bitbucket.test/{}", listing.path);
    let https = format!("https://somebody@bitbucket.test/{}.git", listing.path);
    json!({
        "uuid": uuid_of(listing), "full_name": listing.path, "is_private": listing.private,
        "mainbranch": listing.branch.as_ref().map(|name| json!({"name": name, "type": "branch"})),
        "links": {"html": {"href": page}, "clone": [{"name": "ssh", "href": "git@x"}, {"name": "https", "href": https}]}
    })
}

fn diffstat(state: &State, request: &Request) -> Reply {
    let file = |name: &Option<String>| name.as_ref().map(|path| json!({"path": path, "type": "commit_file"}));
    let entry = |moved: &Moved| json!({"status": moved.status(), "old": file(&moved.old), "new": file(&moved.new)});
    listed(&state.changed, request, entry)
}

/// A page of a list; `next` names another host.
pub(super) fn listed<T>(all: &[T], request: &Request, entry: impl Fn(&T) -> Value) -> Reply {
    let page = request.query.get("page").map_or("1", String::as_str);
    let (found, more) = page_of(all, page, request.query("pagelen"));
    let number: usize = page.parse().expect("a number");
    let mut body = json!({"pagelen": 100, "page": number, "values": found.iter().map(entry).collect::<Vec<_>>()});
    if more {
        body["next"] = format!("https://elsewhere.invalid/2.0/x?pagelen=100&page={}", number + 1).into();
    }
    Reply::Json(200, body)
}

fn said(state: &mut State, request: &Request, commit: &str) -> Option<Reply> {
    let said = Said {
        commit: commit.to_owned(),
        key: request.text("/key")?,
        name: Some(request.text("/name")?),
        state: request.text("/state")?,
        description: request.text("/description")?,
        url: request.text("/url")?,
        refname: request.body.get("refname").and_then(Value::as_str).map(str::to_owned),
    };
    if !state.has(commit) {
        return Some(missing("Commit not found"));
    }
    let known = ["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"].contains(&said.state.as_str());
    if said.key.len() > 40 || !known {
        return Some(Reply::Json(400, json!({"type": "error", "error": {"message": "Bad request"}})));
    }
    state.said.push(said);
    Some(Reply::Json(201, json!({"type": "build"})))
}

fn head(state: &State, full: &str) -> Reply {
    match state.refs.get(full) {
        Some(commit) => Reply::Json(200, json!({"name": full, "target": {"hash": commit, "type": "commit"}})),
        None => missing("Branch not found"),
    }
}

pub(super) fn missing(message: &str) -> Reply {
    Reply::Json(404, json!({"type": "error", "error": {"message": message}}))
}
