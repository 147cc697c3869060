//! Builds: made once per dedupe key together with their jobs, read with everything a page shows.
//!
//! Race: two deliveries of one move. Row: `builds (project_id, dedupe_key)`, unique. The loser finds the
//! winner's build and joins it. The ref's head moves in the same transaction, so nothing needs repair.

use chrono::{DateTime, Utc};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::{BuildState, Trigger};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, DeliveryId, JobId, ProjectId, TenantId};
use slipway_domain::job::{JobKind, JobState};
use slipway_domain::placement::Pool;
use slipway_domain::spec::JobSpec;
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::attempts::{Attempt, Step};
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::{Job, delta};
use crate::ref_order::{Standing, place_in_ref};
use crate::scope::Scope;

/// Distance between two moves of a ref, so that a late one finds room before its successor.
pub(crate) const ORDER_STEP: i64 = 1 << 20;

/// A build to be made.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// Its id if it is new.
    pub id: BuildId,
    /// Who pays.
    pub tenant: TenantId,
    /// Its project.
    pub project: ProjectId,
    /// Why it exists.
    pub trigger: Trigger,
    /// The ref it is for; `None` for a bare commit.
    pub git_ref: Option<GitRef>,
    /// The full commit id.
    pub commit: String,
    /// What the ref pointed to before.
    pub before: Option<String>,
    /// The same key never makes a second build in the project.
    pub dedupe_key: String,
    /// Its place within the ref.
    pub order: RefOrder,
    /// The build that it repeats.
    pub rerun_of: Option<BuildId>,
    /// The number of the pull or merge request that it is of.
    pub change_number: Option<i64>,
    /// When it was told of, by the forge's clock.
    pub told_at: Option<DateTime<Utc>>,
    /// First line of the commit's message.
    pub title: Option<String>,
    /// Who caused it.
    pub actor: Option<String>,
    /// When.
    pub now: DateTime<Utc>,
    /// Its jobs; at least one.
    pub jobs: Vec<NewJob>,
    /// The delivery that told of it.
    pub delivery: Option<DeliveryId>,
}

/// A job to be made with its build.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The job.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it is placed.
    pub pool: Pool,
    /// Seconds that one attempt may take.
    pub timeout_secs: i64,
    /// Waits for an approval first.
    pub blocked: bool,
    /// What the builder is told.
    pub spec: JobSpec,
}

/// How a build gets its place within its ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefOrder {
    /// A push: its move's place in the before/after chain.
    Move {
        /// What the ref pointed to before; `None` when created.
        before: Option<String>,
        /// What it points to now.
        after: String,
    },
    /// What a ref was found to point to without a word of it, the ref's row being as it was read before.
    Found {
        /// What the row said before.
        known: Option<String>,
        /// What it points to now.
        after: String,
        /// The row's order before; 0 where there was none.
        version: i64,
    },
    /// A rerun: the original's place.
    SameAs(BuildId),
    /// A manual build of a ref: the head's place.
    Head,
    /// A bare commit: none.
    None,
}

/// What came of a wish to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedBuild {
    /// The build.
    pub build: BuildId,
    /// True if it was there before.
    pub existing: bool,
}

/// A build's row.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Build {
    /// The build.
    pub id: BuildId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// What its jobs make of it.
    pub state: BuildState,
    /// Why it exists.
    pub trigger: Trigger,
    /// The ref it is for.
    #[sqlx(rename = "ref")]
    pub git_ref: Option<GitRef>,
    /// The full commit id.
    pub commit_id: String,
    /// What the ref pointed to before.
    pub before_id: Option<String>,
    /// Its place within the ref.
    pub ref_order: Option<i64>,
    /// The build that it repeats.
    pub rerun_of: Option<BuildId>,
    /// The number of the pull or merge request that it is of.
    pub change_number: Option<i64>,
    /// When it was told of, by the forge's clock.
    pub told_at: Option<DateTime<Utc>>,
    /// First line of the commit's message.
    pub title: Option<String>,
    /// Who caused it.
    pub actor: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its first job was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became terminal.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A build with everything that a page shows.
#[derive(Debug, Clone)]
pub struct BuildView {
    /// Its row.
    pub build: Build,
    /// The project's name.
    pub project_name: String,
    /// Whether anybody may see it.
    pub public: bool,
    /// Its jobs.
    pub jobs: Vec<JobView>,
}

