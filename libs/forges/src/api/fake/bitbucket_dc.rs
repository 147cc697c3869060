//! Bitbucket Data Center.

use serde_json::json;

use super::{Reply, Request, Said, State};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["rest", segments @ ..] = segments else { return None };
    if let ("POST", ["build-status", "1.0", "commits", commit]) = (request.method.as_str(), segments) {
        return said(state, request, commit);
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
        ("GET", ["commits", commit]) => {
            Some(if state.has(commit) { Reply::Json(200, json!({"id": commit})) } else { missing("No such commit.") })
        }
        ("GET", ["commits"]) if request.query("limit") == "1" => Some(match state.refs.get(request.query("until")) {
            Some(commit) => Reply::Json(200, json!({"values": [{"id": commit}], "size": 1, "isLastPage": false})),
            None => missing("No such commit."),
        }),
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

fn missing(message: &str) -> Reply {
    Reply::Json(404, json!({"errors": [{"context": null, "message": message, "exceptionName": "…"}]}))
}
