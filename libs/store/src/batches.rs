//! The statements that take many rows as one JSON parameter: one way to the database and back, however many
//! rows there are. They are the only ones whose text differs between the two databases.
//!
//! Bodies do not travel in the JSON but one after the other in a parameter of their own, from which each row
//! cuts its piece: any bytes pass through, and none is encoded.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use slipway_domain::build::BuildState;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::event::HookAuth;
use slipway_domain::ids::{BuildId, DeliveryId, HookId, JobId, ProcessId, ProjectId, TenantId};
use slipway_domain::timing;
use sqlx::types::Json;

use crate::Db;
use crate::attempts::Attempt;
use crate::build_pages::{StatusRow, StepRow};
use crate::db::{Tx, execute, on_db};
use crate::deliveries::NewDelivery;
use crate::delivery_moves::Move;
use crate::delivery_work::DeliveryEnd;
use crate::error::Result;
use crate::hooks::HookRow;
use crate::jobs::{Job, delta};
use crate::projects::{Project, select_projects};
use crate::ref_heads::RefMove;
use crate::scope::Scope;
use crate::statuses::Reported;

/// A statement over the rows of these ids, which stand last in its condition.
macro_rules! of_ids {
    ($before:literal, $after:literal) => {
        Dialects {
            postgres: concat!($before, " in (select r::uuid from jsonb_array_elements_text($1) as r) ", $after),
            sqlite: concat!($before, " in (select unhex(value, '-') from json_each($1)) ", $after),
        }
    };
}

pub(crate) mod attempts;
pub(crate) mod jobs;
pub(crate) mod logs;

/// One statement in the words of each database.
struct Dialects {
    postgres: &'static str,
    sqlite: &'static str,
}

impl Dialects {
    fn in_db(&self, db: &Db) -> &'static str {
        match db {
            Db::Postgres(_) => self.postgres,
            Db::Sqlite(_) => self.sqlite,
        }
    }

    fn in_tx(&self, tx: &Tx) -> &'static str {
        match tx {
            Tx::Postgres(_) => self.postgres,
            Tx::Sqlite(_) => self.sqlite,
        }
    }
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    place: usize,
    id: DeliveryId,
    hook_id: HookId,
    project_id: ProjectId,
    tenant_id: TenantId,
    delivery_key: &'a str,
    event: &'a str,
    auth: HookAuth,
    state: DeliveryState,
    reason: Option<&'a str>,
    received_at: String,
    finished_at: Option<String>,
    attempts: i64,
    lease_owner: Option<ProcessId>,
    lease_until: Option<String>,
}

/// Inserts deliveries in this order; of equal ones (same hook, same key) the first. Gives how many there were
/// to insert.
pub(crate) async fn insert_deliveries(tx: &mut Tx, new: &[&NewDelivery]) -> Result<u64> {
    const INSERT: Dialects = Dialects {
        postgres: "insert into deliveries (id, hook_id, project_id, tenant_id, delivery_key, event, auth, state, \
            reason, received_at, finished_at, attempts, next_at, lease_owner, lease_until) \
            select r.id, r.hook_id, r.project_id, r.tenant_id, r.delivery_key, r.event, r.auth, r.state, r.reason, \
            r.received_at, r.finished_at, r.attempts, r.received_at, r.lease_owner, r.lease_until \
            from jsonb_to_recordset($1) as r(place bigint, id uuid, hook_id uuid, project_id uuid, \
            tenant_id uuid, delivery_key text, event text, auth text, state text, reason text, \
            received_at timestamptz, finished_at timestamptz, attempts bigint, lease_owner uuid, \
            lease_until timestamptz) \
            order by r.place on conflict (hook_id, delivery_key) do nothing",
        sqlite: "with r as materialized (select key as place, value as v from json_each($1)) \
            insert into deliveries (id, hook_id, project_id, tenant_id, delivery_key, event, auth, state, \
            reason, received_at, finished_at, attempts, next_at, lease_owner, lease_until) \
            select unhex(v ->> 'id', '-'), unhex(v ->> 'hook_id', '-'), unhex(v ->> 'project_id', '-'), \
            unhex(v ->> 'tenant_id', '-'), v ->> 'delivery_key', v ->> 'event', v ->> 'auth', v ->> 'state', \
            v ->> 'reason', v ->> 'received_at', v ->> 'finished_at', v ->> 'attempts', v ->> 'received_at', \
            unhex(v ->> 'lease_owner', '-'), v ->> 'lease_until' \
            from r where true order by place on conflict (hook_id, delivery_key) do nothing",
    };
    let rows: Vec<_> = new.iter().enumerate().map(|(place, new)| delivery_row(place, new)).collect();
    let sql = INSERT.in_tx(tx);
    Ok(execute!(tx, sql, Json(&rows)))
}

