//! Commit statuses: what a forge should show, as one desired-state row per (connection, repository, commit,
//! context). The wanted sequence number only rises, so an older state never replaces a newer one.

use chrono::{DateTime, Utc};
use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ConnectionId, ProcessId, ProjectId, TenantId};
use slipway_domain::status::StatusState;
use slipway_domain::timing;
use sqlx::FromRow;

use crate::Db;
use crate::batches;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::delta;
use crate::readable::{Rows, readable, split};

/// Due statuses of one forge that one look finds.
const OF_ONE_FORGE: i64 = 8;
/// Due statuses that one look finds.
const OF_ALL_FORGES: i64 = 1000;

/// A build whose state the reporter has not seen yet.
#[derive(Debug, Clone, FromRow)]
pub struct UnreportedBuild {
    /// The build.
    pub build_id: BuildId,
    /// Its state, to be marked as seen.
    pub state: BuildState,
    /// When it was made; newer builds of a commit win over older ones.
    pub created_at: DateTime<Utc>,
    /// The commit.
    pub commit_id: String,
    /// The ref it was built for.
    #[sqlx(rename = "ref")]
    pub git_ref: Option<String>,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// The project's name.
    pub project_name: String,
    /// The repository on the forge.
    pub repo_path: String,
    /// The link to the forge.
    pub connection_id: ConnectionId,
    /// The forge.
    pub forge: ForgeKind,
    /// Whether the connection has a credential to speak with.
    pub has_token: bool,
    /// Whether it is an App, which shows check runs.
    pub is_app: bool,
}

/// Names one status on one forge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, FromRow)]
pub struct StatusKey {
    /// The link to the forge.
    pub connection_id: ConnectionId,
    /// The repository.
    pub repo_path: String,
    /// The commit.
    pub commit_id: String,
    /// The name under which the forge shows it.
    pub context: String,
}

/// What a forge should show from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedStatus {
    /// Where.
    pub key: StatusKey,
    /// For which tenant.
    pub tenant_id: TenantId,
    /// Of which build.
    pub build_id: BuildId,
    /// The build's ref, which some forges want to know.
    pub git_ref: Option<GitRef>,
    /// The build's state.
    pub wanted: BuildState,
    /// Wins over rows with a smaller one.
    pub seq: i64,
}

/// A build that the reporter has looked at, with what it wants shown for it.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The build.
    pub build_id: BuildId,
    /// The state that was looked at.
    pub state: BuildState,
    /// What to show; `None` where there is nobody to show it to.
    pub wanted: Option<WantedStatus>,
}

/// A forge as a connection names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, FromRow)]
pub struct ForgeAddress {
    /// The forge.
    pub kind: ForgeKind,
    /// Where the instance is; the forge's public one unless set.
    pub base_url: Option<String>,
}

/// A status that may be sent now.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DueStatus {
    /// Which one.
    #[sqlx(flatten)]
    pub key: StatusKey,
    /// Who is to be told.
    #[sqlx(flatten)]
    pub forge: ForgeAddress,
}

/// A status that this process may send until its lease ends.
#[derive(Debug, Clone, FromRow)]
pub struct LeasedStatus {
    /// Where.
    #[sqlx(flatten)]
    pub key: StatusKey,
    /// Of which build.
    pub build_id: BuildId,
    /// The build's ref.
    #[sqlx(rename = "ref")]
    pub git_ref: Option<String>,
    /// The build's state.
    pub wanted: BuildState,
    /// The number to hand back.
    pub wanted_seq: i64,
    /// GitLab's pipeline, as answered to an earlier status of the commit.
    pub pipeline_id: Option<i64>,
    /// The check run that shows it, once there is one.
    pub check_run_id: Option<i64>,
    /// How often it was tried, this time included.
    pub attempts: i64,
}

/// What a forge says about a status that it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForgeAnswer {
    /// GitLab's pipeline.
    pub pipeline_id: Option<i64>,
    /// GitHub's check run of this build.
    pub check_run_id: Option<i64>,
}

/// How a status of a build stands, for its page.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StatusView {
    /// The name under which the forge shows it.
    pub context: String,
    /// What the forge should show.
    pub wanted: BuildState,
    /// Whether it does.
    pub state: StatusState,
    /// Why not.
    pub last_error: Option<String>,
    /// How often it was tried since it was wanted.
    pub attempts: i64,
    /// When it is tried next, where it is due.
    pub next_at: DateTime<Utc>,
    /// When the forge took one last; nothing where an older release sent it.
    pub sent_at: Option<DateTime<Utc>>,
}

