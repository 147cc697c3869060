//! What the rows say, compared with the reference, and the invariants of a job's life asked in SQL alone.

use chrono::{DateTime, Utc};
use slipway_domain::attempt::{AttemptOutcome, AttemptState, Phase};
use slipway_domain::build::BuildState;
use slipway_domain::ids::{BuildId, BuilderId, ClaimId, JobId, ProjectId, SessionId, TenantId};
use slipway_store::jobs::Job;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use super::model::{BUILDS, Model, RUNNING_LIMIT, TENANTS};
use super::real::words::{digest, id, number};
use crate::env::later;

const JOBS: &str = "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
    dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, \
    deadline_at, finished_at from jobs order by id";
const ATTEMPTS: &str = "select job_id, epoch, claim_id, builder_id, session_id, state, phase, outcome, started_at, \
    finished_at from attempts order by job_id, epoch";
const BUILD_ROWS: &str = "select id, state, finished_at from builds order by id";
const SESSIONS: &str = "select id, builder_id, state, draining, renewed_at, channel_closed_at, closed_at is null \
    from sessions order by id";
const BUILDERS: &str = "select id, serves_tenant, drained from builders order by id";
const TAGS: &str = "select tag, holder_job, holder_epoch, holder_until, holder_digest, shown_job, shown_digest \
    from tag_leases where version > 0 and (holder_job is not null or shown_job is not null) order by tag";
const SHOWN: &str = "select t.tag, t.project_id, t.ref, t.build_id, b.ref_order from tag_builds t join builds b on b.id = t.build_id \
    order by t.tag, t.build_id";
const RUNNING: &str = "select tenant_id, running from tenant_running";

/// Each line names what must never be, and selects it.
const INVARIANTS: &str = "\
    select 'a job with two open attempts' from attempts where state = 'open' group by job_id having count(*) > 1 \
    union all select 'an open attempt without a job that runs under its epoch' from attempts a \
        join jobs j on j.id = a.job_id \
        where a.state = 'open' and not (j.epoch = a.epoch and j.state in ('running', 'cancelling')) \
    union all select 'a job that runs without an open attempt' from jobs j where j.state in ('running', 'cancelling') \
        and not exists (select 1 from attempts a where a.job_id = j.id and a.epoch = j.epoch and a.state = 'open') \
    union all select 'an open attempt whose lease nobody renews' from attempts a join sessions s on s.id = a.session_id \
        where a.state = 'open' and s.state <> 'open' \
    union all select 'an attempt of another builder than its session' from attempts a \
        join sessions s on s.id = a.session_id where s.builder_id <> a.builder_id \
    union all select 'an epoch that was left out or given twice' from jobs j where j.epoch <> \
        (select count(*) from attempts a where a.job_id = j.id and a.epoch between 1 and j.epoch) \
    union all select 'a running row that is not the count of ready to cancelling' from tenant_running t \
        where t.running <> (select count(*) from jobs j where j.tenant_id = t.tenant_id \
        and j.state in ('ready', 'dispatched', 'running', 'cancelling')) \
    union all select 'a live row without a deadline, or a dead one with' from jobs where (deadline_at is null) <> \
        (state in ('succeeded', 'failed', 'timed_out', 'errored', 'cancelled', 'skipped')) \
    union all select 'a live row that has an end' from jobs where (deadline_at is null) <> (finished_at is not null) \
    union all select 'a dispatch id that is not on offer' from jobs \
        where (dispatch_id is not null) <> (state = 'dispatched') \
    union all select 'a leave of an attempt that was cancelled' from jobs \
        where leave_epoch = epoch and state = 'cancelling' \
    union all select 'a leave of nobody' from tag_leases t where t.holder_epoch is not null and not exists \
        (select 1 from attempts a where a.job_id = t.holder_job and a.epoch = t.holder_epoch) \
    union all select 'an attempt without a log' from attempts a where not exists \
        (select 1 from attempt_logs l where l.job_id = a.job_id and l.epoch = a.epoch) \
    union all select 'a builder with two open sessions' from sessions where state = 'open' \
        group by builder_id having count(*) > 1 \
    union all select 'a shared engine with two tenants' from attempts a join jobs j on j.id = a.job_id \
        join builders b on b.id = a.builder_id where b.serves_tenant <> j.tenant_id";