fn delivery_row(place: usize, new: &NewDelivery) -> DeliveryRow<'_> {
    let state = new.verdict.state();
    let held_by = new.held_by.filter(|_| state == DeliveryState::Received);
    DeliveryRow {
        place,
        id: new.id,
        hook_id: new.hook,
        project_id: new.project,
        tenant_id: new.tenant,
        delivery_key: &new.delivery_key,
        event: &new.event,
        auth: new.auth,
        state,
        reason: new.verdict.reason(),
        received_at: bound(new.now),
        finished_at: (state != DeliveryState::Received).then(|| bound(new.now)),
        attempts: i64::from(held_by.is_some()),
        lease_owner: held_by,
        lease_until: held_by.map(|_| bound(new.now + delta(timing::WORK_LEASE))),
    }
}

/// A time as it reads where it is bound alone, which is how SQLite compares it with others.
fn bound(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

#[derive(Serialize)]
struct PayloadRow<'a> {
    delivery_id: DeliveryId,
    headers: &'a BTreeMap<String, String>,
    /// Where its body begins, from 1, and how long it is.
    body_from: usize,
    body_bytes: usize,
    body_blob: Option<DeliveryId>,
}

/// Stores what came in with these deliveries, in place of what was there.
pub(crate) async fn put_payloads(tx: &mut Tx, payloads: &BTreeMap<DeliveryId, &NewDelivery>) -> Result<()> {
    const PUT: Dialects = Dialects {
        postgres: "insert into delivery_payloads (delivery_id, headers, body, body_blob) \
            select r.delivery_id, r.headers, substring($2 from r.body_from for r.body_bytes), r.body_blob \
            from jsonb_to_recordset($1) as r(delivery_id uuid, headers jsonb, body_from integer, body_bytes integer, \
            body_blob text) order by r.delivery_id on conflict (delivery_id) do update \
            set headers = excluded.headers, body = excluded.body, body_blob = excluded.body_blob",
        // A piece of no bytes is null to SQLite if there are none at all.
        sqlite: "with r as materialized (select key as place, value as v from json_each($1)) \
            insert into delivery_payloads (delivery_id, headers, body, body_blob) \
            select unhex(v ->> 'delivery_id', '-'), v ->> 'headers', \
            coalesce(substr($2, v ->> 'body_from', v ->> 'body_bytes'), x''), v ->> 'body_blob' \
            from r where true order by place on conflict (delivery_id) do update \
            set headers = excluded.headers, body = excluded.body, body_blob = excluded.body_blob",
    };
    let mut bodies = Vec::with_capacity(payloads.values().map(|new| new.body.len()).sum());
    let mut rows = Vec::with_capacity(payloads.len());
    for (delivery_id, new) in payloads {
        let (body_from, body_bytes) = (bodies.len() + 1, new.body.len());
        let body_blob = new.body_blob;
        rows.push(PayloadRow { delivery_id: *delivery_id, headers: &new.headers, body_from, body_bytes, body_blob });
        bodies.extend_from_slice(&new.body);
    }
    let sql = PUT.in_tx(tx);
    execute!(tx, sql, Json(&rows), bodies);
    Ok(())
}

