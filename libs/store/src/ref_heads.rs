//! Moves of a ref that make no build. They still move the ref's head: otherwise the next move would look as
//! if it came late, and a build by hand would take an old commit.

use chrono::{DateTime, Utc};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProjectId;

use crate::Db;
use crate::builds::ORDER_STEP;
use crate::db::{execute, on_db};
use crate::error::Result;

/// A move of a ref.
#[derive(Debug, Clone, Copy)]
pub struct RefMove<'a> {
    /// The project.
    pub project: ProjectId,
    /// The ref.
    pub git_ref: &'a GitRef,
    /// What it pointed to; `None` when created.
    pub before: Option<&'a str>,
    /// What it points to; `None` when deleted.
    pub after: Option<&'a str>,
    /// When we heard of it.
    pub now: DateTime<Utc>,
}

impl Db {
    /// Moves the ref's head if it stands where the move began, or was never heard of. A move that comes
    /// late or twice changes nothing.
    pub async fn note_move(&self, moved: &RefMove<'_>) -> Result<bool> {
        const HEAD: &str = "select head from ref_heads where project_id = $1 and ref = $2";
        const FIRST: &str = "insert into ref_heads (project_id, ref, head, head_order, updated_at) \
            values ($1, $2, $3, 0, $4) on conflict (project_id, ref) do nothing";
        const MOVE: &str = "update ref_heads set head = $4, head_order = head_order + $5, updated_at = $6 \
            where project_id = $1 and ref = $2 and head is not distinct from $3";
        // Most repetitions end here, without a write.
        let head: Option<Option<String>> = on_db!(self, conn => sqlx::query_scalar(HEAD)
            .bind(moved.project)
            .bind(moved.git_ref)
            .fetch_optional(conn)
            .await?);
        if head.is_some_and(|head| head.as_deref() != moved.before) {
            return Ok(false);
        }
        let mut tx = self.begin_write().await?;
        let mut changed = execute!(&mut tx, FIRST, moved.project, moved.git_ref, moved.after, moved.now);
        if changed == 0 {
            changed =
                execute!(&mut tx, MOVE, moved.project, moved.git_ref, moved.before, moved.after, ORDER_STEP, moved.now);
        }
        tx.commit().await?;
        Ok(changed == 1)
    }
}
