//! Working the inbox: a delivery is leased, worked from its row, and ended or put off.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{DeliveryId, HookId, ProcessId, ProjectId};
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::batches;
use crate::db::{execute, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::delta;
use crate::readable::{Rows, split};

/// A delivery that this process may work until its lease ends.
#[derive(Debug, Clone, FromRow)]
pub struct LeasedDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where it came in.
    pub hook_id: HookId,
    /// The project.
    pub project_id: ProjectId,
    /// The headers, without secrets.
    pub headers: Json<BTreeMap<String, String>>,
    /// The body, without secrets; empty where it lies in object storage.
    pub body: Vec<u8>,
    /// Where it lies in object storage, if it does.
    pub body_blob: Option<String>,
    /// How often it was tried, this time included.
    pub attempts: i64,
}

/// How the work on a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEnd {
    /// `done`, `ignored` or `failed`.
    pub state: DeliveryState,
    /// Why it made no build.
    pub reason: Option<String>,
}

impl Db {
    /// Takes the oldest due deliveries for [`timing::WORK_LEASE`], at most `limit`.
    pub async fn lease_deliveries(
        &self,
        owner: ProcessId,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<LeasedDelivery>> {
        // The outer condition is checked again on the row itself, so of two processes one gets it.
        const LEASE: &str = "update deliveries set lease_owner = $1, lease_until = $2, attempts = attempts + 1 \
            where id in (select id from deliveries where state = 'received' and next_at <= $3 \
            and (lease_until is null or lease_until < $3) order by next_at, id limit $4) \
            and state = 'received' and (lease_until is null or lease_until < $3) \
            returning id, hook_id, project_id, attempts, \
            (select p.headers from delivery_payloads p where p.delivery_id = deliveries.id) as headers, \
            (select p.body from delivery_payloads p where p.delivery_id = deliveries.id) as body, \
            (select p.body_blob from delivery_payloads p where p.delivery_id = deliveries.id) as body_blob";
        let mut tx = self.begin_write().await?;
        let leased: Rows<LeasedDelivery> = on_tx!(&mut tx, conn => split(&sqlx::query(LEASE)
            .bind(owner)
            .bind(now + delta(timing::WORK_LEASE))
            .bind(now)
            .bind(limit)
            .fetch_all(conn)
            .await?));
        tx.commit().await?;
        // One that does not read stays leased, and so leaves its place to others until the lease ends.
        let mut leased = leased.tell("deliveries");
        leased.sort_by_key(|delivery| delivery.id);
        Ok(leased)
    }

    /// Ends the work on a delivery. `Stale` when the lease went to somebody else.
    pub async fn finish_delivery(
        &self,
        owner: ProcessId,
        id: DeliveryId,
        end: &DeliveryEnd,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let stale = self.finish_deliveries(owner, &[(id, end.clone())], now).await?;
        if stale.is_empty() { Ok(()) } else { Err(StoreError::Stale("delivery")) }
    }

    /// Ends the work on many deliveries with one flush. Returns those whose lease went to somebody else.
    pub async fn finish_deliveries(
        &self,
        owner: ProcessId,
        ends: &[(DeliveryId, DeliveryEnd)],
        now: DateTime<Utc>,
    ) -> Result<Vec<DeliveryId>> {
        const FINISH: &str = "update deliveries set state = $3, reason = $4, finished_at = $5, lease_owner = null, \
            lease_until = null where id = $1 and lease_owner = $2 and state = 'received'";
        let mut tx = self.begin_write().await?;
        let finished = batches::finish_deliveries(&mut tx, owner, ends, now).await?;
        if usize::try_from(finished).is_ok_and(|finished| finished == ends.len()) {
            tx.commit().await?;
            return Ok(Vec::new());
        }
        drop(tx);
        // One by one, to see which. Rows are locked in one order everywhere.
        let mut ends: Vec<_> = ends.iter().collect();
        ends.sort_by_key(|(id, _)| *id);
        let mut stale = Vec::new();
        let mut tx = self.begin_write().await?;
        for (id, end) in ends {
            if execute!(&mut tx, FINISH, *id, owner, end.state, &end.reason, now) == 0 {
                stale.push(*id);
            }
        }
        tx.commit().await?;
        Ok(stale)
    }

    /// Gives a delivery back, to be worked at `next_at` by anybody; `reason` is shown meanwhile.
    pub async fn retry_delivery_later(
        &self,
        owner: ProcessId,
        id: DeliveryId,
        reason: &str,
        next_at: DateTime<Utc>,
    ) -> Result<()> {
        const LATER: &str = "update deliveries set reason = $3, next_at = $4, lease_owner = null, lease_until = null \
            where id = $1 and lease_owner = $2 and state = 'received'";
        let mut tx = self.begin_write().await?;
        let given_back = execute!(&mut tx, LATER, id, owner, reason, next_at);
        if given_back == 0 {
            return Err(StoreError::Stale("delivery"));
        }
        tx.commit().await
    }
}

/// The pause before the next try of a row that has been tried `attempts` times: it doubles.
pub fn retry_pause(attempts: i64) -> Duration {
    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(300);
    let doublings = u32::try_from((attempts - 1).clamp(0, 16)).unwrap_or(0);
    FIRST.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST)
}
