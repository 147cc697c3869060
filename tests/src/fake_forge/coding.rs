//! CODING's Open API, as public clients of it describe it: one address, the action in the body.

use serde_json::{Value, json};

use super::question::{Asked, Found, Reply};
use super::request::Request;
use super::status::Status;

pub(super) fn asked(request: &Request, repo: &str) -> Option<Asked> {
    let action = request.text("Action");
    if request.path() != ["open-api"] || request.method != "POST" || request.query("Action") != action {
        return None;
    }
    if action == "DescribeGitDepot" && request.fields.get("DepotId").is_some() {
        return Some(Asked::RepoById);
    }
    if request.text("DepotPath") != repo {
        return None;
    }
    match action.as_str() {
        "ModifyGitCommitStatus" => Some(Asked::Status(Status {
            commit: request.text("CommitSha"),
            state: request.text("State"),
            context: request.text("Context"),
            name: request.text("Context"),
            description: request.text("Description"),
            url: request.text("TargetURL"),
            check: None,
            fields: request.fields.clone(),
        })),
        "DescribeGitDepot" => Some(Asked::Repo),
        "DescribeGitFileContent" => Some(Asked::File { commit: request.text("CommitSha"), path: request.text("Path") }),
        "DescribeGitCommitInfo" => Some(Asked::Commit(request.text("Sha"))),
        "DescribeGitBranch" => Some(Asked::Head(format!("refs/heads/{}", request.text("BranchName")))),
        "DescribeGitTag" => Some(Asked::Head(format!("refs/tags/{}", request.text("TagName")))),
        "DescribeMergeRequestFileDiff" => request.fields["MergeId"].as_u64().map(Asked::Change),
        _ => None,
    }
}

pub(super) fn shown(found: &Found) -> Reply {
    match found {
        // Commit, branch and tag have the id at different places.
        Found::Commit { id, message } => {
            let commit = json!({ "Sha": id, "ShortMessage": message.lines().next().unwrap_or_default() });
            success(json!({ "GitCommit": commit, "GitBranch": commit, "GitTag": { "Commit": commit } }))
        }
        Found::Text(text) => success(json!({ "GitFileContent": { "Content": text, "IsLfs": false, "IsText": true } })),
        Found::Files(files) | Found::Compared(files) => {
            let kind = if files.cut { "RENAME" } else { "MODIFY" };
            let diff = |path: &String| json!({ "Path": path, "ChangeType": kind, "DiffLines": [] });
            let diffs: Vec<Value> = files.paths.iter().map(diff).collect();
            success(json!({ "MergeRequestFileDiff": { "FileDiffs": diffs } }))
        }
        Found::Repo { path } => success(json!({ "Depot": {
            "Id": 33774, "ProjectId": 77, "Name": "…", "VcsType": "git",
            "HttpsUrl": format!("https://elsewhere.invalid/{path}.git"),
        }})),
        Found::Right(_) | Found::User { .. } | Found::Writers(_) | Found::Checks(_) | Found::Absent => {
            let error = json!({ "Code": "ResourceNotFound", "Message": "no such thing" });
            Reply::Json(200, json!({ "Response": { "Error": error, "RequestId": "2cc95576" } }))
        }
    }
}

pub(super) fn took() -> Reply {
    success(json!({}))
}

fn success(mut response: Value) -> Reply {
    response["RequestId"] = json!("2cc95576");
    Reply::Json(200, json!({ "Response": response }))
}
