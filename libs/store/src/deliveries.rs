//! The inbox: one row per delivery of a hook, stored before it is answered and worked from its row by
//! whoever holds its lease.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::delivery::DeliveryState;
use slipway_domain::event::HookAuth;
use slipway_domain::ids::{BuildId, DeliveryId, HookId, ProcessId, ProjectId, TenantId};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::batches;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::delivery_moves::{Move, number_moves};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// What intake knows about a delivery before it is worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may make builds.
    Work,
    /// Authentic, and nothing to do; says why.
    Ignored(String),
    /// Authentic, but it cannot be read; says where.
    Failed(String),
}

/// A delivery to be stored.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Its id, unless it is a duplicate.
    pub id: DeliveryId,
    /// Where it came in.
    pub hook: HookId,
    /// The hook's project.
    pub project: ProjectId,
    /// The hook's tenant.
    pub tenant: TenantId,
    /// What the forge keeps when it delivers again.
    pub delivery_key: String,
    /// The forge's name for the event.
    pub event: String,
    /// How it proved where it comes from.
    pub auth: HookAuth,
    /// What is known before it is worked.
    pub verdict: Verdict,
    /// The headers, without secrets.
    pub headers: BTreeMap<String, String>,
    /// The body, without secrets; empty where it lies in object storage.
    pub body: Vec<u8>,
    /// Where it lies in object storage, if it does.
    pub body_blob: Option<DeliveryId>,
    /// What it tells of.
    pub moves: Vec<Move>,
    /// Who holds its lease from the insert on, if it is to be worked; else anybody may lease it.
    pub held_by: Option<ProcessId>,
    /// When it came in.
    pub now: DateTime<Utc>,
}

/// What became of a delivery on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored.
    New(DeliveryId),
    /// It was stored before, and nothing is to be done again.
    Duplicate {
        /// The row that exists.
        id: DeliveryId,
        /// Where it stands.
        state: DeliveryState,
        /// Its reason.
        reason: Option<String>,
    },
    /// It was stored before but made no build, so it is worked again.
    Reopened(DeliveryId),
}

/// A delivery as the members of its tenant see it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where it came in.
    pub hook_id: HookId,
    /// The project.
    pub project_id: ProjectId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// What the forge keeps when it delivers again.
    pub delivery_key: String,
    /// The forge's name for the event.
    pub event: String,
    /// How it proved where it comes from.
    pub auth: HookAuth,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it made no build, or why it is being tried again.
    pub reason: Option<String>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// When it was worked.
    pub finished_at: Option<DateTime<Utc>>,
    /// How often it was tried.
    pub attempts: i64,
}

/// A delivery with the builds that it made or joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// The row.
    pub delivery: Delivery,
    /// Its builds, oldest first.
    pub builds: Vec<BuildId>,
}

/// What came in, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeliveryPayload {
    /// The headers.
    pub headers: Json<BTreeMap<String, String>>,
    /// The body; empty where it lies in object storage.
    pub body: Vec<u8>,
    /// Where it lies in object storage, if it does.
    pub body_blob: Option<String>,
}

/// Which deliveries to list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only this project's.
    pub project: Option<ProjectId>,
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only those before this one.
    pub before: Option<DeliveryId>,
    /// At most this many.
    pub limit: i64,
}

#[derive(FromRow)]
struct Existing {
    id: DeliveryId,
    state: DeliveryState,
    reason: Option<String>,
    builds: i64,
}

/// Deliveries of one build that are read; a ref that is told of again and again may have more.
const OF_BUILD: i64 = 20;

const LIST: &str = "select id, hook_id, project_id, tenant_id, delivery_key, event, auth, state, reason, received_at, \
    finished_at, attempts from deliveries where ($1 or tenant_id = $2) and ($3 or project_id = $4) \
    and ($5 or state = $6) and ($7 or id < $8) order by id desc limit $9";

impl Db {
    /// Stores one delivery; see [`Db::accept_deliveries`].
    pub async fn accept_delivery(&self, new: &NewDelivery) -> Result<Accepted> {
        let mut accepted = self.accept_deliveries(std::slice::from_ref(new)).await?;
        accepted.pop().ok_or(StoreError::NotFound("delivery"))
    }