/// What a case leaves behind, dependants first.
const LEAVINGS: [&str; 14] = [
    "tag_builds",
    "tag_leases",
    "log_segments",
    "attempt_logs",
    "steps",
    "attempts",
    "job_specs",
    "jobs",
    "delivery_builds",
    "builds",
    "ref_heads",
    "sessions",
    "builders",
    "leaders",
];

/// A connection of its own, beside the store.
pub enum Rows {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

macro_rules! all {
    ($rows:expr, $row:ty, $sql:expr) => {
        match $rows {
            Rows::Sqlite(conn) => sqlx::query_as::<_, $row>($sql).fetch_all(conn).await,
            Rows::Postgres(conn) => sqlx::query_as::<_, $row>($sql).fetch_all(conn).await,
        }
        .unwrap_or_else(|error| panic!("{error}: {}", $sql))
    };
}

/// Two sides that must be the same, named.
macro_rules! same {
    ($what:expr, $rows:expr, $model:expr) => {
        let (rows, model) = ($rows, $model);
        if rows != model {
            return Err(format!("{}\n  the rows say  {rows:?}\n  but should be {model:?}", $what));
        }
    };
}

/// The newest build of a ref that a tag showed: tag, project, ref, build, order.
pub type Shown = (String, ProjectId, String, BuildId, i64);

impl Rows {
    pub async fn connect(url: &str) -> Self {
        if url.starts_with("sqlite") {
            Self::Sqlite(SqliteConnection::connect(url).await.expect("opens"))
        } else {
            Self::Postgres(PgConnection::connect(url).await.expect("opens"))
        }
    }

    /// Makes room for the next case.
    pub async fn clear(&mut self) {
        let mut sql: String = LEAVINGS.iter().map(|table| format!("delete from {table}; ")).collect();
        sql.push_str("update tenant_running set running = 0");
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(conn) => conn.execute(sql).await.map(|_| ()),
            Self::Postgres(conn) => conn.execute(sql).await.map(|_| ()),
        }
        .expect("nothing is in the way");
    }

    /// What stands against the invariants.
    pub async fn violations(&mut self) -> Vec<String> {
        all!(self, (String,), INVARIANTS).into_iter().map(|(what,)| what).collect()
    }

    /// Whether the rows are what the reference says. Gives those that are watched over time.
    pub async fn compare(&mut self, model: &Model, tenants: &[TenantId]) -> Result<(Vec<Job>, Vec<Shown>), String> {
        let (jobs, shown) = (all!(self, Job, JOBS), all!(self, Shown, SHOWN));
        self.compare_jobs(&jobs, model, tenants).await?;
        self.compare_attempts(model).await?;
        self.compare_sessions(model, tenants).await?;
        self.compare_tags(&shown, model).await?;
        Ok((jobs, shown))
    }

    async fn compare_jobs(&mut self, rows: &[Job], model: &Model, tenants: &[TenantId]) -> Result<(), String> {
        let numbers: Vec<usize> = rows.iter().map(|job| number(job.id)).collect();
        same!("jobs", numbers, model.jobs.keys().copied().collect::<Vec<_>>());
        for (row, (number, job)) in rows.iter().zip(&model.jobs) {
            let expected = Job {
                state: job.state,
                epoch: job.epoch(),
                infra_retries: job.retries,
                dispatch_id: job.dispatch.map(id),
                leave_epoch: job.leave,
                avoid_builder: job.avoid.map(|(builder, _)| id(builder)),
                avoid_until: job.avoid.map(|(_, until)| later(until)),
                cancelled_by: job.cancelled_by,
                queued_at: later(job.queued_at),
                not_before: later(job.not_before),
                deadline_at: job.deadline.map(later),
                finished_at: job.finished_at.map(later),
                ..row.clone()
            };
            same!(format!("job {number}"), row, &expected);
        }
        let rows: Vec<(BuildId, BuildState, Option<DateTime<Utc>>)> = all!(self, _, BUILD_ROWS);
        let build = |build: usize| model.build(build).map(|(state, over)| (id(build), state, over.map(later)));
        same!("builds", rows, (0..BUILDS.len()).filter_map(build).collect::<Vec<_>>());
        let mut rows: Vec<(TenantId, i64)> = all!(self, _, RUNNING);
        rows.sort_unstable();
        let running = |tenant: usize| {
            assert!(model.running(tenant) <= RUNNING_LIMIT);
            (tenants[tenant], model.running(tenant) as i64)
        };
        let mut expected: Vec<_> = (0..TENANTS).map(running).collect();
        expected.sort_unstable();
        same!("running rows", rows, expected);
        Ok(())
    }