impl Db {
    /// The oldest builds whose state changed since the reporter last looked, at most `limit`.
    pub async fn unreported_builds(&self, limit: i64) -> Result<Vec<UnreportedBuild>> {
        const UNREPORTED: &str = "select b.id as build_id, b.state, b.created_at, b.commit_id, b.ref, b.tenant_id, \
            b.project_id, p.name as project_name, p.repo_path, p.connection_id, c.kind as forge, \
            (c.token_sealed is not null or c.github_app_id is not null) as has_token, \
            c.github_app_id is not null as is_app from builds b join projects p on p.id = b.project_id \
            join connections c on c.id = p.connection_id where b.reported <> b.state order by b.id limit $1";
        Ok(readable!(self, "builds", UNREPORTED, [], limits[limit]))
    }

    /// Books what the reporter wants shown, all or nothing. Doing it twice, or from two processes, changes
    /// nothing: sequence numbers only rise, and a build that moved on is looked at again.
    pub async fn want_statuses(&self, reported: &[Reported], now: DateTime<Utc>) -> Result<()> {
        let mut wanted: Vec<&WantedStatus> = reported.iter().filter_map(|seen| seen.wanted.as_ref()).collect();
        wanted.sort_by_key(|wanted| &wanted.key);
        let mut tx = self.begin_write().await?;
        batches::see_builds(&mut tx, reported).await?;
        for wanted in wanted {
            upsert_wanted(&mut tx, wanted, now).await?;
        }
        tx.commit().await
    }

    /// Statuses that are due: of each forge a few, one of each of its connections before a second one of any,
    /// the oldest first. So whoever has thousands hides nobody else's.
    pub async fn due_statuses(&self, now: DateTime<Utc>) -> Result<Vec<DueStatus>> {
        const DUE: &str = "select connection_id, repo_path, commit_id, context, kind, base_url from \
            (select d.*, row_number() over (partition by d.kind, d.base_url order by d.nth, d.next_at) as place from \
            (select s.connection_id, s.repo_path, s.commit_id, s.context, s.next_at, c.kind, c.base_url, \
            row_number() over (partition by s.connection_id order by s.next_at) as nth \
            from statuses s join connections c on c.id = s.connection_id where s.state = 'due' and s.next_at <= $1 \
            and (s.lease_until is null or s.lease_until < $1)) d) p \
            where place <= $2 order by place, next_at limit $3";
        Ok(readable!(self, "statuses", DUE, [now], limits [OF_ONE_FORGE, OF_ALL_FORGES]))
    }

    /// Takes those of these statuses that still are due for [`timing::WORK_LEASE`].
    pub async fn lease_statuses(
        &self,
        owner: ProcessId,
        now: DateTime<Utc>,
        mut due: Vec<StatusKey>,
    ) -> Result<Vec<LeasedStatus>> {
        const LEASE: &str = "update statuses set lease_owner = $5, lease_until = $6, attempts = attempts + 1 \
            where connection_id = $1 and repo_path = $2 and commit_id = $3 and context = $4 and state = 'due' \
            and next_at <= $7 and (lease_until is null or lease_until < $7) returning connection_id, repo_path, \
            commit_id, context, build_id, ref, wanted, wanted_seq, pipeline_id, \
            case when check_run_build = build_id then check_run_id end as check_run_id, attempts";
        if due.is_empty() {
            return Ok(Vec::new());
        }
        due.sort_by(|one, other| one.order().cmp(&other.order()));
        let mut leased = Vec::new();
        let mut tx = self.begin_write().await?;
        for key in due {
            let row: Rows<LeasedStatus> = on_tx!(&mut tx, conn => split(&sqlx::query(LEASE)
                .bind(key.connection_id)
                .bind(&key.repo_path)
                .bind(&key.commit_id)
                .bind(&key.context)
                .bind(owner)
                .bind(now + delta(timing::WORK_LEASE))
                .bind(now)
                .fetch_all(conn)
                .await?));
            // One that does not read stays leased, and so is passed over until the lease ends.
            leased.extend(row.tell("statuses"));
        }
        tx.commit().await?;
        Ok(leased)
    }

