//! What `slipway.yml` says about where a build belongs, read through the forge. Unknown is a good answer:
//! the builder reads the file again from the checkout, and complains there.

use std::time::Duration;

use slipway_domain::git_ref::GitRef;
use slipway_domain::pipeline::{self, Pipeline};
use slipway_domain::spec::ChangeSpec;
use slipway_forges::api::FileAt;
use slipway_store::projects::Project;
use tracing::debug;

use crate::forge;
use crate::state::ApiState;

/// Limit for one call; the whole reading has 3 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the file that counts is read: at the commit, but what strangers propose is built as the branch says that it
/// goes to. `None` where that is not known.
pub(crate) fn place<'a>(commit: &'a str, change: Option<&'a ChangeSpec>) -> Option<&'a str> {
    match change {
        Some(change) if !change.trusted => change.target.as_ref().map(GitRef::short),
        Some(_) | None => Some(commit),
    }
}

/// The pipeline file at a commit or branch; the empty one when it is not there or cannot be known in time.
pub(crate) async fn read(state: &ApiState, project: &Project, commit: Option<&str>) -> Pipeline {
    let Some(commit) = commit else { return Pipeline::default() };
    match try_read(state, project, commit).await {
        Ok(Some(text)) => pipeline::parse(&text).unwrap_or_default(),
        Ok(None) => Pipeline::default(),
        Err(error) => {
            let error = format!("{error:#}");
            debug!(project.id = %project.id, error, "slipway.yml could not be read through the forge");
            Pipeline::default()
        }
    }
}

async fn try_read(state: &ApiState, project: &Project, commit: &str) -> anyhow::Result<Option<String>> {
    let Some((api, permit)) = forge::open(state, project, CALL_TIMEOUT).await? else { return Ok(None) };
    let file = FileAt { repo: &project.repo_path, commit, path: pipeline::FILE_NAME };
    Ok(forge::call(permit, api.read_file(&file)).await?)
}