    async fn compare_attempts(&mut self, model: &Model) -> Result<(), String> {
        type Row = (
            JobId,
            i64,
            ClaimId,
            BuilderId,
            SessionId,
            AttemptState,
            Phase,
            Option<AttemptOutcome>,
            DateTime<Utc>,
            Option<DateTime<Utc>>,
        );
        let rows: Vec<Row> = all!(self, _, ATTEMPTS);
        let mut expected: Vec<Row> = Vec::new();
        for (number, job) in &model.jobs {
            for (epoch, attempt) in (1..).zip(&job.attempts) {
                let state = if attempt.outcome.is_none() { AttemptState::Open } else { AttemptState::Closed };
                let (started, finished) = (later(attempt.started_at), attempt.finished_at.map(later));
                let (builder, session) = (id(attempt.builder), id(attempt.session as usize));
                let claim = id(attempt.claim as usize);
                let (phase, outcome) = (attempt.phase, attempt.outcome);
                expected.push((id(*number), epoch, claim, builder, session, state, phase, outcome, started, finished));
            }
        }
        same!("attempts", rows, expected);
        Ok(())
    }

    async fn compare_sessions(&mut self, model: &Model, tenants: &[TenantId]) -> Result<(), String> {
        type Row = (SessionId, BuilderId, String, bool, DateTime<Utc>, Option<DateTime<Utc>>, bool);
        let rows: Vec<Row> = all!(self, _, SESSIONS);
        let mut expected: Vec<Row> = Vec::new();
        for (number, session) in &model.sessions {
            let state = if session.open { "open" } else { "closed" }.to_owned();
            let (renewed, closed) = (later(session.renewed_at), session.channel_closed_at.map(later));
            let (builder, draining) = (id(session.builder), session.draining);
            expected.push((id(*number as usize), builder, state, draining, renewed, closed, session.open));
        }
        same!("sessions", rows, expected);
        let rows: Vec<(BuilderId, Option<TenantId>, bool)> = all!(self, _, BUILDERS);
        let known = model.builders.iter().enumerate().filter(|(_, builder)| builder.known);
        let expected =
            known.map(|(number, builder)| (id(number), builder.serves.map(|tenant| tenants[tenant]), builder.drained));
        same!("builders", rows, expected.collect::<Vec<_>>());
        Ok(())
    }

    async fn compare_tags(&mut self, shown: &[Shown], model: &Model) -> Result<(), String> {
        type Row =
            (String, Option<JobId>, Option<i64>, Option<DateTime<Utc>>, Option<String>, Option<JobId>, Option<String>);
        let rows: Vec<Row> = all!(self, _, TAGS);
        let mut expected: Vec<Row> = Vec::new();
        for (number, tag) in model.tags.iter().enumerate() {
            if tag.holder.is_none() && tag.shown.is_none() {
                continue;
            }
            let holder = tag.holder.as_ref();
            expected.push((
                format!("t{number}"),
                holder.map(|holder| id(holder.job)),
                holder.and_then(|holder| holder.epoch),
                holder.map(|holder| later(holder.until)),
                holder.map(|holder| digest(holder.digest)),
                tag.shown.map(|shown| id(shown.0)),
                tag.shown.map(digest),
            ));
        }
        same!("tags", rows, expected);
        let rows = shown.iter().map(|(tag, _, git_ref, build, _)| (tag.clone(), git_ref.clone(), *build));
        let expected = model
            .shown
            .iter()
            .map(|((tag, _, git_ref), build)| (format!("t{tag}"), (*git_ref).to_owned(), id::<BuildId>(*build)));
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        same!("builds that tags showed", rows, expected);
        Ok(())
    }
}