    /// The forge acknowledged it. If a newer one is wanted by now, that is due at once.
    pub async fn mark_status_sent(
        &self,
        owner: ProcessId,
        status: &LeasedStatus,
        answer: ForgeAnswer,
        now: DateTime<Utc>,
    ) -> Result<()> {
        const SENT: &str = "update statuses set sent_seq = $6, sent_at = $10, pipeline_id = coalesce($7, pipeline_id), \
            check_run_build = case when $8 is null then check_run_build else $9 end, check_run_id = coalesce($8, check_run_id), last_error = null, lease_owner = null, \
            lease_until = null, state = case when wanted_seq = $6 then 'sent' else 'due' end, \
            attempts = case when wanted_seq = $6 then attempts else 0 end where connection_id = $1 \
            and repo_path = $2 and commit_id = $3 and context = $4 and lease_owner = $5 and sent_seq < $6";
        let mut tx = self.begin_write().await?;
        let sent = execute!(
            &mut tx,
            SENT,
            status.key.connection_id,
            &status.key.repo_path,
            &status.key.commit_id,
            &status.key.context,
            owner,
            status.wanted_seq,
            answer.pipeline_id,
            answer.check_run_id,
            status.build_id,
            now
        );
        if sent == 0 {
            return Err(StoreError::Stale("status"));
        }
        tx.commit().await
    }

    /// It could not be sent now; it is tried again at `next_at`, a newer one too.
    pub async fn retry_status_later(
        &self,
        owner: ProcessId,
        status: &LeasedStatus,
        error: &str,
        next_at: DateTime<Utc>,
    ) -> Result<()> {
        const LATER: &str = "update statuses set last_error = $6, next_at = $7, lease_owner = null, \
            lease_until = null where connection_id = $1 and repo_path = $2 and commit_id = $3 and context = $4 \
            and lease_owner = $5 and state = 'due'";
        let mut tx = self.begin_write().await?;
        let later = execute!(
            &mut tx,
            LATER,
            status.key.connection_id,
            &status.key.repo_path,
            &status.key.commit_id,
            &status.key.context,
            owner,
            error,
            next_at
        );
        if later == 0 {
            return Err(StoreError::Stale("status"));
        }
        tx.commit().await
    }

    /// The forge refuses it for good. A newer one is still tried.
    pub async fn give_up_status(&self, owner: ProcessId, status: &LeasedStatus, error: &str) -> Result<()> {
        const GIVE_UP: &str = "update statuses set last_error = $7, lease_owner = null, lease_until = null, \
            state = case when wanted_seq = $6 then 'given_up' else 'due' end, \
            attempts = case when wanted_seq = $6 then attempts else 0 end where connection_id = $1 \
            and repo_path = $2 and commit_id = $3 and context = $4 and lease_owner = $5 and state = 'due'";
        let mut tx = self.begin_write().await?;
        let given_up = execute!(
            &mut tx,
            GIVE_UP,
            status.key.connection_id,
            &status.key.repo_path,
            &status.key.commit_id,
            &status.key.context,
            owner,
            status.wanted_seq,
            error
        );
        if given_up == 0 {
            return Err(StoreError::Stale("status"));
        }
        tx.commit().await
    }

    /// How the statuses of a build stand. The caller has checked that the build may be seen.
    pub async fn statuses_of_build(&self, build: BuildId) -> Result<Vec<StatusView>> {
        const OF_BUILD: &str = "select context, wanted, state, last_error, attempts, next_at, sent_at from statuses \
            where build_id = $1 order by context";
        Ok(on_db!(self, conn => sqlx::query_as(OF_BUILD).bind(build).fetch_all(conn).await?))
    }
}

impl StatusKey {
    /// The one order in which rows are locked everywhere.
    fn order(&self) -> (ConnectionId, &str, &str, &str) {
        (self.connection_id, &self.repo_path, &self.commit_id, &self.context)
    }
}

/// Rises only. The lease stays with whoever is sending the older one, so that nobody sends the newer one
/// beside it.
async fn upsert_wanted(tx: &mut Tx, wanted: &WantedStatus, now: DateTime<Utc>) -> Result<()> {
    const UPSERT: &str = "insert into statuses (connection_id, repo_path, commit_id, context, tenant_id, build_id, \
        ref, wanted, wanted_seq, sent_seq, state, attempts, next_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 'due', 0, $10) \
        on conflict (connection_id, repo_path, commit_id, context) do update set build_id = excluded.build_id, \
        ref = excluded.ref, wanted = excluded.wanted, wanted_seq = excluded.wanted_seq, state = 'due', attempts = 0, \
        next_at = case when statuses.state = 'due' and statuses.last_error is not null then statuses.next_at \
        else excluded.next_at end where excluded.wanted_seq > statuses.wanted_seq";
    execute!(
        tx,
        UPSERT,
        wanted.key.connection_id,
        &wanted.key.repo_path,
        &wanted.key.commit_id,
        &wanted.key.context,
        wanted.tenant_id,
        wanted.build_id,
        &wanted.git_ref,
        wanted.wanted,
        wanted.seq,
        now
    );
    Ok(())
}
