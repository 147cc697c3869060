//! CODING's Open API, as public clients of it describe it.

use serde_json::{Value, json};

use super::{Moved, Reply, Request, Said, State};

pub(super) fn reply(state: &mut State, request: &Request, segments: &[&str]) -> Option<Reply> {
    let action = request.text("/Action")?;
    if segments != ["open-api"] || request.method != "POST" || request.query("Action") != action {
        return None;
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

fn success(mut response: Value) -> Reply {
    response["RequestId"] = "2cc95576".into();
    Reply::Json(200, json!({"Response": response}))
}

pub(super) fn failure(code: &str, message: &str) -> Reply {
    Reply::Json(200, json!({"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "2cc95576"}}))
}
