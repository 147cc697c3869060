//! Changed files, commit messages and who may push, on GitLab.

use gitlab::api::projects::members::AllProjectMember;
use gitlab::api::projects::merge_requests::MergeRequestDiffs;
use gitlab::api::projects::repository::commits::{Commit, CompareCommits};
use gitlab::api::users::Users;
use gitlab::api::{Pagination, paged};
use serde::Deserialize;

use super::client::{not_buildable, query};
use crate::api::rest::absent;
use crate::changes::{ChangedFiles, MAX_PAGES};
use crate::transport::{ForgeError, Transport};

/// What is read of a merge request's files: pages of 100.
const MAX_FILES: usize = MAX_PAGES * 100;
/// A developer's, who may push to branches that are not protected.
const MIN_ACCESS_LEVEL: u64 = 30;

#[derive(Deserialize)]
struct Comparison {
    diffs: Vec<Diff>,
    /// The comparison was given up, or its result is too large.
    #[serde(default)]
    compare_timeout: bool,
}

#[derive(Deserialize)]
struct Diff {
    old_path: Option<String>,
    new_path: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    username: String,
}

#[derive(Deserialize)]
struct Member {
    access_level: u64,
    /// `active`, or `blocked`, `awaiting` and others.
    state: Option<String>,
}

/// `GET /projects/:id/repository/compare?straight=true`: `before` itself with `after`.
pub(crate) async fn between(
    transport: &Transport,
    repo: &str,
    before: &str,
    after: &str,
) -> Result<ChangedFiles, ForgeError> {
    let request = CompareCommits::builder().project(repo).from(before).to(after).straight(true).build();
    let found: Comparison = query(transport, request.map_err(not_buildable)?).await?;
    Ok(changed(found.diffs, found.compare_timeout))
}

/// `GET /projects/:id/merge_requests/:iid/diffs` (GitLab 15.7).
pub(crate) async fn of_change(transport: &Transport, repo: &str, number: u64) -> Result<ChangedFiles, ForgeError> {
    let request = MergeRequestDiffs::builder().project(repo).merge_request(number).build();
    let request = paged(request.map_err(not_buildable)?, Pagination::Limit(MAX_FILES));
    let found: Vec<Diff> = query(transport, request).await?;
    let cut = found.len() >= MAX_FILES;
    Ok(changed(found, cut))
}

/// `GET /projects/:id/repository/commits/:sha`.
pub(crate) async fn message(transport: &Transport, repo: &str, commit: &str) -> Result<String, ForgeError> {
    let request = Commit::builder().project(repo).commit(commit).stats(false).build().map_err(not_buildable)?;
    Ok(query::<Message, _>(transport, request).await?.message)
}

/// `GET /users?username=` for the id, then `GET /projects/:id/members/all/:user_id`, which counts membership by
/// groups.
pub(crate) async fn may_push(transport: &Transport, repo: &str, login: &str) -> Result<bool, ForgeError> {
    let request = Users::builder().username(login).build().map_err(not_buildable)?;
    let found: Vec<User> = query(transport, request).await?;
    let Some(user) = found.into_iter().find(|user| user.username.eq_ignore_ascii_case(login)) else {
        return Ok(false);
    };
    let request = AllProjectMember::builder().project(repo).user(user.id).build().map_err(not_buildable)?;
    let Some(member) = absent(query::<Member, _>(transport, request).await)? else { return Ok(false) };
    let active = member.state.is_none_or(|state| state == "active");
    Ok(active && member.access_level >= MIN_ACCESS_LEVEL)
}

fn changed(diffs: Vec<Diff>, truncated: bool) -> ChangedFiles {
    ChangedFiles::new(diffs.into_iter().flat_map(|diff| [diff.old_path, diff.new_path]), truncated)
}
