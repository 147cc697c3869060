//! What a project pushed earlier, for a builder that has none of its layers: images, and the layers of all stages where it
//! keeps them.

use chrono::{DateTime, Utc};
use slipway_domain::agent::PushedImage;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProjectId};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::{Result, StoreError};

impl Db {
    /// What the newest build of a project pushed that was made before this one and succeeded: of this ref, or of any.
    pub async fn pushed_before(
        &self,
        project: ProjectId,
        git_ref: Option<&GitRef>,
        before: BuildId,
    ) -> Result<Vec<PushedImage>> {
        const PUSHED: &str = "select a.images from builds b join jobs j on j.build_id = b.id \
            join attempts a on a.job_id = j.id and a.epoch = j.epoch where b.project_id = $1 and b.id < $2 \
            and b.state = $3 and ($4 is null or b.ref = $4) and a.images <> '[]' order by b.id desc limit 1";
        let images: Option<Json<Vec<PushedImage>>> = on_db!(self, conn => sqlx::query_scalar(PUSHED)
            .bind(project)
            .bind(before)
            .bind(BuildState::Succeeded)
            .bind(git_ref)
            .fetch_optional(conn)
            .await?);
        Ok(images.map(|Json(images)| images).unwrap_or_default())
    }

    /// What a project keeps there, whatever it kept elsewhere before.
    pub async fn registry_cache(&self, project: ProjectId, repository: &str) -> Result<Option<RegistryCache>> {
        const KEPT: &str = "select digest, kept_at from registry_caches where project_id = $1 and repository = $2";
        Ok(on_db!(self, conn => sqlx::query_as(KEPT).bind(project).bind(repository).fetch_optional(conn).await?))
    }

    /// Notes what an open attempt kept there for its project, while the project keeps its layers there. Of two at once the
    /// later one stays; either is as good.
    pub async fn keep_registry_cache(
        &self,
        attempt: AttemptRef,
        repository: &str,
        digest: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        const KEEP: &str = "insert into registry_caches (project_id, repository, digest, kept_at) \
            select p.id, $3, $4, $5 from attempts a join jobs j on j.id = a.job_id join projects p on p.id = j.project_id \
            where a.job_id = $1 and a.epoch = $2 and a.state = 'open' and p.cache_repository = $3 \
            on conflict (project_id) do update set repository = excluded.repository, digest = excluded.digest, \
            kept_at = excluded.kept_at";
        let mut tx = self.begin_write().await?;
        let kept = execute!(&mut tx, KEEP, attempt.job, attempt.epoch, repository, digest, now);
        tx.commit().await?;
        if kept == 1 { Ok(()) } else { Err(StoreError::Stale("attempt")) }
    }
}

/// The layers of all stages of a project.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct RegistryCache {
    /// The digest of its manifest.
    pub digest: String,
    /// When it was pushed.
    pub kept_at: DateTime<Utc>,
}