    /// Stores deliveries in one transaction, so that many share one flush. Equal ones (same hook, same
    /// key) are stored once, however many processes try; a redelivery of what made no build opens its
    /// row again. The answers are in the order of `new`.
    pub async fn accept_deliveries(&self, new: &[NewDelivery]) -> Result<Vec<Accepted>> {
        // Rows are taken in one order everywhere, first all deliveries, then what came in with them, then
        // all moves, so that two batches wait for each other but never in a circle.
        let mut order: Vec<(usize, &NewDelivery)> = new.iter().enumerate().collect();
        order.sort_by_key(|(_, delivery)| (delivery.hook, &delivery.delivery_key));
        let sorted: Vec<&NewDelivery> = order.iter().map(|(_, delivery)| *delivery).collect();
        let mut accepted: Vec<(usize, Accepted)> = Vec::with_capacity(new.len());
        let mut payloads: BTreeMap<DeliveryId, &NewDelivery> = BTreeMap::new();
        let mut moves: Vec<(HookId, DeliveryId, &Move)> = Vec::new();
        let mut tx = self.begin_write().await?;
        let inserted = batches::insert_deliveries(&mut tx, &sorted).await?;
        let all_are_new = usize::try_from(inserted).is_ok_and(|inserted| inserted == new.len());
        for (index, delivery) in order {
            let taken = if all_are_new { Accepted::New(delivery.id) } else { take_in(&mut tx, delivery).await? };
            if let Accepted::New(id) | Accepted::Reopened(id) = taken {
                payloads.insert(id, delivery);
                moves.extend(delivery.moves.iter().map(|told| (delivery.hook, id, told)));
            }
            accepted.push((index, taken));
        }
        if !payloads.is_empty() {
            batches::put_payloads(&mut tx, &payloads).await?;
        }
        moves.sort_by_key(|(hook, id, told)| (*hook, &told.key, *id));
        number_moves(&mut tx, &moves).await?;
        slipway_runtime::crash::point("delivery.before_commit");
        tx.commit().await?;
        slipway_runtime::crash::point("delivery.after_commit");
        accepted.sort_by_key(|(index, _)| *index);
        Ok(accepted.into_iter().map(|(_, accepted)| accepted).collect())
    }

    /// Opens a worked delivery of the scope again. What made builds joins them; it never makes them twice.
    pub async fn replay_delivery(&self, scope: &Scope, id: DeliveryId, now: DateTime<Utc>) -> Result<()> {
        const STATE: &str = "select state, body_deleted_at from deliveries where id = $1 and ($2 or tenant_id = $3)";
        let mut tx = self.begin_write().await?;
        let found: Option<(DeliveryState, Option<DateTime<Utc>>)> = on_tx!(&mut tx, conn => sqlx::query_as(STATE)
            .bind(id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?);
        let (state, body_deleted_at) = found.ok_or(StoreError::NotFound("delivery"))?;
        if body_deleted_at.is_some() {
            return Err(StoreError::Conflict(
                "the delivery's body is not kept any more; let the forge deliver it again".to_owned(),
            ));
        }
        if state == DeliveryState::Received || !reopen(&mut tx, id, state, now).await? {
            return Err(StoreError::Conflict("the delivery is waiting to be worked already".to_owned()));
        }
        tx.commit().await
    }

    /// One delivery that the scope sees; never a public thing.
    pub async fn delivery(&self, scope: &Scope, id: DeliveryId) -> Result<DeliveryView> {
        const DELIVERY: &str = "select id, hook_id, project_id, tenant_id, delivery_key, event, auth, state, reason, \
            received_at, finished_at, attempts from deliveries where id = $1 and ($2 or tenant_id = $3)";
        const BUILDS: &str = "select build_id from delivery_builds where delivery_id = $1 order by build_id";
        let delivery: Delivery = on_db!(self, conn => sqlx::query_as(DELIVERY)
            .bind(id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("delivery"))?;
        let builds = on_db!(self, conn => sqlx::query_scalar(BUILDS).bind(id).fetch_all(conn).await?);
        Ok(DeliveryView { delivery, builds })
    }

    /// The deliveries that the scope sees, newest first.
    pub async fn list_deliveries(&self, scope: &Scope, filter: &DeliveryFilter) -> Result<Vec<DeliveryView>> {
        let deliveries: Vec<Delivery> = on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .bind(filter.project.is_none())
            .bind(filter.project)
            .bind(filter.state.is_none())
            .bind(filter.state)
            .bind(filter.before.is_none())
            .bind(filter.before)
            .bind(filter.limit)
            .fetch_all(conn)
            .await?);
        let mut builds = self.builds_of(scope, &deliveries).await?;
        let view =
            |delivery: Delivery| DeliveryView { builds: builds.remove(&delivery.id).unwrap_or_default(), delivery };
        Ok(deliveries.into_iter().map(view).collect())
    }

    /// The newest deliveries that made a build or joined it, as far as the scope sees them.
    pub async fn deliveries_of_build(&self, scope: &Scope, build: BuildId) -> Result<Vec<Delivery>> {
        const BUILDS: &str = "select d.id, d.hook_id, d.project_id, d.tenant_id, d.delivery_key, d.event, d.auth, \
            d.state, d.reason, d.received_at, d.finished_at, d.attempts from delivery_builds b \
            join deliveries d on d.id = b.delivery_id where b.build_id = $1 and ($2 or d.tenant_id = $3) \
            order by d.id desc limit $4";
        Ok(on_db!(self, conn => sqlx::query_as(BUILDS)
            .bind(build)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .bind(OF_BUILD)
            .fetch_all(conn)
            .await?))
    }

    /// What came in with a delivery that the scope sees.
    pub async fn delivery_payload(&self, scope: &Scope, id: DeliveryId) -> Result<DeliveryPayload> {
        const PAYLOAD: &str = "select p.headers, p.body, p.body_blob from delivery_payloads p \
            join deliveries d on d.id = p.delivery_id where d.id = $1 and ($2 or d.tenant_id = $3)";
        on_db!(self, conn => sqlx::query_as(PAYLOAD)
            .bind(id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("delivery"))
    }

    /// The builds of a page of deliveries, which lie between its last and its first id.
    async fn builds_of(&self, scope: &Scope, page: &[Delivery]) -> Result<BTreeMap<DeliveryId, Vec<BuildId>>> {
        const BUILDS: &str = "select b.delivery_id, b.build_id from delivery_builds b \
            join deliveries d on d.id = b.delivery_id \
            where d.id >= $1 and d.id <= $2 and ($3 or d.tenant_id = $4) order by b.build_id";
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(BTreeMap::new()) };
        let pairs: Vec<(DeliveryId, BuildId)> = on_db!(self, conn => sqlx::query_as(BUILDS)
            .bind(last.id)
            .bind(first.id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_all(conn)
            .await?);
        let mut builds: BTreeMap<DeliveryId, Vec<BuildId>> = BTreeMap::new();
        for (delivery, build) in pairs {
            builds.entry(delivery).or_default().push(build);
        }
        Ok(builds)
    }
}

impl Verdict {
    /// The word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Ignored(_) => "ignored",
            Self::Failed(_) => "failed",
        }
    }