/// A job with its attempts.
#[derive(Debug, Clone)]
pub struct JobView {
    /// Its row.
    pub job: Job,
    /// Its attempts, oldest first; failure and images of the newest are the job's.
    pub attempts: Vec<Attempt>,
    /// The steps of the newest attempt.
    pub steps: Vec<Step>,
}

/// Which builds to list; newest first.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only in this state.
    pub state: Option<BuildState>,
    /// Only of the branch or tag of this name, or of this whole ref.
    pub ref_name: Option<String>,
    /// Only older than this one.
    pub before: Option<BuildId>,
    /// At most so many.
    pub limit: i64,
}

/// Selects whole builds; the condition follows.
macro_rules! select_builds {
    () => {
        "select b.id, b.tenant_id, b.project_id, b.state, b.trigger, b.ref, b.commit_id, b.before_id, b.ref_order, \
        b.rerun_of, b.change_number, b.told_at, b.title, b.actor, b.created_at, b.started_at, b.finished_at \
        from builds b join projects p on p.id = b.project_id "
    };
}

const BUILD: &str =
    concat!(select_builds!(), "where b.id = $1 and ($2 or b.tenant_id = $3 or p.visibility = 'public')");

const LIST: &str = concat!(
    select_builds!(),
    "where ($1 or b.tenant_id = $2 or p.visibility = 'public') and ($3 is null or b.project_id = $3) \
    and ($4 is null or b.state = $4) and ($5 is null or b.id < $5) and ($6 is null \
    or b.ref in ($6, 'refs/heads/' || $6, 'refs/tags/' || $6)) order by b.id desc limit $7"
);

