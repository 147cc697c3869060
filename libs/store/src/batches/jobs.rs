//! Jobs, their tenants' running rows and their builds. Rows are locked in the order job, tenant, build, and those of
//! one kind in the order of their ids.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use slipway_domain::build::{BuildState, CancelledBy};
use slipway_domain::ids::{BuildId, BuilderId, DispatchId, JobId, TenantId};
use slipway_domain::job::JobState;
use slipway_domain::spec::JobSpec;
use sqlx::types::Json;

use super::{Dialects, bound};
use crate::Db;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::Result;
use crate::jobs::Job;
use crate::readable::{Rows, split};

/// A job as it was read and as it shall be.
pub(crate) struct Change {
    pub(crate) old: Job,
    pub(crate) new: Job,
}

#[derive(Serialize)]
struct JobRow {
    id: JobId,
    was: i64,
    version: i64,
    state: JobState,
    epoch: i64,
    infra_retries: i64,
    dispatch_id: Option<DispatchId>,
    leave_epoch: Option<i64>,
    avoid_builder: Option<BuilderId>,
    avoid_until: Option<String>,
    cancelled_by: Option<CancelledBy>,
    queued_at: String,
    not_before: String,
    deadline_at: Option<String>,
    finished_at: Option<String>,
}

impl From<&Change> for JobRow {
    fn from(change: &Change) -> Self {
        let Change { old, new } = change;
        Self {
            id: old.id,
            was: old.version,
            version: new.version,
            state: new.state,
            epoch: new.epoch,
            infra_retries: new.infra_retries,
            dispatch_id: new.dispatch_id,
            leave_epoch: new.leave_epoch,
            avoid_builder: new.avoid_builder,
            avoid_until: new.avoid_until.map(bound),
            cancelled_by: new.cancelled_by,
            queued_at: bound(new.queued_at),
            not_before: bound(new.not_before),
            deadline_at: new.deadline_at.map(bound),
            finished_at: new.finished_at.map(bound),
        }
    }
}

/// Writes each new row where the old one still stands. Gives those that were written.
pub(crate) async fn save_jobs(tx: &mut Tx, changes: &[Change]) -> Result<HashSet<JobId>> {
    const SAVE: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(id uuid, was bigint, \
            version bigint, state text, epoch bigint, infra_retries bigint, dispatch_id uuid, leave_epoch bigint, \
            avoid_builder uuid, avoid_until timestamptz, cancelled_by text, queued_at timestamptz, \
            not_before timestamptz, deadline_at timestamptz, finished_at timestamptz)), \
            held as materialized (select j.id as held_id from jobs j join r on r.id = j.id where j.version = r.was \
            order by j.id for update of j) \
            update jobs j set state = r.state, version = r.version, epoch = r.epoch, \
            infra_retries = r.infra_retries, dispatch_id = r.dispatch_id, leave_epoch = r.leave_epoch, \
            avoid_builder = r.avoid_builder, avoid_until = r.avoid_until, cancelled_by = r.cancelled_by, \
            queued_at = r.queued_at, not_before = r.not_before, deadline_at = r.deadline_at, \
            finished_at = r.finished_at from held join r on r.id = held.held_id where j.id = held.held_id returning j.id",
        sqlite: "with r as materialized (select unhex(value ->> 'id', '-') as id, value ->> 'was' as was, \
            value as v from json_each($1)) \
            update jobs set state = v ->> 'state', version = v ->> 'version', epoch = v ->> 'epoch', \
            infra_retries = v ->> 'infra_retries', dispatch_id = unhex(v ->> 'dispatch_id', '-'), \
            leave_epoch = v ->> 'leave_epoch', avoid_builder = unhex(v ->> 'avoid_builder', '-'), \
            avoid_until = v ->> 'avoid_until', cancelled_by = v ->> 'cancelled_by', queued_at = v ->> 'queued_at', \
            not_before = v ->> 'not_before', deadline_at = v ->> 'deadline_at', finished_at = v ->> 'finished_at' \
            from r where jobs.id = r.id and jobs.version = r.was returning jobs.id",
    };
    let rows: Vec<JobRow> = changes.iter().map(JobRow::from).collect();
    let sql = SAVE.in_tx(tx);
    let saved: Vec<JobId> = on_tx!(tx, conn => sqlx::query_scalar(sql).bind(Json(&rows)).fetch_all(conn).await?);
    Ok(saved.into_iter().collect())
}

/// Jobs by their ids, as far as they are there.
pub(crate) async fn jobs(tx: &mut Tx, ids: &[JobId]) -> Result<HashMap<JobId, Job>> {
    const JOBS: Dialects = of_ids!(
        "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, dispatch_id, \
        leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, deadline_at, \
        finished_at from jobs where id",
        ""
    );
    read_jobs(tx, &JOBS, ids).await
}

/// The same, and they stay as they are until the transaction ends.
pub(crate) async fn lock_jobs(tx: &mut Tx, ids: &[JobId]) -> Result<HashMap<JobId, Job>> {
    const JOBS: Dialects = Dialects {
        postgres: "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
            dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, \
            deadline_at, finished_at from jobs \
            where id in (select r::uuid from jsonb_array_elements_text($1) as r) order by id for update",
        sqlite: "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
            dispatch_id, leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, \
            deadline_at, finished_at from jobs where id in (select unhex(value, '-') from json_each($1))",
    };
    read_jobs(tx, &JOBS, ids).await
}

async fn read_jobs(tx: &mut Tx, text: &Dialects, ids: &[JobId]) -> Result<HashMap<JobId, Job>> {
    let sql = text.in_tx(tx);
    let rows: Vec<Job> = on_tx!(tx, conn => sqlx::query_as(sql).bind(Json(ids)).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|job| (job.id, job)).collect())
}

