//! Bitbucket Data Center.

use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Listing, Reply, Request, Right, Said, State};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["rest", segments @ ..] = segments else { return None };
    if let ("POST", ["build-status", "1.0", "commits", commit]) = (request.method.as_str(), segments) {
        return said(state, request, commit);
    }
    if let ("GET", ["api", "1.0", "users"]) = (request.method.as_str(), segments) {
        return users(state, request);
    }
    match (request.method.as_str(), segments) {
        ("GET", ["api", "1.0", "repos"]) => {
            let found: Vec<&Listing> =
                state.listed.iter().filter(|listing| listing.named(request.query("name"))).collect();
            return Some(listed(&found, request, |listing| repo_json(listing)));
        }
        ("GET", ["api", "1.0", "projects", key, "repos", slug]) => {
            let found = state.listing(&format!("{key}/{slug}")).map(|listing| Reply::Json(200, repo_json(listing)));
            return Some(found.unwrap_or_else(|| missing("Repository does not exist.")));
        }
        ("GET", ["api", "1.0", "projects", key, "repos", slug, "default-branch"]) => {
            let branch = state.listing(&format!("{key}/{slug}"))?.branch.as_ref();
            return Some(branch.map_or_else(
                || missing("No default branch is defined."),
                |name| Reply::Json(200, json!({"id": format!("refs/heads/{name}"), "displayId": name})),
            ));
        }
        _ => {}
    }
    if let ["keys", "1.0", "projects", key, "repos", slug, "ssh", rest @ ..] = segments {
        let ours = [*key, *slug] == ["~acme", "widget"];
        return if ours {
            super::keys::reply(ForgeKind::BitbucketDc, state, request, rest)
        } else {
            Some(missing("Repository does not exist."))
        };
    }
    let ["api", "1.0", "projects", key, "repos", slug, rest @ ..] = segments else { return None };
    if [*key, *slug] != ["~acme", "widget"] {
        return Some(missing("Repository does not exist."));
    }
    match (request.method.as_str(), rest) {
        ("GET", ["raw", path @ ..]) => Some(match state.file(request.query("at"), &path.join("/")) {
            Some(text) => Reply::Text(text.clone()),
            None => missing("The path does not exist at this revision."),
        }),
        ("GET", ["commits", commit]) => Some(if state.has(commit) {
            Reply::Json(200, json!({"id": commit, "message": state.message(commit)}))
        } else {
            missing("No such commit.")
        }),
        ("GET", ["commits"]) if request.query("limit") == "1" => Some(match state.refs.get(request.query("until")) {
            Some(commit) => Reply::Json(200, json!({"values": [{"id": commit}], "size": 1, "isLastPage": false})),
            None => missing("No such commit."),
        }),
        ("GET", ["changes"]) if !state.has(request.query("since")) || !state.has(request.query("until")) => {
            Some(missing("No such commit."))
        }
        ("GET", ["changes"]) | ("GET", ["pull-requests", "7", "changes"]) => {
            Some(listed(&state.changed, request, |moved| {
                let path = |name: &str| json!({"components": [], "name": name, "toString": name});
                json!({"path": path(moved.name()), "srcPath": moved.renamed().map(path), "type": "MODIFY"})
            }))
        }
        ("GET", ["pull-requests", _, "changes"]) => Some(missing("No such pull request.")),
        (_, ["webhooks", rest @ ..]) => super::hooks::reply(ForgeKind::BitbucketDc, state, request, rest),
        _ => None,
    }
}

fn repo_json(listing: &Listing) -> Value {
    let (key, slug) = listing.path.split_once('/').expect("two names");
    let clone = format!("https://somebody@bitbucket.test/scm/{key}/{slug}.git");
    json!({
        "id": listing.id, "slug": slug, "name": slug, "project": {"key": key}, "public": !listing.private,
        "links": {
            "clone": [{"name": "http", "href": clone}, {"name": "ssh", "href": "ssh://git@bitbucket.test:7999/x"}],
            "self": [{"href": format!("https://bitbucket.test/projects/{key}/repos/{slug}/browse")}]
        }
    })
}

/// Everybody whose name has the filter in it and who may write to the repository.
fn users(state: &State, request: &Request) -> Option<Reply> {
    let asked = ["permission", "permission.projectKey", "permission.repositorySlug"].map(|name| request.query(name));
    if asked != ["REPO_WRITE", "~acme", "widget"] {
        return Some(missing("Repository does not exist."));
    }
    let found =
        state.people.iter().filter(|(name, right)| *right != Right::Read && name.contains(request.query("filter")));
    let found: Vec<&str> = found.map(|(name, _)| name.as_str()).collect();
    Some(listed(&found, request, |name| json!({"name": name, "active": true, "slug": name})))
}

pub(super) fn listed<T>(all: &[T], request: &Request, entry: impl Fn(&T) -> Value) -> Reply {
    let number = |name| request.query(name).parse::<usize>().expect("a number");
    let (start, limit) = (number("start"), number("limit"));
    let found: Vec<Value> = all.iter().skip(start).take(limit).map(entry).collect();
    let last = start + limit >= all.len();
    let next = if last { Value::Null } else { json!(start + limit) };
    Reply::Json(200, json!({"values": found, "isLastPage": last, "nextPageStart": next, "start": start}))
}

fn said(state: &mut State, request: &Request, commit: &str) -> Option<Reply> {
    let said = Said {
        commit: commit.to_owned(),
        key: request.text("/key")?,
        name: Some(request.text("/name")?),
        state: request.text("/state")?,
        description: request.text("/description")?,
        url: request.text("/url")?,
        refname: None,
    };
    let short = [&said.key, &said.description].into_iter().all(|text| text.chars().count() <= 255);
    if !short || said.url.len() > 450 || !["INPROGRESS", "SUCCESSFUL", "FAILED"].contains(&said.state.as_str()) {
        return Some(Reply::Json(400, json!({"errors": [{"message": "Bad request"}]})));
    }
    if !state.has(commit) {
        return Some(missing("No such commit."));
    }
    state.said.push(said);
    Some(Reply::Text(String::new()))
}

pub(super) fn missing(message: &str) -> Reply {
    Reply::Json(404, json!({"errors": [{"context": null, "message": message, "exceptionName": "…"}]}))
}