#[derive(Serialize)]
struct MoveRow<'a> {
    place: usize,
    delivery_id: DeliveryId,
    event_index: i64,
    hook_id: HookId,
    move_key: &'a str,
}

/// Gives each of these moves the next number of its hook, in this order. Gives how many got one: a move does
/// not when it has a number, or when another process took it at the same time.
pub(crate) async fn insert_moves(tx: &mut Tx, told: &[(HookId, DeliveryId, &Move)]) -> Result<u64> {
    const INSERT: Dialects = Dialects {
        postgres: "insert into delivery_moves (delivery_id, event_index, hook_id, move_key, n) \
            select r.delivery_id, r.event_index, r.hook_id, r.move_key, \
            (select coalesce(max(m.n), 0) from delivery_moves m where m.hook_id = r.hook_id and m.move_key = r.move_key) \
            + row_number() over (partition by r.hook_id, r.move_key order by r.place) \
            from jsonb_to_recordset($1) as r(place bigint, delivery_id uuid, event_index bigint, hook_id uuid, \
            move_key text) where not exists (select 1 from delivery_moves k \
            where k.delivery_id = r.delivery_id and k.event_index = r.event_index) \
            order by r.place on conflict do nothing",
        sqlite: "with r as materialized (select key as place, unhex(value ->> 'delivery_id', '-') as delivery_id, \
            value ->> 'event_index' as event_index, unhex(value ->> 'hook_id', '-') as hook_id, \
            value ->> 'move_key' as move_key from json_each($1)) \
            insert into delivery_moves (delivery_id, event_index, hook_id, move_key, n) \
            select r.delivery_id, r.event_index, r.hook_id, r.move_key, \
            (select coalesce(max(m.n), 0) from delivery_moves m where m.hook_id = r.hook_id and m.move_key = r.move_key) \
            + row_number() over (partition by r.hook_id, r.move_key order by r.place) \
            from r where not exists (select 1 from delivery_moves k \
            where k.delivery_id = r.delivery_id and k.event_index = r.event_index) \
            order by r.place on conflict do nothing",
    };
    let mut rows = Vec::with_capacity(told.len());
    for (place, (hook_id, delivery_id, told)) in told.iter().enumerate() {
        let (event_index, move_key) = (told.event_index, told.key.as_str());
        rows.push(MoveRow { place, delivery_id: *delivery_id, event_index, hook_id: *hook_id, move_key });
    }
    let sql = INSERT.in_tx(tx);
    Ok(execute!(tx, sql, Json(&rows)))
}

#[derive(Serialize)]
struct EndRow<'a> {
    id: DeliveryId,
    state: DeliveryState,
    reason: Option<&'a str>,
}

/// Ends the work on the deliveries that this process holds; gives how many those were.
pub(crate) async fn finish_deliveries(
    tx: &mut Tx,
    owner: ProcessId,
    ends: &[(DeliveryId, DeliveryEnd)],
    now: DateTime<Utc>,
) -> Result<u64> {
    const FINISH: Dialects = Dialects {
        // Rows are locked in the order of their ids.
        postgres: "with held as (select d.id, r.state, r.reason from deliveries d \
            join jsonb_to_recordset($1) as r(id uuid, state text, reason text) on r.id = d.id \
            where d.lease_owner = $2 and d.state = 'received' order by d.id for update of d) \
            update deliveries d set state = h.state, reason = h.reason, finished_at = $3, lease_owner = null, \
            lease_until = null from held h where d.id = h.id",
        sqlite: "update deliveries set state = r.state, reason = r.reason, finished_at = $3, lease_owner = null, \
            lease_until = null from (select unhex(value ->> 'id', '-') as id, value ->> 'state' as state, \
            value ->> 'reason' as reason from json_each($1)) as r \
            where deliveries.id = r.id and deliveries.lease_owner = $2 and deliveries.state = 'received'",
    };
    let rows: Vec<EndRow<'_>> =
        ends.iter().map(|(id, end)| EndRow { id: *id, state: end.state, reason: end.reason.as_deref() }).collect();
    let sql = FINISH.in_tx(tx);
    Ok(execute!(tx, sql, Json(&rows), owner, now))
}