/// What builders will be told of these jobs.
pub(crate) async fn job_specs(db: &Db, ids: &[JobId]) -> Result<HashMap<JobId, JobSpec>> {
    const SPECS: Dialects = of_ids!("select job_id, spec from job_specs where job_id", "");
    let sql = SPECS.in_db(db);
    let rows: Rows<(JobId, Json<JobSpec>)> =
        on_db!(db, conn => split(&sqlx::query(sql).bind(Json(ids)).fetch_all(conn).await?));
    Ok(rows.tell("job_specs").into_iter().map(|(job, Json(spec))| (job, spec)).collect())
}

#[derive(Serialize)]
struct TenantRow {
    tenant_id: TenantId,
    by: i64,
}

/// Moves running rows by so much. Gives how many were moved: one that would exceed its limit is not.
pub(crate) async fn move_running(tx: &mut Tx, by: &BTreeMap<TenantId, i64>) -> Result<u64> {
    const MOVE: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(tenant_id uuid, by bigint)), \
            held as materialized (select t.tenant_id as held_id from tenant_running t join r on r.tenant_id = t.tenant_id \
            order by t.tenant_id for update of t) \
            update tenant_running t set running = t.running + r.by from held join r on r.tenant_id = held.held_id \
            where t.tenant_id = held.held_id and (r.by < 0 or t.running + r.by <= t.running_limit)",
        sqlite: "with r as materialized (select unhex(value ->> 'tenant_id', '-') as tenant_id, value ->> 'by' as moved \
            from json_each($1)) \
            update tenant_running set running = running + r.moved from r where tenant_running.tenant_id = r.tenant_id \
            and (r.moved < 0 or running + r.moved <= running_limit)",
    };
    let rows: Vec<TenantRow> = by.iter().map(|(tenant, by)| TenantRow { tenant_id: *tenant, by: *by }).collect();
    let sql = MOVE.in_tx(tx);
    Ok(execute!(tx, sql, Json(&rows)))
}

/// How many jobs more each of these tenants may run.
pub(crate) async fn tenant_rooms(db: &Db, tenants: &BTreeSet<TenantId>) -> Result<HashMap<TenantId, i64>> {
    const ROOMS: Dialects =
        of_ids!("select tenant_id, running_limit - running from tenant_running where tenant_id", "");
    let sql = ROOMS.in_db(db);
    let rows: Vec<(TenantId, i64)> = on_db!(db, conn => sqlx::query_as(sql).bind(Json(tenants)).fetch_all(conn).await?);
    Ok(rows.into_iter().collect())
}

/// Keeps others from settling these builds, so that two jobs ending at once do not each miss the other.
pub(crate) async fn lock_builds(tx: &mut Tx, builds: &BTreeSet<BuildId>) -> Result<()> {
    const LOCK: &str = "select id from builds where id in (select r::uuid from jsonb_array_elements_text($1) as r) \
        order by id for update";
    match tx {
        Tx::Postgres(tx) => {
            sqlx::query(LOCK).bind(Json(builds)).execute(&mut **tx).await?;
        }
        // Whoever writes is alone.
        Tx::Sqlite(_) => {}
    }
    Ok(())
}

/// The states of all jobs of these builds.
pub(crate) async fn states_of_builds(
    tx: &mut Tx,
    builds: &BTreeSet<BuildId>,
) -> Result<BTreeMap<BuildId, Vec<(JobState, Option<CancelledBy>)>>> {
    const STATES: Dialects = of_ids!("select build_id, state, cancelled_by from jobs where build_id", "");
    let sql = STATES.in_tx(tx);
    let rows: Vec<(BuildId, JobState, Option<CancelledBy>)> =
        on_tx!(tx, conn => sqlx::query_as(sql).bind(Json(builds)).fetch_all(conn).await?);
    let mut states: BTreeMap<BuildId, Vec<_>> = builds.iter().map(|build| (*build, Vec::new())).collect();
    for (build, state, by) in rows {
        states.entry(build).or_default().push((state, by));
    }
    Ok(states)
}

#[derive(Serialize)]
struct BuildRow {
    id: BuildId,
    state: BuildState,
    started_at: Option<String>,
    finished_at: Option<String>,
}

/// Writes what these builds, which are locked, are now. A build that is over stays as it is.
pub(crate) async fn settle_builds(
    tx: &mut Tx,
    states: impl IntoIterator<Item = (BuildId, BuildState)>,
    now: DateTime<Utc>,
) -> Result<()> {
    const SETTLE: Dialects = Dialects {
        postgres: "update builds b set state = r.state, started_at = coalesce(b.started_at, r.started_at), \
            finished_at = r.finished_at from jsonb_to_recordset($1) as r(id uuid, state text, started_at timestamptz, \
            finished_at timestamptz) where b.id = r.id and b.finished_at is null",
        sqlite: "update builds set state = v ->> 'state', started_at = coalesce(started_at, v ->> 'started_at'), \
            finished_at = v ->> 'finished_at' \
            from (select unhex(value ->> 'id', '-') as build_id, value as v from json_each($1)) as r \
            where builds.id = r.build_id and builds.finished_at is null",
    };
    let rows: Vec<BuildRow> = states
        .into_iter()
        .map(|(id, state)| BuildRow {
            id,
            state,
            started_at: (state != BuildState::Pending).then(|| bound(now)),
            finished_at: state.is_terminal().then(|| bound(now)),
        })
        .collect();
    let sql = SETTLE.in_tx(tx);
    execute!(tx, sql, Json(&rows));
    Ok(())
}