    pub(crate) fn state(&self) -> DeliveryState {
        match self {
            Self::Work => DeliveryState::Received,
            Self::Ignored(_) => DeliveryState::Ignored,
            Self::Failed(_) => DeliveryState::Failed,
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Work => None,
            Self::Ignored(reason) | Self::Failed(reason) => Some(reason),
        }
    }
}

/// What became of a delivery of a batch in which not all were new.
async fn take_in(tx: &mut Tx, new: &NewDelivery) -> Result<Accepted> {
    const EXISTING: &str = "select d.id, d.state, d.reason, \
        (select count(*) from delivery_builds b where b.delivery_id = d.id) as builds \
        from deliveries d where d.hook_id = $1 and d.delivery_key = $2";
    let existing: Existing = on_tx!(tx, conn => sqlx::query_as(EXISTING)
        .bind(new.hook)
        .bind(&new.delivery_key)
        .fetch_one(conn)
        .await?);
    if existing.id == new.id {
        return Ok(Accepted::New(new.id));
    }
    let worth_it = existing.state != DeliveryState::Received && existing.builds == 0 && new.verdict == Verdict::Work;
    if worth_it && reopen(tx, existing.id, existing.state, new.now).await? {
        refill(tx, existing.id, new).await?;
        return Ok(Accepted::Reopened(existing.id));
    }
    Ok(Accepted::Duplicate { id: existing.id, state: existing.state, reason: existing.reason })
}

/// A redelivery brings everything along again, its payload too: what was kept may be broken, or not be kept
/// any more.
async fn refill(tx: &mut Tx, id: DeliveryId, new: &NewDelivery) -> Result<()> {
    const REFILL: &str = "update deliveries set event = $2, auth = $3, body_deleted_at = null where id = $1";
    execute!(tx, REFILL, id, &new.event, new.auth);
    Ok(())
}

/// Opens a worked row again. False if somebody else did.
async fn reopen(tx: &mut Tx, id: DeliveryId, from: DeliveryState, now: DateTime<Utc>) -> Result<bool> {
    const REOPEN: &str = "update deliveries set state = 'received', reason = null, finished_at = null, attempts = 0, \
        next_at = $3, lease_owner = null, lease_until = null where id = $1 and state = $2";
    let reopened = execute!(tx, REOPEN, id, from, now);
    Ok(reopened == 1)
}