/// Those of these names of bodies that a row refers to.
pub(crate) async fn known_bodies(db: &Db, names: &[DeliveryId]) -> Result<Vec<String>> {
    const KNOWN: Dialects = Dialects {
        postgres: "select body_blob from delivery_payloads \
            where body_blob in (select r from jsonb_array_elements_text($1) as r)",
        sqlite: "select body_blob from delivery_payloads where body_blob in (select value from json_each($1))",
    };
    let sql = KNOWN.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_scalar(sql).bind(Json(names)).fetch_all(conn).await?))
}

/// The hooks among these ids, still sealed.
pub(crate) async fn hooks(db: &Db, ids: &[HookId]) -> Result<Vec<HookRow>> {
    const HOOKS: Dialects = Dialects {
        postgres: "select h.id, h.project_id, p.tenant_id, c.kind as forge, p.state as project_state, p.repo_path, \
            p.repo_id, h.secret_sealed, h.previous_sealed from hooks h join projects p on p.id = h.project_id \
            join connections c on c.id = p.connection_id \
            where h.id in (select r::uuid from jsonb_array_elements_text($1) as r)",
        sqlite: "select h.id, h.project_id, p.tenant_id, c.kind as forge, p.state as project_state, p.repo_path, \
            p.repo_id, h.secret_sealed, h.previous_sealed from hooks h join projects p on p.id = h.project_id \
            join connections c on c.id = p.connection_id \
            where h.id in (select unhex(value, '-') from json_each($1))",
    };
    let sql = HOOKS.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(ids)).fetch_all(conn).await?))
}

/// The projects among these ids that the scope sees.
pub(crate) async fn projects(db: &Db, scope: &Scope, ids: &[ProjectId]) -> Result<Vec<Project>> {
    const PROJECTS: Dialects = Dialects {
        postgres: concat!(
            select_projects!(),
            "where p.id in (select r::uuid from jsonb_array_elements_text($1) as r) \
            and ($2 or p.tenant_id = $3 or p.visibility = 'public')"
        ),
        sqlite: concat!(
            select_projects!(),
            "where p.id in (select unhex(value, '-') from json_each($1)) \
            and ($2 or p.tenant_id = $3 or p.visibility = 'public')"
        ),
    };
    let sql = PROJECTS.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql)
        .bind(Json(ids))
        .bind(scope.sight().all)
        .bind(scope.sight().tenant)
        .fetch_all(conn)
        .await?))
}

#[derive(Serialize)]
struct RefRow<'a> {
    project_id: ProjectId,
    git_ref: &'a str,
}

/// The heads of those refs that were heard of before: project, ref and head.
pub(crate) async fn heads(db: &Db, moves: &[RefMove<'_>]) -> Result<Vec<(ProjectId, String, Option<String>)>> {
    const HEADS: Dialects = Dialects {
        postgres: "select h.project_id, h.ref, h.head from ref_heads h where (h.project_id, h.ref) in \
            (select r.project_id, r.git_ref from jsonb_to_recordset($1) as r(project_id uuid, git_ref text))",
        sqlite: "select h.project_id, h.ref, h.head from ref_heads h where (h.project_id, h.ref) in \
            (select unhex(value ->> 'project_id', '-'), value ->> 'git_ref' from json_each($1))",
    };
    let refs: BTreeSet<_> = moves.iter().map(|moved| (moved.project, moved.git_ref.as_str())).collect();
    let rows: Vec<RefRow<'_>> = refs.into_iter().map(|(project_id, git_ref)| RefRow { project_id, git_ref }).collect();
    let sql = HEADS.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(&rows)).fetch_all(conn).await?))
}

/// The jobs of these builds, in the order in which they were made.
pub(crate) async fn jobs_of_builds(db: &Db, builds: &[BuildId]) -> Result<Vec<Job>> {
    const JOBS: Dialects = of_ids!(
        "select id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, dispatch_id, \
        leave_epoch, avoid_builder, avoid_until, cancelled_by, timeout_secs, queued_at, not_before, deadline_at, \
        finished_at from jobs where build_id",
        "order by id"
    );
    let sql = JOBS.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(builds)).fetch_all(conn).await?))
}

