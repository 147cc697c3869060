//! Builds that nobody needs any more: of a ref that moved on, or of a change that was updated, closed or merged.
//!
//! Which ones is read, then each is cancelled for itself by compare-and-set on its jobs. Whoever dies between the two is
//! followed by whoever works the delivery next; repeating it changes nothing. For a build that was found without a
//! delivery nobody follows: the older build runs to its end then, which costs its time, and moves no tag back.

use chrono::{DateTime, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::CancelledBy;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProjectId};

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::Result;
use crate::job_cancels::{CancelOutcome, Reach};

/// Of what there is a newer build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A branch or tag: what was pushed to it, in the order of its moves.
    Ref(&'a GitRef),
    /// A pull or merge request by its number, in the order of the forge's clock.
    Change(i64),
}

/// A build that was stopped, with its attempts that must be told.
pub type Stopped = (BuildId, Vec<AttemptRef>);

impl Db {
    /// Stops the builds of this line that have a newer one, as far as `reach` goes; gives those that were stopped.
    pub async fn supersede_builds(
        &self,
        project: ProjectId,
        line: Line<'_>,
        reach: Reach,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stopped>> {
        const OF_REF: &str = "select id from builds b where project_id = $1 and ref = $2 and change_number is null \
            and trigger in ('push', 'tag') and state in ('pending', 'running') and ref_order < \
            (select max(n.ref_order) from builds n where n.project_id = $1 and n.ref = $2 and n.change_number is null \
            and n.trigger in ('push', 'tag')) order by id";
        const OF_CHANGE: &str = "select id from builds b where project_id = $1 and change_number = $2 \
            and trigger = 'change' and state in ('pending', 'running') and exists (select 1 from builds n \
            where n.project_id = $1 and n.change_number = $2 and n.trigger = 'change' \
            and (coalesce(n.told_at, n.created_at) > coalesce(b.told_at, b.created_at) \
            or coalesce(n.told_at, n.created_at) = coalesce(b.told_at, b.created_at) and n.id > b.id)) order by id";
        let older: Vec<BuildId> = match line {
            Line::Ref(git_ref) => {
                on_db!(self, conn => sqlx::query_scalar(OF_REF).bind(project).bind(git_ref).fetch_all(conn).await?)
            }
            Line::Change(number) => {
                on_db!(self, conn => sqlx::query_scalar(OF_CHANGE).bind(project).bind(number).fetch_all(conn).await?)
            }
        };
        self.stop(older, reach, CancelledBy::NewerBuild, now).await
    }

    /// Notes that a change was closed or merged then, and stops every build of it, also those that wait for an approval.
    ///
    /// Race: what was told before the close may be worked after it. The close writes its row first and looks for builds
    /// then; whoever makes a build looks for that row afterwards ([`Db::change_closed_at`]). One of the two sees the other.
    pub async fn close_change(
        &self,
        project: ProjectId,
        (number, closed_at): (i64, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Vec<Stopped>> {
        const NOTE: &str = "insert into closed_changes (project_id, number, closed_at) values ($1, $2, $3) \
            on conflict (project_id, number) do update set closed_at = excluded.closed_at \
            where excluded.closed_at > closed_changes.closed_at";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, NOTE, project, number, closed_at);
        tx.commit().await?;
        self.stop_builds_of_change(project, (number, closed_at), now).await
    }

    /// Stops the builds of a change that were told of before it was closed then.
    pub async fn stop_builds_of_change(
        &self,
        project: ProjectId,
        (number, closed_at): (i64, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Vec<Stopped>> {
        const LIVE: &str = "select id from builds where project_id = $1 and change_number = $2 \
            and state in ('pending', 'running') and coalesce(told_at, created_at) <= $3 order by id";
        let live: Vec<BuildId> = on_db!(self, conn => sqlx::query_scalar(LIVE)
            .bind(project)
            .bind(number)
            .bind(closed_at)
            .fetch_all(conn)
            .await?);
        self.stop(live, Reach::Running, CancelledBy::User, now).await
    }

    /// Stops the builds of changes that nobody has begun and whose commit a push builds.
    pub async fn supersede_changes_of(
        &self,
        project: ProjectId,
        commit: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stopped>> {
        const OF_COMMIT: &str = "select id from builds where project_id = $1 and commit_id = $2 \
            and trigger = 'change' and state = 'pending' order by id";
        let waiting: Vec<BuildId> =
            on_db!(self, conn => sqlx::query_scalar(OF_COMMIT).bind(project).bind(commit).fetch_all(conn).await?);
        self.stop(waiting, Reach::Waiting, CancelledBy::NewerBuild, now).await
    }

    /// When a change was closed last, if it was.
    pub async fn change_closed_at(&self, project: ProjectId, number: i64) -> Result<Option<DateTime<Utc>>> {
        const CLOSED: &str = "select closed_at from closed_changes where project_id = $1 and number = $2";
        Ok(on_db!(self, conn => sqlx::query_scalar(CLOSED).bind(project).bind(number).fetch_optional(conn).await?))
    }

    /// A build that a push of this branch or tag made of this commit.
    pub async fn push_build_of(&self, project: ProjectId, git_ref: &GitRef, commit: &str) -> Result<Option<BuildId>> {
        const OF_COMMIT: &str = "select id from builds where project_id = $1 and ref = $2 and commit_id = $3 \
            and trigger in ('push', 'tag') order by id desc limit 1";
        Ok(on_db!(self, conn => sqlx::query_scalar(OF_COMMIT)
            .bind(project)
            .bind(git_ref)
            .bind(commit)
            .fetch_optional(conn)
            .await?))
    }

    /// A build of this commit for this change.
    pub async fn change_build_of(&self, project: ProjectId, number: u64, commit: &str) -> Result<Option<BuildId>> {
        const OF_COMMIT: &str = "select id from builds where project_id = $1 and change_number = $2 and commit_id = $3 \
            order by id desc limit 1";
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        Ok(on_db!(self, conn => sqlx::query_scalar(OF_COMMIT)
            .bind(project)
            .bind(number)
            .bind(commit)
            .fetch_optional(conn)
            .await?))
    }

    async fn stop(
        &self,
        builds: Vec<BuildId>,
        reach: Reach,
        by: CancelledBy,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stopped>> {
        let mut stopped = Vec::new();
        for build in builds {
            match self.cancel_build_within(build, reach, by, now).await? {
                CancelOutcome::Cancelled => stopped.push((build, Vec::new())),
                CancelOutcome::Stopping(attempts) => stopped.push((build, attempts)),
                CancelOutcome::AlreadyPublishing | CancelOutcome::AlreadyFinished => {}
            }
        }
        Ok(stopped)
    }
}
