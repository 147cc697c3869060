//! Leave: the permission to move one user tag. Job and tag are decided in one transaction: after a cancel no
//! leave is given, after leave no cancel is taken.
//!
//! Row: `tag_leases (registry, repository, tag)`, compare-and-set on `version`. The loser waits. A holder
//! that dies keeps the lease until `holder_until`, which lies behind the longest PUT, so no PUT of a dead
//! holder lands after the next holder's; what it did is found out in [`crate::unreturned_leaves`]. A holder that lives
//! but was not heard for so long says in the end what it did: where an older build of its ref got the tag meanwhile, the
//! row is left to the same look, which puts the newer one back.

use chrono::{DateTime, Utc};
use slipway_domain::agent::{Leave, LeaveRequest, LeaveReturn, PushedImage};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::{JobId, ProjectId};
use slipway_domain::job::JobState;
use slipway_domain::timing;
use sqlx::FromRow;

use crate::Db;
use crate::db::{Tx, execute, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::{Job, Saved, delta, job_in, save};

/// How long a builder waits before it asks again for a tag that somebody holds.
const ASK_AGAIN_MS: u64 = 500;

#[derive(FromRow)]
struct TagRow {
    version: i64,
    holder_job: Option<JobId>,
    holder_epoch: Option<i64>,
    holder_until: Option<DateTime<Utc>>,
}

/// Where a job stands within its ref.
#[derive(FromRow)]
struct Place {
    project_id: ProjectId,
    #[sqlx(rename = "ref")]
    git_ref: Option<String>,
    ref_order: Option<i64>,
}

impl Db {
    /// Decides whether this attempt may move this tag now. Repeating a request repeats the answer.
    pub async fn request_leave(
        &self,
        attempt: AttemptRef,
        request: &LeaveRequest,
        now: DateTime<Utc>,
    ) -> Result<Leave> {
        let mut tx = self.begin_write().await?;
        let job = job_in(&mut tx, attempt.job).await?;
        match job.state {
            JobState::Running if job.epoch == attempt.epoch => {}
            JobState::Cancelling if job.epoch == attempt.epoch => return Ok(Leave::Cancelled),
            _ => return Err(StoreError::Stale("attempt")),
        }
        let place = place(&mut tx, &job).await?;
        let tag = tag_row(&mut tx, request).await?;
        if showed_newer(&mut tx, request, &place).await? {
            let reason = "the tag already shows a newer build of the same ref".to_owned();
            return Ok(Leave::NotMoved { reason });
        }
        if tag.held_by_other(attempt, now) {
            return Ok(Leave::Wait { retry_ms: ASK_AGAIN_MS });
        }
        // Also for the second tag: an attempt that ends at this moment gets none.
        let next = Job { leave_epoch: Some(attempt.epoch), version: job.version + 1, ..job.clone() };
        if save(&mut tx, &job, &next, now).await? != Saved::Yes {
            return Ok(Leave::Wait { retry_ms: 0 });
        }
        if !hold(&mut tx, request, &tag, attempt, now).await? {
            return Ok(Leave::Wait { retry_ms: ASK_AGAIN_MS });
        }
        slipway_runtime::crash::point("leave.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("leave.after_commit");
        let within_ms = u64::try_from(timing::LEAVE_LEASE.as_millis() / 2).unwrap_or(u64::MAX);
        Ok(Leave::Granted { within_ms, lease: Some(tag.version + 1) })
    }

    /// Ends a leave; with `moved` the tag shows this build from now on. Repeating it changes nothing.
    pub async fn return_leave(&self, attempt: AttemptRef, leave: &LeaveReturn, now: DateTime<Utc>) -> Result<()> {
        const NOT_MOVED: &str = "update tag_leases set version = version + 1, holder_job = null, \
            holder_epoch = null, holder_until = null, holder_digest = null \
            where registry = $1 and repository = $2 and tag = $3 and holder_job = $4 and holder_epoch = $5";
        let request = &leave.leave;
        let mut tx = self.begin_write().await?;
        if leave.moved {
            show(&mut tx, (attempt, leave.lease), request, now).await?;
        } else {
            execute!(
                &mut tx,
                NOT_MOVED,
                &request.registry,
                &request.repository,
                &request.tag,
                attempt.job,
                attempt.epoch
            );
        }
        tx.commit().await?;
        slipway_runtime::crash::point("leave.returned");
        Ok(())
    }
}

impl TagRow {
    fn held_by_other(&self, attempt: AttemptRef, now: DateTime<Utc>) -> bool {
        let mine = self.holder_job == Some(attempt.job) && self.holder_epoch == Some(attempt.epoch);
        self.holder_job.is_some() && !mine && self.holder_until.is_some_and(|until| until > now)
    }
}

/// Returns the leaves of the tags that attempts say they moved: the answer to a return may never have come, and an
/// older build must not move the tag back.
pub(crate) async fn return_moved<'a>(
    tx: &mut Tx,
    ended: impl IntoIterator<Item = (AttemptRef, &'a [PushedImage])>,
    now: DateTime<Utc>,
) -> Result<()> {
    let moved = |(attempt, images): (AttemptRef, &'a [PushedImage])| {
        let leaves =
            images.iter().filter(|image| image.moved).filter_map(|image| Some((leave_of(image)?, image.lease)));
        leaves.map(move |(leave, lease)| (leave, (attempt, lease)))
    };
    let mut moved: Vec<(LeaveRequest, (AttemptRef, Option<i64>))> = ended.into_iter().flat_map(moved).collect();
    // Whatever ends at once takes the rows in one order.
    moved.sort_by(|(a, _), (b, _)| (&a.registry, &a.repository, &a.tag).cmp(&(&b.registry, &b.repository, &b.tag)));
    for (request, attempt) in &moved {
        show(tx, *attempt, request, now).await?;
    }
    Ok(())
}

/// `host/path:tag` as it was asked for.
fn leave_of(image: &PushedImage) -> Option<LeaveRequest> {
    let (registry, rest) = image.reference.split_once('/')?;
    let (repository, tag) = rest.rsplit_once(':')?;
    let [registry, repository, tag] = [registry, repository, tag].map(str::to_owned);
    Some(LeaveRequest { registry, repository, tag, digest: image.digest.clone() })
}

/// The registry took this attempt's PUT under this leave, so the tag shows its build from now on; unless the leave has
/// passed on.
async fn show(
    tx: &mut Tx,
    (attempt, lease): (AttemptRef, Option<i64>),
    request: &LeaveRequest,
    now: DateTime<Utc>,
) -> Result<()> {
    const SHOW: &str = "update tag_leases set version = version + 1, holder_job = null, holder_epoch = null, \
        holder_until = null, holder_digest = null, shown_job = $4, shown_digest = $6 \
        where registry = $1 and repository = $2 and tag = $3 and holder_job = $4 and holder_epoch = $5 \
        and version = coalesce($7, version) and not exists (select 1 from tag_builds t \
        join builds n on n.id = t.build_id join jobs j on j.id = $4 join builds b on b.id = j.build_id where t.registry = $1 and t.repository = $2 and t.tag = $3 \
        and t.project_id = b.project_id and t.ref = b.ref and n.ref_order > b.ref_order)";
    const NOW: &str = "select case when holder_job = $4 and holder_epoch = $5 then 1 else 0 end as held, \
        case when shown_job = $4 then 1 else 0 end as shown from tag_leases \
        where registry = $1 and repository = $2 and tag = $3";
    let LeaveRequest { registry, repository, tag, digest } = request;
    if execute!(tx, SHOW, registry, repository, tag, attempt.job, attempt.epoch, digest, lease) == 1 {
        return note_shown(tx, (registry, repository, tag), attempt.job).await;
    }
    let row: Option<(i32, i32)> = on_tx!(tx, conn => sqlx::query_as(NOW)
        .bind(registry)
        .bind(repository)
        .bind(tag)
        .bind(attempt.job)
        .bind(attempt.epoch)
        .fetch_optional(conn)
        .await?);
    match row {
        Some((1, _)) => {
            // Under another leave than the one it has: in between it was somebody else's, who may have moved the tag.
            if lease.is_none() || !show_again(tx, attempt, request, now).await? {
                give_over(tx, attempt, request, now).await?;
            }
            Ok(())
        }
        Some((_, 0)) => show_late(tx, attempt, request, now).await,
        Some(_) | None => Ok(()),
    }
}

/// A newer build of the ref said late that it had moved the tag, before this attempt did: the sweeper puts it back.
async fn give_over(tx: &mut Tx, attempt: AttemptRef, request: &LeaveRequest, now: DateTime<Utc>) -> Result<()> {
    const GIVE_OVER: &str = "update tag_leases set version = version + 1, holder_epoch = null, holder_until = $6 \
        where registry = $1 and repository = $2 and tag = $3 and holder_job = $4 and holder_epoch = $5";
    let LeaveRequest { registry, repository, tag, digest: _ } = request;
    execute!(tx, GIVE_OVER, registry, repository, tag, attempt.job, attempt.epoch, now);
    Ok(())
}

/// The attempt has the leave again, by a late copy of its request, and had moved the tag before. If an older build of its
/// ref moved it in between, the row says that the tag should show this one, and the sweeper looks. False if none did.
async fn show_again(tx: &mut Tx, attempt: AttemptRef, request: &LeaveRequest, now: DateTime<Utc>) -> Result<bool> {
    const PUT_BACK: &str = "update tag_leases set version = version + 1, holder_job = shown_job, holder_epoch = null, \
        holder_until = $6, holder_digest = shown_digest, shown_job = $4, shown_digest = $5 \
        where registry = $1 and repository = $2 and tag = $3 and holder_job = $4 and holder_epoch = $7 \
        and exists (select 1 from jobs j join builds b on b.id = j.build_id join tag_builds t on t.build_id = b.id \
        join jobs oj on oj.id = tag_leases.shown_job join builds o on o.id = oj.build_id where j.id = $4 \
        and t.registry = $1 and t.repository = $2 and t.tag = $3 and o.project_id = b.project_id and o.ref = b.ref \
        and o.ref_order < b.ref_order)";
    let LeaveRequest { registry, repository, tag, digest } = request;
    note_shown(tx, (registry, repository, tag), attempt.job).await?;
    Ok(execute!(tx, PUT_BACK, registry, repository, tag, attempt.job, digest, now, attempt.epoch) == 1)
}

/// The attempt's word comes after its leave has passed on. If an older build of its ref has the tag, or had it last, the
/// row says that the tag should show this one, and the sweeper looks.
async fn show_late(tx: &mut Tx, attempt: AttemptRef, request: &LeaveRequest, now: DateTime<Utc>) -> Result<()> {
    const PUT_BACK: &str = "update tag_leases set version = version + 1, \
        holder_job = coalesce(holder_job, shown_job), holder_until = coalesce(holder_until, $6), \
        holder_digest = coalesce(holder_digest, shown_digest), shown_job = $4, shown_digest = $5 \
        where registry = $1 and repository = $2 and tag = $3 and exists (select 1 from jobs j \
        join builds b on b.id = j.build_id join tag_builds t on t.build_id = b.id \
        join jobs oj on oj.id = coalesce(tag_leases.holder_job, tag_leases.shown_job) \
        join builds o on o.id = oj.build_id where j.id = $4 and t.registry = $1 and t.repository = $2 \
        and t.tag = $3 and o.project_id = b.project_id and o.ref = b.ref and o.ref_order < b.ref_order)";
    let LeaveRequest { registry, repository, tag, digest } = request;
    note_shown(tx, (registry, repository, tag), attempt.job).await?;
    execute!(tx, PUT_BACK, registry, repository, tag, attempt.job, digest, now);
    Ok(())
}

/// Keeps the job's build as the newest of its ref that the tag showed, unless a newer one was shown before.
pub(crate) async fn note_shown(tx: &mut Tx, (registry, repository, tag): (&str, &str, &str), job: JobId) -> Result<()> {
    const NOTE: &str = "insert into tag_builds (registry, repository, tag, project_id, ref, build_id) \
        select $1, $2, $3, b.project_id, b.ref, b.id from jobs j join builds b on b.id = j.build_id \
        where j.id = $4 and b.ref is not null and b.ref_order is not null \
        on conflict (registry, repository, tag, project_id, ref) do update set build_id = excluded.build_id \
        where (select ref_order from builds where id = tag_builds.build_id) \
            < (select ref_order from builds where id = excluded.build_id)";
    execute!(tx, NOTE, registry, repository, tag, job);
    Ok(())
}

/// True if the tag ever showed a newer build of the same ref. Between refs and projects the later leave wins.
async fn showed_newer(tx: &mut Tx, request: &LeaveRequest, place: &Place) -> Result<bool> {
    const SHOWN: &str = "select b.ref_order from tag_builds t join builds b on b.id = t.build_id \
        where t.registry = $1 and t.repository = $2 and t.tag = $3 and t.project_id = $4 and t.ref = $5";
    let (Some(git_ref), Some(mine)) = (&place.git_ref, place.ref_order) else { return Ok(false) };
    let shown: Option<i64> = on_tx!(tx, conn => sqlx::query_scalar(SHOWN)
        .bind(&request.registry)
        .bind(&request.repository)
        .bind(&request.tag)
        .bind(place.project_id)
        .bind(git_ref)
        .fetch_optional(conn)
        .await?);
    Ok(shown.is_some_and(|shown| shown > mine))
}

async fn place(tx: &mut Tx, job: &Job) -> Result<Place> {
    const PLACE: &str = "select project_id, ref, ref_order from builds where id = $1";
    Ok(on_tx!(tx, conn => sqlx::query_as::<_, Place>(PLACE).bind(job.build_id).fetch_one(conn).await?))
}

async fn tag_row(tx: &mut Tx, request: &LeaveRequest) -> Result<TagRow> {
    const INSERT: &str = "insert into tag_leases (registry, repository, tag, version) values ($1, $2, $3, 0) \
        on conflict (registry, repository, tag) do nothing";
    const READ: &str = "select version, holder_job, holder_epoch, holder_until \
        from tag_leases where registry = $1 and repository = $2 and tag = $3";
    execute!(tx, INSERT, &request.registry, &request.repository, &request.tag);
    Ok(on_tx!(tx, conn => sqlx::query_as::<_, TagRow>(READ)
        .bind(&request.registry)
        .bind(&request.repository)
        .bind(&request.tag)
        .fetch_one(conn)
        .await?))
}

async fn hold(
    tx: &mut Tx,
    request: &LeaveRequest,
    tag: &TagRow,
    attempt: AttemptRef,
    now: DateTime<Utc>,
) -> Result<bool> {
    const HOLD: &str = "update tag_leases set version = version + 1, holder_job = $5, holder_epoch = $6, \
        holder_until = $7, holder_digest = $8 where registry = $1 and repository = $2 and tag = $3 and version = $4";
    let written = execute!(
        tx,
        HOLD,
        &request.registry,
        &request.repository,
        &request.tag,
        tag.version,
        attempt.job,
        attempt.epoch,
        now + delta(timing::LEAVE_LEASE),
        &request.digest
    );
    Ok(written == 1)
}
