//! Which builder a job avoids: the one that had a fault with it, lost it or was refused it, for a moment, while another
//! could take it. Only a preference: whoever reads it a moment too early or too late runs the job at the worse place, once.

use chrono::{DateTime, Utc};
use slipway_domain::ids::BuilderId;
use slipway_domain::timing;

use crate::Db;
use crate::db::{Tx, on_db, on_tx};
use crate::error::Result;
use crate::jobs::{Job, delta};

/// How many others of the pool are there, take jobs and may have one of this tenant.
const OTHERS: &str = "select count(*) from sessions s join builders b on b.id = s.builder_id where s.pool = $1 \
    and s.state = 'open' and s.builder_id <> $2 and s.channel_closed_at is null and s.renewed_at > $3 \
    and s.draining = $4 and b.drained = $4 and (b.serves_tenant is null or b.serves_tenant = $5)";

impl Db {
    /// The builder that shall not be offered the job now.
    pub async fn avoided_builder(&self, job: &Job, now: DateTime<Utc>) -> Result<Option<BuilderId>> {
        let Some(builder) = job.avoids(now) else { return Ok(None) };
        let others: i64 = on_db!(self, conn => sqlx::query_scalar(OTHERS)
            .bind(job.pool.to_string())
            .bind(builder)
            .bind(now - delta(timing::HEARTBEAT * 2))
            .bind(false)
            .bind(job.tenant_id)
            .fetch_one(conn)
            .await?);
        Ok((others > 0).then_some(builder))
    }
}

impl Job {
    /// Which builder it avoids if another could take it.
    pub(crate) fn avoids(&self, now: DateTime<Utc>) -> Option<BuilderId> {
        self.avoid_until.filter(|until| now < *until).and(self.avoid_builder)
    }
}

/// The same for a claim, in its transaction.
pub(crate) async fn avoids(tx: &mut Tx, job: &Job, builder: BuilderId, now: DateTime<Utc>) -> Result<bool> {
    if job.avoids(now) != Some(builder) {
        return Ok(false);
    }
    let others: i64 = on_tx!(tx, conn => sqlx::query_scalar(OTHERS)
        .bind(job.pool.to_string())
        .bind(builder)
        .bind(now - delta(timing::HEARTBEAT * 2))
        .bind(false)
        .bind(job.tenant_id)
        .fetch_one(conn)
        .await?);
    Ok(others > 0)
}
