//! CODING's Open API, as public clients of it describe it.

use serde_json::{Value, json};

use super::{Listing, Moved, Reply, Request, Said, State, page_of};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let action = request.text("/Action")?;
    if segments != ["open-api"] || request.method != "POST" || request.query("Action") != action {
        return None;
    }
    match action.as_str() {
        "DescribeMyDepots" => {
            let number = |name: &str| request.body[name].as_u64().map(|number| number.to_string());
            let (found, _) = page_of(&state.listed, &number("PageNumber")?, &number("PageSize")?);
            let depots: Vec<Value> = found.iter().map(depot_json).collect();
            return Some(success(json!({"Payload": {"Depots": depots}})));
        }
        "DescribeGitDepot" => {
            let path = request.text("/DepotPath");
            let found = match path {
                Some(path) => state.listing(&path),
                None => state.by_id(&request.body["DepotId"].to_string()),
            };
            let missing = || failure("ResourceNotFound.DepotNotFound", "no such depot");
            return Some(found.map_or_else(missing, |listing| success(json!({"Depot": depot_json(listing)}))));
        }
        _ if action.ends_with("ServiceHook") || action.ends_with("ServiceHooks") => {
            return super::hooks::service_hook(state, request, &action);
        }
        _ => {}
    }
    if request.text("/DepotPath")? != "acme/tools/widget" {
        return Some(failure("ResourceNotFound.DepotNotFound", "no such depot"));
    }
    let missing = || failure("ResourceNotFound", "no such thing");
    Some(match action.as_str() {
        "ModifyGitCommitStatus" => {
            let said = said(request)?;
            if !state.has(&said.commit) {
                return Some(missing());
            }
            state.said.push(said);
            success(json!({}))
        }
        "DescribeGitFileContent" => match state.file(&request.text("/CommitSha")?, &request.text("/Path")?) {
            Some(text) => success(json!({"GitFileContent": {"Content": text, "IsLfs": false, "IsText": true}})),
            None => missing(),
        },
        "DescribeGitCommitInfo" => {
            let sha = request.text("/Sha")?;
            if state.has(&sha) {
                success(json!({"GitCommit": {"Sha": sha, "ShortMessage": state.message(&sha)}}))
            } else {
                missing()
            }
        }
        "DescribeGitBranch" => match state.refs.get(&format!("refs/heads/{}", request.text("/BranchName")?)) {
            Some(commit) => success(json!({"GitBranch": {"BranchName": "…", "Sha": commit}})),
            None => missing(),
        },
        "DescribeGitTag" => match state.refs.get(&format!("refs/tags/{}", request.text("/TagName")?)) {
            Some(commit) => success(json!({"GitTag": {"TagName": "…", "Commit": {"Sha": commit}}})),
            None => missing(),
        },
        "DescribeMergeRequestFileDiff" if request.body["MergeId"] == 7 => {
            let diff = |moved: &Moved| json!({"Path": moved.name(), "ChangeType": change_type(moved), "DiffLines": []});
            let diffs: Vec<Value> = state.changed.iter().map(diff).collect();
            success(json!({"MergeRequestFileDiff": {"FileDiffs": diffs}}))
        }
        "DescribeMergeRequestFileDiff" => missing(),
        _ => return None,
    })
}

fn depot_json(listing: &Listing) -> Value {
    json!({
        "Id": listing.id, "ProjectId": 77, "Name": "…", "VcsType": "git", "SshUrl": "git@e.coding.test:x",
        "HttpsUrl": format!("https://e.coding.test/{}.git", listing.path),
        "WebUrl": format!("https://acme.coding.test/{}", listing.path)
    })
}

fn change_type(moved: &Moved) -> &'static str {
    match moved.status() {
        "added" => "ADD",
        "removed" => "DELETE",
        "modified" => "MODIFY",
        _ => "RENAME",
    }
}

fn said(request: &Request) -> Option<Said> {
    Some(Said {
        commit: request.text("/CommitSha")?,
        key: request.text("/Context")?,
        name: None,
        state: request.text("/State")?,
        description: request.text("/Description")?,
        url: request.text("/TargetURL")?,
        refname: None,
    })
}

pub(super) fn success(mut response: Value) -> Reply {
    response["RequestId"] = "2cc95576".into();
    Reply::Json(200, json!({"Response": response}))
}

pub(super) fn failure(code: &str, message: &str) -> Reply {
    Reply::Json(200, json!({"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "2cc95576"}}))
}
