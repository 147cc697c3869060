//! Changed files and commit messages on CODING, as public clients of its Open API tell.

use serde::Deserialize;
use serde_json::json;

use super::client::act;
use crate::changes::ChangedFiles;
use crate::transport::{ForgeError, Transport};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfChange {
    merge_request_file_diff: Diffs,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Diffs {
    file_diffs: Vec<Diff>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Diff {
    path: String,
    change_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    git_commit: Commit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Commit {
    short_message: String,
}

/// `DescribeMergeRequestFileDiff`, in one page. Whether it lists a renamed file's old name is not known: whatever is
/// neither added, modified nor deleted makes the list one that was cut.
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let found: OfChange = act(transport, "DescribeMergeRequestFileDiff", repo, json!({"MergeId": number})).await?;
    let diffs = found.merge_request_file_diff.file_diffs;
    let plain = diffs.iter().all(|diff| matches!(diff.change_type.as_str(), "ADD" | "MODIFY" | "DELETE"));
    Ok(ChangedFiles::new(diffs.into_iter().map(|diff| Some(diff.path)), !plain))
}

/// `DescribeGitCommitInfo`, which has a short message only.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let found: Info = act(transport, "DescribeGitCommitInfo", repo, json!({"Sha": commit})).await?;
    Ok(found.git_commit.short_message)
}