/// All attempts of these jobs, oldest first.
pub(crate) async fn attempts_of_jobs(db: &Db, jobs: &[JobId]) -> Result<Vec<Attempt>> {
    const ATTEMPTS: Dialects = of_ids!(
        "select a.job_id, a.epoch, a.claim_id, a.builder_id, b.name as builder_name, a.session_id, a.token_hash, \
        a.state, a.phase, a.outcome, a.failure, a.images, a.remarks, a.started_at, a.finished_at from attempts a \
        join builders b on b.id = a.builder_id where a.job_id",
        "order by a.epoch"
    );
    let sql = ATTEMPTS.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(jobs)).fetch_all(conn).await?))
}

/// The steps of the newest attempt of each of these jobs, in order.
pub(crate) async fn newest_steps_of_jobs(db: &Db, jobs: &[JobId]) -> Result<Vec<StepRow>> {
    const STEPS: Dialects = of_ids!(
        "select s.job_id, s.digest, s.number, s.name, s.state, s.cached, s.started_at, s.finished_at, s.exit_code, \
        s.moved_bytes, s.total_bytes, s.inputs, s.paused_ms \
        from steps s where s.job_id",
        "and s.epoch = (select max(a.epoch) from attempts a where a.job_id = s.job_id) order by s.number"
    );
    let sql = STEPS.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(jobs)).fetch_all(conn).await?))
}

/// How the statuses of these builds stand.
pub(crate) async fn statuses_of_builds(db: &Db, builds: &[BuildId]) -> Result<Vec<StatusRow>> {
    const STATUSES: Dialects = of_ids!(
        "select build_id, context, wanted, state, last_error, attempts, next_at, sent_at from statuses \
            where build_id",
        "order by context"
    );
    let sql = STATUSES.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(builds)).fetch_all(conn).await?))
}

#[derive(Serialize)]
struct SeenRow {
    id: BuildId,
    state: BuildState,
}

/// Notes the states in which the reporter saw builds, where they still are in them.
pub(crate) async fn see_builds(tx: &mut Tx, seen: &[Reported]) -> Result<()> {
    const SEEN: Dialects = Dialects {
        postgres: "with r as materialized (select * from jsonb_to_recordset($1) as r(id uuid, state text)), \
            held as materialized (select b.id as held_id from builds b join r on r.id = b.id where b.state = r.state \
            order by b.id for update of b) \
            update builds b set reported = r.state from held join r on r.id = held.held_id \
            where b.id = held.held_id and b.state = r.state",
        sqlite: "update builds set reported = v ->> 'state' \
            from (select unhex(value ->> 'id', '-') as seen, value as v from json_each($1)) as r \
            where builds.id = r.seen and builds.state = v ->> 'state'",
    };
    let rows: Vec<SeenRow> = seen.iter().map(|seen| SeenRow { id: seen.build_id, state: seen.state }).collect();
    let sql = SEEN.in_tx(tx);
    execute!(tx, sql, Json(&rows));
    Ok(())
}

/// For each of these jobs: how many of its pool are before it, and whether its tenant is at its limit.
pub(crate) async fn queue_places(db: &Db, jobs: &[JobId]) -> Result<Vec<(JobId, i64, i64)>> {
    const PLACES: Dialects = of_ids!(
        "select j.id, (select count(*) from jobs a where a.state in ('queued', 'ready', 'dispatched') \
        and a.pool = j.pool and a.id < j.id), (select count(*) from tenant_running t \
        where t.tenant_id = j.tenant_id and t.running >= t.running_limit) from jobs j where j.id",
        ""
    );
    let sql = PLACES.in_db(db);
    Ok(on_db!(db, conn => sqlx::query_as(sql).bind(Json(jobs)).fetch_all(conn).await?))
}
