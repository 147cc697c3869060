//! Questions about a push or a change that only its forge can answer. An answer that does not come in time is "unknown",
//! and what is unknown is built: a question never loses a build.

use std::time::{Duration, Instant};

use slipway_domain::event::{ChangeDetails, skip_marker};
use slipway_forges::api::{ForgeApi, ForgeError};
use slipway_forges::changes::ChangedFiles;
use slipway_store::projects::Project;
use tracing::debug;

use crate::forge;
use crate::intake::changed_files;
use crate::intake::rules::{Proposed, RefMoved};
use crate::intake::work::FORGE_PATIENCE;
use crate::state::ApiState;

/// All questions about one push or change take no longer than this, well inside the time for its delivery.
pub(super) const QUESTIONS: Duration = Duration::from_secs(5);

/// What is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) state: &'a ApiState,
    pub(super) project: &'a Project,
    pub(super) commit: &'a str,
    /// Whatever is not known by then is unknown.
    pub(super) until: Instant,
}

impl Asking<'_> {
    /// Why a push is not built, if it is not.
    pub(super) async fn leaves_out_push(self, moved: &RefMoved) -> Option<String> {
        // A tag or a new branch has nothing that it could be compared with.
        let (before, after) = (moved.before.as_deref()?, moved.after.as_deref()?);
        if !self.project.rules.asks_for_files() || moved.git_ref.branch().is_none() {
            return None;
        }
        let repo = &self.project.repo_path;
        let files = self.ask(async |api: &ForgeApi| api.changed_files(repo, before, after).await).await;
        self.leaves_out_files(files, before).await
    }

    /// The commit's whole message.
    pub(super) async fn message(self) -> Option<String> {
        let (repo, commit) = (&self.project.repo_path, self.commit);
        self.ask(async |api: &ForgeApi| api.commit_message(repo, commit).await).await
    }

    /// Why a change is not built, if it is not. An error means "try again later".
    pub(super) async fn leaves_out_change(self, proposed: &Proposed) -> anyhow::Result<Option<String>> {
        let Self { state, project, .. } = self;
        if let Some(reason) = self.is_built_already(proposed).await? {
            return Ok(Some(reason));
        }
        if let Some(marker) = self.message().await.as_deref().and_then(skip_marker) {
            return Ok(Some(marker));
        }
        if !project.rules.asks_for_files() {
            return Ok(None);
        }
        let (repo, number) = (&project.repo_path, proposed.change.number);
        let files = self.ask(async |api: &ForgeApi| api.files_of_change(repo, number).await).await;
        let base = match &proposed.change.target {
            Some(target) => state.db.ref_head(project.id, target).await?,
            None => None,
        };
        Ok(match base {
            Some(base) => self.leaves_out_files(files, &base).await,
            None => self.judge(files.filter(|files| !files.truncated)),
        })
    }

    /// True if whoever opened a change, and whoever caused this news of it, may push to the repository: what waits for
    /// an approval is the work of others.
    pub(super) async fn is_by_a_writer(self, details: &ChangeDetails) -> bool {
        let (Some(author), Some(sender)) = (&details.author, &details.sender) else { return false };
        let repo = &self.project.repo_path;
        let may_push = async |login: &str| self.ask(async |api: &ForgeApi| api.may_push(repo, login).await).await;
        may_push(author).await == Some(true) && (sender == author || may_push(sender).await == Some(true))
    }

    async fn is_built_already(self, proposed: &Proposed) -> anyhow::Result<Option<String>> {
        let Self { state, project, commit, .. } = self;
        let number = proposed.change.number;
        if proposed.is_ready && state.db.change_build_of(project.id, number, commit).await?.is_some() {
            return Ok(Some(format!("pull request {number} was built as a draft")));
        }
        let Some(branch) = proposed.own_branch.as_ref().filter(|_| project.rules.builds_once_per_commit()) else {
            return Ok(None);
        };
        let built = state.db.push_build_of(project.id, branch, commit).await?.is_some();
        Ok(built.then(|| format!("the push of {} builds this commit", branch.short())))
    }

    /// What the forge lists, or where that is cut short or unknown, what git says.
    async fn leaves_out_files(self, files: Option<ChangedFiles>, before: &str) -> Option<String> {
        let listed = files.as_ref().is_some_and(|files| !files.truncated);
        let known = files.as_ref().is_some_and(|files| self.builds(files));
        if listed || known {
            return self.judge(files);
        }
        let by_git = changed_files::by_git(self.state, self.project, before, self.commit);
        self.judge(tokio::time::timeout(self.left(), by_git).await.ok().flatten())
    }

    fn judge(self, files: Option<ChangedFiles>) -> Option<String> {
        match files {
            Some(files) if !self.builds(&files) => {
                Some("the project's rules leave out the files that it changes".to_owned())
            }
            Some(_) | None => None,
        }
    }

    fn builds(self, files: &ChangedFiles) -> bool {
        self.project.rules.builds_files(files.paths.iter().map(String::as_str))
    }

    fn left(self) -> Duration {
        self.until.saturating_duration_since(self.state.clock.monotonic())
    }

    /// One call to the forge; without a token, an answer or the time for one, nothing is known.
    async fn ask<T>(self, question: impl AsyncFnOnce(&ForgeApi) -> Result<T, ForgeError>) -> Option<T> {
        let Self { state, project, .. } = self;
        let asked = async {
            let Some((api, permit)) = forge::open(state, project, FORGE_PATIENCE).await? else { return Ok(None) };
            anyhow::Ok(Some(forge::call(permit, question(&api)).await?))
        };
        match tokio::time::timeout(self.left(), asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                debug!(project.id = %project.id, error = format!("{error:#}"), "the forge does not say");
                None
            }
            Err(_) => None,
        }
    }
}
