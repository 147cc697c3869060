//! The files that a push or a change touches, by git: where the forge has no list, or cuts it short.

use std::time::Duration;

use slipway_forges::changes::ChangedFiles;
use slipway_git::Remote;
use slipway_store::projects::Project;
use tracing::debug;

use crate::forge;
use crate::state::ApiState;

/// Inside the time that one delivery may take, with the forge's own answer before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What two commits differ in; `None` where it cannot be known in time.
pub(super) async fn by_git(state: &ApiState, project: &Project, before: &str, after: &str) -> Option<ChangedFiles> {
    let asked = async {
        let login = forge::clone_login(state, project).await?;
        let remote = Remote { clone_url: &project.clone_url, login: login.as_ref(), timeout: PATIENCE };
        let paths = slipway_git::changed_files(&state.egress, &remote, (before, after)).await;
        paths.map_err(|failure| anyhow::anyhow!(failure.message))
    };
    match asked.await {
        Ok(paths) => Some(ChangedFiles { paths, truncated: false }),
        Err(error) => {
            debug!(project.id = %project.id, error = format!("{error:#}"), "git does not say what changed");
            None
        }
    }
}
