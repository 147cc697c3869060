//! Leaves that their holders never returned: whether the tag moved, only the registry knows. Whoever looks
//! there takes the row over first, so that nobody moves the tag meanwhile.
//!
//! Row: `tag_leases`, compare-and-set on `version`. While it is looked into, `holder_job` stays and
//! `holder_epoch` is null, so the row is held, but by no attempt: a return or another request of the old
//! holder finds nothing of its own. A looker that dies, or that learnt nothing, leaves the row as it is; it
//! is due again when its lease is over for as long as a lease.

use chrono::{DateTime, Utc};
use slipway_domain::ids::{JobId, TenantId};
use slipway_domain::timing;
use sqlx::FromRow;

use crate::Db;
use crate::db::execute;
use crate::error::Result;
use crate::jobs::delta;
use crate::readable::readable;
use crate::tags::note_shown;

/// Due leaves of one registry that one look finds.
const OF_ONE_REGISTRY: i64 = 4;
/// Due leaves that one look finds.
const OF_ALL_REGISTRIES: i64 = 1000;

/// A leave that was given and never returned, held by the caller for [`timing::LEAVE_LEASE`].
pub struct UnreturnedLeave {
    /// Registry host with port.
    pub registry: String,
    /// Path of the repository there.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The holder's tenant, whose credential opens the registry.
    pub tenant: TenantId,
    /// The holder.
    pub job: JobId,
    /// When the holder's job ended, if it did.
    pub job_finished_at: Option<DateTime<Utc>>,
    /// The digest that the holder was moving the tag to.
    pub holder_digest: String,
    /// The digest that the tag showed before, as far as we know.
    pub shown_digest: Option<String>,
    /// True if that is of a newer build of the holder's ref.
    pub shown_is_newer: bool,
    version: i64,
}

/// What a look at the registry taught about an unreturned leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The tag shows the holder's build.
    Moved,
    /// It does not, and the row says what it shows.
    NotMoved,
}

/// A leave that may be taken over now.
#[derive(Debug, Clone, FromRow)]
pub struct DueLeave {
    /// Registry host with port.
    pub registry: String,
    /// Path of the repository there.
    pub repository: String,
    /// The tag.
    pub tag: String,
    version: i64,
    holder_job: JobId,
    holder_digest: String,
    shown_digest: Option<String>,
    tenant_id: TenantId,
    /// When the holder's job ended, if it did.
    #[sqlx(rename = "finished_at")]
    pub job_finished_at: Option<DateTime<Utc>>,
    shown_is_newer: i32,
}

impl Db {
    /// Leaves that ended [`timing::LEAVE_LEASE`] ago without a return: of each registry a few, the oldest first,
    /// so that one registry with many hides no other's. By then no PUT of a holder is on its way any more.
    pub async fn due_leaves(&self, now: DateTime<Utc>) -> Result<Vec<DueLeave>> {
        const DUE: &str = "select d.registry, d.repository, d.tag, d.version, d.holder_job, d.holder_digest, \
            d.shown_digest, j.tenant_id, j.finished_at, case when exists (select 1 from jobs sj \
            join builds s on s.id = sj.build_id where sj.id = d.shown_job and s.project_id = b.project_id \
            and s.ref = b.ref and s.ref_order > b.ref_order) then 1 else 0 end as shown_is_newer from \
            (select t.registry, t.repository, t.tag, t.version, t.holder_job, t.holder_digest, t.holder_until, \
            t.shown_job, t.shown_digest, row_number() over (partition by t.registry order by t.holder_until) as place \
            from tag_leases t where t.holder_until <= $1 and t.holder_digest is not null) d \
            join jobs j on j.id = d.holder_job join builds b on b.id = j.build_id \
            where d.place <= $2 order by d.place, d.holder_until limit $3";
        let overdue = now - delta(timing::LEAVE_LEASE);
        Ok(readable!(self, "tag_leases", DUE, [overdue], limits [OF_ONE_REGISTRY, OF_ALL_REGISTRIES]))
    }

    /// Takes over those of these leaves that nobody touched meanwhile. Of two processes one gets a leave.
    pub async fn take_leaves(&self, now: DateTime<Utc>, mut due: Vec<DueLeave>) -> Result<Vec<UnreturnedLeave>> {
        const TAKE: &str = "update tag_leases set version = version + 1, holder_epoch = null, holder_until = $5 \
            where registry = $1 and repository = $2 and tag = $3 and version = $4";
        if due.is_empty() {
            return Ok(Vec::new());
        }
        // Two processes take the rows in one order.
        due.sort_by(|a, b| (&a.registry, &a.repository, &a.tag).cmp(&(&b.registry, &b.repository, &b.tag)));
        let mut taken = Vec::new();
        let mut tx = self.begin_write().await?;
        for row in due {
            let until = now + delta(timing::LEAVE_LEASE);
            if execute!(&mut tx, TAKE, &row.registry, &row.repository, &row.tag, row.version, until) == 1 {
                taken.push(row.into());
            }
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Ends an unreturned leave as the registry shows it. False if the row is not the caller's any more;
    /// then nothing is written.
    pub async fn settle_unreturned_leave(&self, leave: &UnreturnedLeave, found: Found) -> Result<bool> {
        const MOVED: &str = "update tag_leases set version = version + 1, holder_job = null, holder_epoch = null, \
            holder_until = null, holder_digest = null, shown_job = $5, shown_digest = $6 where registry = $1 and repository = $2 and tag = $3 and version = $4";
        const NOT_MOVED: &str = "update tag_leases set version = version + 1, holder_job = null, \
            holder_epoch = null, holder_until = null, holder_digest = null \
            where registry = $1 and repository = $2 and tag = $3 and version = $4";
        let mut tx = self.begin_write().await?;
        let (registry, repository, tag) = (&leave.registry, &leave.repository, &leave.tag);
        let settled = match found {
            Found::Moved => {
                execute!(&mut tx, MOVED, registry, repository, tag, leave.version, leave.job, &leave.holder_digest)
            }
            Found::NotMoved => execute!(&mut tx, NOT_MOVED, registry, repository, tag, leave.version),
        };
        if found == Found::Moved && settled == 1 {
            note_shown(&mut tx, (registry, repository, tag), leave.job).await?;
        }
        tx.commit().await?;
        Ok(settled == 1)
    }
}

impl From<DueLeave> for UnreturnedLeave {
    fn from(row: DueLeave) -> Self {
        Self {
            registry: row.registry,
            repository: row.repository,
            tag: row.tag,
            tenant: row.tenant_id,
            job: row.holder_job,
            job_finished_at: row.job_finished_at,
            holder_digest: row.holder_digest,
            shown_digest: row.shown_digest,
            shown_is_newer: row.shown_is_newer == 1,
            version: row.version + 1,
        }
    }
}
