//! Commit statuses (`POST /repos/{owner}/{repo}/statuses/{sha}`).

use octocrab::models::StatusState;
use slipway_domain::build::BuildState;

use super::client::{client, owner_and_name, sort};
use crate::status::{CommitStatus, StatusSent, cut};
use crate::transport::{ForgeError, Transport};

/// GitHub cuts nothing itself; it refuses.
const MAX_DESCRIPTION_CHARS: usize = 140;

/// GitHub's word for our state. It has none for running, cancelled and skipped.
pub fn word(state: BuildState) -> StatusState {
    match state {
        BuildState::Pending | BuildState::Running => StatusState::Pending,
        BuildState::Succeeded | BuildState::Skipped => StatusState::Success,
        BuildState::Failed => StatusState::Failure,
        BuildState::Errored | BuildState::Cancelled | BuildState::Superseded => StatusState::Error,
    }
}

pub(crate) async fn set_status(transport: &Transport, status: &CommitStatus) -> Result<StatusSent, ForgeError> {
    let (owner, name) = owner_and_name(&status.repo)?;
    let crab = client(transport);
    let repos = crab.repos(owner, name);
    let mut request = repos
        .create_status(status.commit.clone(), word(status.state))
        .context(status.context.clone())
        .description(cut(&status.description, MAX_DESCRIPTION_CHARS));
    if let Some(target) = &status.target_url {
        request = request.target(target.clone());
    }
    match request.send().await {
        Ok(_) => {}
        Err(e) => sort(e, transport)?,
    }
    Ok(StatusSent { pipeline_id: None })
}
