//! What forges lose: a project's refs are looked at now and then, and a ref that points elsewhere than all deliveries
//! told is owed a build.
//!
//! Rows: `reconciliations`, taken by lease; `ref_heads`, whose order is the version that a finding was made against. Of
//! two that find the same, or one that finds and a push that moves, the second is stale and looks again later. A lease
//! that nobody gave back ends by itself, and what was found before that is not found again.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{ProcessId, ProjectId};
use sqlx::FromRow;

use crate::Db;
use crate::builds::ORDER_STEP;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::readable::{Rows, split};
use crate::ref_order::first_noted;

/// A project whose refs this process looks at until its lease ends.
#[derive(Debug, Clone, FromRow)]
pub struct LeasedLook {
    /// The project.
    pub project_id: ProjectId,
    /// Since when refs that moved are owed builds; `None` if they are only to be noted.
    pub noted_at: Option<DateTime<Utc>>,
    /// Looks that failed since one succeeded.
    pub failures: i64,
}

/// What is known of a ref.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct KnownRef {
    /// The ref's full name.
    #[sqlx(rename = "ref")]
    pub git_ref: String,
    /// What it points to as far as we were told; `None` if it is gone.
    pub head: Option<String>,
    /// Changes with every move.
    #[sqlx(rename = "head_order")]
    pub version: i64,
}

/// What a ref was found to point to.
#[derive(Debug, Clone, Copy)]
pub struct FoundRef<'a> {
    /// The ref.
    pub git_ref: &'a GitRef,
    /// As it was read before the forge was asked; `None` if nothing was known of it.
    pub version: Option<i64>,
    /// `None` if it is gone.
    pub head: Option<&'a str>,
}

/// How the looks at a project's refs go.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LookView {
    /// The last one that succeeded.
    pub looked_at: Option<DateTime<Utc>>,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

/// Makes a project's refs due, in the caller's transaction. What they point to at the first look is owed to nobody.
pub(crate) async fn begin(tx: &mut Tx, project: ProjectId, now: DateTime<Utc>) -> Result<()> {
    const BEGIN: &str = "insert into reconciliations (project_id, next_at, failures) values ($1, $2, 0) \
        on conflict (project_id) do nothing";
    execute!(tx, BEGIN, project, now);
    Ok(())
}

/// Ends the looks at a project that makes no builds, in the caller's transaction. A look under way finds its row gone.
pub(crate) async fn end(tx: &mut Tx, project: ProjectId) -> Result<()> {
    const END: &str = "delete from reconciliations where project_id = $1";
    execute!(tx, END, project);
    Ok(())
}

impl Db {
    /// Takes projects that are due, at most `limit`. Only active ones have a row.
    pub async fn lease_looks(
        &self,
        owner: ProcessId,
        now: DateTime<Utc>,
        lease: TimeDelta,
        limit: i64,
    ) -> Result<Vec<LeasedLook>> {
        const LEASE: &str = "update reconciliations set lease_owner = $1, lease_until = $2 where project_id in \
            (select project_id from reconciliations where next_at <= $3 and (lease_until is null or lease_until < $3) \
            order by next_at limit $4) and (lease_until is null or lease_until < $3) \
            returning project_id, noted_at, failures";
        let mut tx = self.begin_write().await?;
        let leased: Rows<LeasedLook> = on_tx!(&mut tx, conn => split(&sqlx::query(LEASE)
            .bind(owner)
            .bind(now + lease)
            .bind(now)
            .bind(limit)
            .fetch_all(conn)
            .await?));
        tx.commit().await?;
        Ok(leased.tell("reconciliations"))
    }

    /// Ends a look. One that succeeded makes what moves from now on owed.
    pub async fn finish_look(
        &self,
        owner: ProcessId,
        project: ProjectId,
        failed: Option<&str>,
        (now, next_at): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<()> {
        const FINISH: &str = "update reconciliations set lease_owner = null, lease_until = null, next_at = $4, \
            noted_at = case when $3 is null then coalesce(noted_at, $5) else noted_at end, \
            looked_at = case when $3 is null then $5 else looked_at end, \
            failures = case when $3 is null then 0 else failures + 1 end, last_error = $3 \
            where project_id = $1 and lease_owner = $2";
        let mut tx = self.begin_write().await?;
        if execute!(&mut tx, FINISH, project, owner, failed, next_at, now) == 0 {
            return Err(StoreError::Stale("reconciliation"));
        }
        tx.commit().await
    }

    /// All that is known of a project's refs. To be read before the forge is asked.
    pub async fn known_refs(&self, project: ProjectId) -> Result<Vec<KnownRef>> {
        const KNOWN: &str = "select ref, head, head_order from ref_heads where project_id = $1 order by ref";
        Ok(on_db!(self, conn => sqlx::query_as(KNOWN).bind(project).fetch_all(conn).await?))
    }

    /// Notes what refs were found to point to, each if nothing moved it since it was read. Gives how many were noted.
    pub async fn note_found(&self, project: ProjectId, found: &[FoundRef<'_>], now: DateTime<Utc>) -> Result<usize> {
        const FIRST: &str = "insert into ref_heads (project_id, ref, head, head_order, updated_at) \
            values ($1, $2, $3, $4, $5) on conflict (project_id, ref) do nothing";
        const MOVE: &str = "update ref_heads set head = $4, head_order = head_order + $5, updated_at = $6 \
            where project_id = $1 and ref = $2 and head_order = $3";
        let mut tx = self.begin_write().await?;
        let mut noted = 0;
        for FoundRef { git_ref, version, head } in found {
            noted += match version {
                None => execute!(&mut tx, FIRST, project, git_ref, head, first_noted(false), now),
                Some(version) => execute!(&mut tx, MOVE, project, git_ref, version, head, ORDER_STEP, now),
            };
        }
        tx.commit().await?;
        Ok(usize::try_from(noted).unwrap_or(usize::MAX))
    }

    /// How the looks at a project go. The caller has checked that the project may be seen.
    pub async fn look_view(&self, project: ProjectId) -> Result<Option<LookView>> {
        const VIEW: &str = "select looked_at, last_error from reconciliations where project_id = $1";
        Ok(on_db!(self, conn => sqlx::query_as(VIEW).bind(project).fetch_optional(conn).await?))
    }
}