impl Db {
    /// Makes a build with its jobs, unless its key has one already; links the delivery in both cases.
    pub async fn create_build(&self, new: &NewBuild) -> Result<CreatedBuild> {
        let mut tx = self.begin_write().await?;
        let standing = place_in_ref(&mut tx, new).await?;
        let created = if let Some(build) = standing.joins {
            CreatedBuild { build, existing: true }
        } else if insert_build(&mut tx, new, &standing).await? {
            for job in &new.jobs {
                insert_job(&mut tx, new, job).await?;
            }
            CreatedBuild { build: new.id, existing: false }
        } else {
            // The ref's move belongs to the winner; undo ours.
            drop(tx);
            tx = self.begin_write().await?;
            CreatedBuild { build: build_by_key(&mut tx, new.project, &new.dedupe_key).await?, existing: true }
        };
        if let Some(delivery) = new.delivery {
            link_delivery(&mut tx, delivery, created.build).await?;
        }
        slipway_runtime::crash::point("build.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("build.after_commit");
        Ok(created)
    }

    /// One build, if the caller may see it.
    pub async fn build(&self, scope: &Scope, id: BuildId) -> Result<Build> {
        let sight = scope.sight();
        on_db!(self, conn => sqlx::query_as::<_, Build>(BUILD)
            .bind(id)
            .bind(sight.all)
            .bind(sight.tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("build"))
    }

    /// Whether this key has its build already. For services.
    pub async fn has_build(&self, project: ProjectId, dedupe_key: &str) -> Result<bool> {
        const HAS: &str = "select count(*) from builds where project_id = $1 and dedupe_key = $2";
        let count: i64 =
            on_db!(self, conn => sqlx::query_scalar(HAS).bind(project).bind(dedupe_key).fetch_one(conn).await?);
        Ok(count > 0)
    }

    /// The newest build of a commit. For services.
    pub async fn newest_build_of(&self, project: ProjectId, commit: &str) -> Result<Option<Build>> {
        const NEWEST: &str =
            concat!(select_builds!(), "where b.project_id = $1 and b.commit_id = $2 order by b.id desc limit 1");
        Ok(on_db!(self, conn => sqlx::query_as(NEWEST).bind(project).bind(commit).fetch_optional(conn).await?))
    }

    /// One build with its jobs, attempts and steps, if the caller may see it.
    pub async fn build_view(&self, scope: &Scope, id: BuildId) -> Result<BuildView> {
        const PROJECT: &str = "select name, visibility from projects where id = $1";
        let build = self.build(scope, id).await?;
        let (project_name, visibility): (String, String) =
            on_db!(self, conn => sqlx::query_as(PROJECT).bind(build.project_id).fetch_one(conn).await?);
        let mut jobs = Vec::new();
        for job in self.jobs_of_build(id).await? {
            jobs.push(self.with_attempts(job).await?);
        }
        Ok(BuildView { build, project_name, public: visibility == "public", jobs })
    }

    /// One job with its attempts and steps, if the caller may see its build.
    pub async fn job_view(&self, scope: &Scope, id: JobId) -> Result<JobView> {
        let job = self.job(id).await?;
        self.build(scope, job.build_id).await.map_err(|error| match error {
            StoreError::NotFound(_) => StoreError::NotFound("job"),
            other => other,
        })?;
        self.with_attempts(job).await
    }

    /// Builds that the caller may see, newest first.
    pub async fn list_builds(&self, scope: &Scope, filter: &BuildFilter) -> Result<Vec<Build>> {
        let sight = scope.sight();
        Ok(on_db!(self, conn => sqlx::query_as::<_, Build>(LIST)
            .bind(sight.all)
            .bind(sight.tenant)
            .bind(filter.project)
            .bind(filter.state)
            .bind(filter.before)
            .bind(&filter.ref_name)
            .bind(filter.limit)
            .fetch_all(conn)
            .await?))
    }

    /// What a ref points to, as far as deliveries told.
    pub async fn ref_head(&self, project: ProjectId, git_ref: &GitRef) -> Result<Option<String>> {
        const HEAD: &str = "select head from ref_heads where project_id = $1 and ref = $2";
        let head: Option<Option<String>> = on_db!(self, conn => sqlx::query_scalar(HEAD)
            .bind(project)
            .bind(git_ref)
            .fetch_optional(conn)
            .await?);
        Ok(head.flatten())
    }

    async fn with_attempts(&self, job: Job) -> Result<JobView> {
        let attempts = self.attempts(job.id).await?;
        let steps = match attempts.last() {
            Some(newest) => self.steps(AttemptRef { job: job.id, epoch: newest.epoch }).await?,
            None => Vec::new(),
        };
        Ok(JobView { job, attempts, steps })
    }
}

async fn insert_build(tx: &mut Tx, new: &NewBuild, standing: &Standing) -> Result<bool> {
    const INSERT: &str = "insert into builds (id, tenant_id, project_id, state, trigger, ref, commit_id, before_id, \
        ref_order, unlinked, dedupe_key, rerun_of, title, actor, created_at, change_number, told_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
        on conflict (project_id, dedupe_key) do nothing";
    let inserted = execute!(
        tx,
        INSERT,
        new.id,
        new.tenant,
        new.project,
        BuildState::Pending,
        new.trigger,
        &new.git_ref,
        &new.commit,
        &new.before,
        standing.order,
        standing.unlinked,
        &new.dedupe_key,
        new.rerun_of,
        &new.title,
        &new.actor,
        new.now,
        new.change_number,
        new.told_at
    );
    Ok(inserted == 1)
}

async fn insert_job(tx: &mut Tx, new: &NewBuild, job: &NewJob) -> Result<()> {
    const JOB: &str = "insert into jobs (id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, \
        infra_retries, timeout_secs, queued_at, not_before, deadline_at) \
        values ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, $8, $9, $9, $10)";
    const SPEC: &str = "insert into job_specs (job_id, spec) values ($1, $2)";
    let (state, wait) = match job.blocked {
        true => (JobState::Blocked, timing::APPROVAL_DEADLINE),
        false => (JobState::Queued, timing::WAIT_DEADLINE),
    };
    execute!(
        tx,
        JOB,
        job.id,
        new.id,
        new.tenant,
        new.project,
        job.kind,
        state,
        job.pool.to_string(),
        job.timeout_secs,
        new.now,
        new.now + delta(wait)
    );
    execute!(tx, SPEC, job.id, Json(&job.spec));
    Ok(())
}

async fn build_by_key(tx: &mut Tx, project: ProjectId, key: &str) -> Result<BuildId> {
    const BY_KEY: &str = "select id from builds where project_id = $1 and dedupe_key = $2";
    Ok(on_tx!(tx, conn => sqlx::query_scalar(BY_KEY).bind(project).bind(key).fetch_one(conn).await?))
}

async fn link_delivery(tx: &mut Tx, delivery: DeliveryId, build: BuildId) -> Result<()> {
    const LINK: &str = "insert into delivery_builds (delivery_id, build_id) values ($1, $2) \
        on conflict (delivery_id, build_id) do nothing";
    execute!(tx, LINK, delivery, build);
    Ok(())
}
