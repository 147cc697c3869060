//! gitee.com, as its reference describes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;

use super::{Listing, Moved, Reply, Request, Right, Said, State, page_of};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let ["api", "v5", segments @ ..] = segments else { return None };
    match (request.method.as_str(), segments) {
        ("GET", ["user", "repos"]) if [request.query("sort"), request.query("direction")] == ["pushed", "desc"] => {
            let found: Vec<&Listing> =
                state.listed.iter().filter(|listing| listing.named(request.query("q"))).collect();
            return Some(listed(&found, request, |listing| repo_json(listing)));
        }
        ("GET", ["repos", owner, repo]) => {
            let found = state.listing(&format!("{owner}/{repo}"));
            return Some(found.map_or_else(missing, |listing| Reply::Json(200, repo_json(listing))));
        }
        _ => {}
    }
    let ["repos", owner, repo, rest @ ..] = segments else { return None };
    if [*owner, *repo] != ["acme", "widget"] {
        return Some(missing());
    }
    match (request.method.as_str(), rest) {
        ("GET", ["commits", commit, "check-runs"]) if !state.has(commit) => Some(missing()),
        ("GET", ["commits", commit, "check-runs"]) => Some(Reply::Json(200, runs(state, commit))),
        ("POST", ["check-runs"]) => {
            let commit = request.text("/head_sha")?;
            let said = said(request, &commit)?;
            // A second run of one name would show two results.
            if id_of(state, &commit, &said.key).is_some() {
                return None;
            }
            state.said.push(said);
            Some(Reply::Json(201, json!({"id": state.said.len()})))
        }
        ("PATCH", ["check-runs", id]) => {
            let commit = request.text("/head_sha")?;
            let said = said(request, &commit)?;
            if id_of(state, &commit, &said.key).map(|id| id.to_string()).as_deref() != Some(id) {
                return None;
            }
            state.said.push(said);
            Some(Reply::Json(200, json!({"id": id})))
        }
        ("GET", ["contents", path @ ..]) => Some(contents(state, request.query("ref"), &path.join("/"))),
        ("GET", ["branches", name]) => Some(match state.refs.get(&format!("refs/heads/{name}")) {
            Some(commit) => Reply::Json(200, json!({"name": name, "commit": {"sha": commit}})),
            None => missing(),
        }),
        ("GET", ["commits", revision]) => {
            let known = state.refs.get(&format!("refs/tags/{revision}"));
            let known = known.or_else(|| state.commits.iter().find(|commit| commit == revision));
            Some(known.map_or_else(missing, |commit| {
                Reply::Json(200, json!({"sha": commit, "commit": {"message": state.message(commit)}}))
            }))
        }
        ("GET", ["compare", both]) => Some(match both.split_once("...") {
            Some((before, after)) if state.has(before) && state.has(after) => {
                let file = |moved: &Moved| json!({"filename": moved.name(), "patch": "@@", "previous_filename": moved.renamed()});
                let files: Vec<Value> = state.changed.iter().take(300).map(file).collect();
                Reply::Json(200, json!({"merge_base_commit": {"sha": state.base(before)}, "files": files}))
            }
            _ => missing(),
        }),
        ("GET", ["pulls", "7", "files"]) => Some(listed(&state.changed, request, |moved| {
            let names = json!({"diff": "@@", "old_path": moved.old, "new_path": moved.new});
            json!({"sha": "…", "filename": moved.name(), "status": null, "patch": names})
        })),
        ("GET", ["pulls", _, "files"]) => Some(missing()),
        ("GET", ["collaborators", login, "permission"]) => Some(match state.right(login) {
            Some(Right::Admin) => Reply::Json(200, json!({"login": login, "permission": "admin"})),
            Some(Right::Write) => Reply::Json(200, json!({"login": login, "permission": "write"})),
            Some(Right::Read) => Reply::Json(200, json!({"login": login, "permission": "read"})),
            None => missing(),
        }),
        (_, ["keys", rest @ ..]) => super::keys::reply(ForgeKind::Gitee, state, request, rest),
        (_, ["hooks", rest @ ..]) => super::hooks::reply(ForgeKind::Gitee, state, request, rest),
        _ => None,
    }
}

fn repo_json(listing: &Listing) -> Value {
    json!({
        "id": listing.id, "full_name": listing.path, "private": listing.private, "default_branch": listing.branch,
        "html_url": format!("https://gitee.test/{}.git", listing.path), "ssh_url": "git@gitee.test:x"
    })
}

pub(super) fn listed<T>(all: &[T], request: &Request, entry: impl Fn(&T) -> Value) -> Reply {
    let (found, _) = page_of(all, request.query("page"), request.query("per_page"));
    Reply::Json(200, found.iter().map(entry).collect())
}

/// The check runs of a commit, one for each name: its id is the place of the first that was said of it.
fn runs(state: &State, commit: &str) -> Value {
    let mut names: Vec<&str> = state.said.iter().filter(|said| said.commit == commit).map(|said| &*said.key).collect();
    names.sort_unstable();
    names.dedup();
    let run = |name: &&str| json!({"id": id_of(state, commit, name), "name": name});
    json!({"total_count": names.len(), "check_runs": names.iter().map(run).collect::<Vec<_>>()})
}

fn id_of(state: &State, commit: &str, name: &str) -> Option<usize> {
    state.said.iter().position(|said| said.commit == commit && said.key == name).map(|place| place + 1)
}

fn said(request: &Request, commit: &str) -> Option<Said> {
    let status = request.text("/status")?;
    let conclusion = request.body.get("conclusion").and_then(Value::as_str);
    let state = match (status.as_str(), conclusion) {
        ("queued" | "in_progress", None) => status,
        ("completed", Some(conclusion)) => format!("completed/{conclusion}"),
        _ => return None,
    };
    Some(Said {
        commit: commit.to_owned(),
        key: request.text("/name")?,
        name: Some(request.text("/output/title")?),
        state,
        description: request.text("/output/summary")?,
        url: request.text("/details_url").unwrap_or_default(),
        refname: None,
    })
}

fn contents(state: &State, commit: &str, path: &str) -> Reply {
    match state.file(commit, path) {
        Some(text) => {
            let digits = STANDARD.encode(text);
            let (head, tail) = digits.split_at(4);
            Reply::Json(200, json!({"type": "file", "encoding": "base64", "content": format!("{head}\n{tail}\n")}))
        }
        None if state.is_directory(commit, path) => Reply::Json(200, json!([{"type": "file"}])),
        None => Reply::Json(200, json!([])),
    }
}

pub(super) fn missing() -> Reply {
    Reply::Json(404, json!({"message": "Not Found Project"}))
}
