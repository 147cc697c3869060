//! Commit statuses (`POST /projects/:id/statuses/:sha`), which GitLab keeps as jobs of an external pipeline.

use gitlab::api::AsyncQuery as _;
use gitlab::api::projects::repository::commits::{CommitStatusState, CreateCommitStatus};
use serde::Deserialize;
use slipway_domain::build::BuildState;

use super::client::{Client, sort};
use crate::status::{CommitStatus, StatusSent};
use crate::transport::{ForgeError, Transport};

/// GitLab refuses longer fields; counted in bytes by the gitlab crate.
const MAX_FIELD_BYTES: usize = 255;

#[derive(Debug, Deserialize)]
struct Created {
    #[serde(default)]
    pipeline_id: Option<u64>,
}

/// GitLab's word for our state.
pub fn word(state: BuildState) -> CommitStatusState {
    match state {
        BuildState::Pending => CommitStatusState::Pending,
        BuildState::Running => CommitStatusState::Running,
        BuildState::Succeeded => CommitStatusState::Success,
        BuildState::Failed | BuildState::Errored => CommitStatusState::Failed,
        BuildState::Cancelled | BuildState::Superseded => CommitStatusState::Canceled,
        BuildState::Skipped => CommitStatusState::Skipped,
    }
}

pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let mut request = CreateCommitStatus::builder();
    request
        .project(status.repo.as_str())
        .commit(status.commit.as_str())
        .state(word(status.state))
        .name(status.context.as_str())
        .description(cut_bytes(&status.description));
    // A ref or an address that is too long is of no use cut short.
    if let Some(name) = status.ref_name.as_deref().filter(|name| name.len() <= MAX_FIELD_BYTES) {
        request.ref_(name);
    }
    if let Some(target) = status.target_url.as_deref().filter(|target| target.len() <= MAX_FIELD_BYTES) {
        request.target_url(target);
    }
    if let Some(pipeline) = status.pipeline_id {
        request.pipeline_id(pipeline);
    }
    let request = request.build().map_err(|e| ForgeError::Invalid(format!("the status cannot be sent: {e}")))?;
    let answer: Result<Created, _> = request.query_async(&Client(transport)).await;
    match answer {
        Ok(created) => Ok(StatusSent { pipeline_id: created.pipeline_id }),
        Err(e) => already_there(sort(e)).map(|()| StatusSent { pipeline_id: None }),
    }
}

/// GitLab refuses to repeat a state ("Cannot transition status via :enqueue from :pending"): it has it already,
/// or a later one.
fn already_there(sent: Result<(), ForgeError>) -> Result<(), ForgeError> {
    match sent {
        Err(ForgeError::Rejected { status: 400, message }) if message.contains("Cannot transition status") => Ok(()),
        other => other,
    }
}

fn cut_bytes(text: &str) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= MAX_FIELD_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_FIELD_BYTES - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}
