//! Gitea and Forgejo.

use serde_json::{Value, json};

use super::{Reply, Request, Said, State};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["api", "v1", "repos", owner, repo, rest @ ..] = segments else { return None };
    if [*owner, *repo] != ["acme", "widget"] {
        return Some(missing());
    }
    match (request.method.as_str(), rest) {
        ("POST", ["statuses", commit]) => said(state, request, commit),
        ("GET", ["raw", path @ ..]) => Some(match state.file(request.query("ref"), &path.join("/")) {
            Some(text) => Reply::Text(text.clone()),
            None => missing(),
        }),
        ("GET", ["git", "commits", commit]) => {
            Some(if state.has(commit) { Reply::Json(200, json!({"sha": commit})) } else { missing() })
        }
        ("GET", ["branches", name @ ..]) => Some(match state.refs.get(&format!("refs/heads/{}", name.join("/"))) {
            Some(commit) => Reply::Json(200, json!({"name": name, "commit": {"id": commit}})),
            None => missing(),
        }),
        // An annotated tag's own id is not its commit's.
        ("GET", ["tags", name @ ..]) => Some(match state.refs.get(&format!("refs/tags/{}", name.join("/"))) {
            Some(commit) => Reply::Json(200, json!({"id": "0".repeat(40), "commit": {"sha": commit}})),
            None => missing(),
        }),
        _ => None,
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

fn missing() -> Reply {
    Reply::Json(404, json!({"errors": [], "message": "The target couldn't be found.", "url": "…/swagger"}))
}
