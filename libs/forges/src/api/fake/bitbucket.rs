//! Bitbucket Cloud.

use serde_json::{Value, json};

use super::{Reply, Request, Said, State};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["2.0", "repositories", owner, repo, rest @ ..] = segments else { return None };
    if [*owner, *repo] != ["acme", "widget"] {
        return Some(missing("Repository not found"));
    }
    match (request.method.as_str(), rest) {
        ("POST", ["commit", commit, "statuses", "build"]) => said(state, request, commit),
        ("GET", ["commit", revision]) => Some(match state.full(revision) {
            Some(commit) => Reply::Json(200, json!({"type": "commit", "hash": commit, "message": "x"})),
            None => missing("Commit not found"),
        }),
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
        _ => None,
    }
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

fn missing(message: &str) -> Reply {
    Reply::Json(404, json!({"type": "error", "error": {"message": message}}))
}
