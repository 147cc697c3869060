//! Repositories that get another name or owner: a project keeps to the forge's own id of its repository.
//!
//! Row: `projects`, compare-and-set on what the path was. Whoever loses reads the row again.

use chrono::{DateTime, Utc};
use slipway_domain::ids::ProjectId;

use crate::Db;
use crate::db::execute;
use crate::error::Result;

impl Db {
    /// Notes the forge's id of a project's repository, which its verified deliveries tell.
    pub async fn note_repo_id(&self, project: ProjectId, repo_path: &str, repo_id: &str) -> Result<()> {
        const NOTE: &str = "update projects set repo_id = $3 where id = $1 and repo_path = $2 \
            and repo_id is distinct from $3";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, NOTE, project, repo_path, repo_id);
        tx.commit().await
    }

    /// Follows a repository to its new path. `clone_url` changes too where the new one is known. True if it was
    /// followed now.
    pub async fn follow_repo(
        &self,
        project: ProjectId,
        (old, new): (&str, &str),
        clone_url: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        const FOLLOW: &str = "update projects set repo_path = $3, clone_url = coalesce($4, clone_url), updated_at = $5 \
            where id = $1 and repo_path = $2";
        let mut tx = self.begin_write().await?;
        let followed = execute!(&mut tx, FOLLOW, project, old, new, clone_url, now);
        tx.commit().await?;
        Ok(followed == 1)
    }
}
