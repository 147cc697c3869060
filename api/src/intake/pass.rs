//! The loop over the inbox. A row is leased, worked and ended; what fails by our fault is tried again later,
//! and after enough tries the delivery says so. One bad row never stops the pass.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use metrics::counter;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{DeliveryId, ProcessId};
use slipway_domain::timing;
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::random_id;
use slipway_runtime::wake::Wake;
use slipway_store::delivery_work::{DeliveryEnd, LeasedDelivery, retry_pause};
use tracing::{error, info, warn};

use crate::intake::work::work;
use crate::state::ApiState;

/// Deliveries of one pass. With [`AT_ONCE`] of them at a time, each waiting 3 s for its forge, the pass ends
/// long before its leases do.
const BATCH: i64 = 32;
/// Deliveries that are worked at the same time.
const AT_ONCE: usize = 8;
/// After this many tries a delivery is given up; replaying it starts again.
const MAX_TRIES: i64 = 10;
/// One delivery may take this long; then it is tried again.
const WORK_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts working the inbox for as long as the process lives.
pub fn start(state: &ApiState) {
    let wake = Wake::default();
    state.life.spawn("intake wakes", forward_wakes(state.clone(), wake.clone()));
    state.life.spawn("intake", run(state.clone(), wake));
}

/// Works the deliveries that are due, at most one batch; returns how many there were.
pub async fn work_deliveries_once(state: &ApiState, owner: ProcessId, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let leased = state.db.lease_deliveries(owner, now, BATCH).await?;
    let count = leased.len();
    let ends: Vec<_> = futures_util::stream::iter(leased)
        .map(|row| async move { (row.id, work_row(state, owner, &row, now).await) })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |(id, end)| Some((id, end?)))
        .collect()
        .await;
    finish(state, owner, ends, now).await;
    Ok(count)
}

/// Ends what was worked, all with one flush; what cannot be stored that way, one by one.
async fn finish(state: &ApiState, owner: ProcessId, ends: Vec<(DeliveryId, DeliveryEnd)>, now: DateTime<Utc>) {
    if ends.is_empty() {
        return;
    }
    match state.db.finish_deliveries(owner, &ends, now).await {
        Ok(stale) => {
            ends.iter().filter(|(id, _)| !stale.contains(id)).for_each(|(_, end)| count(end));
            if !stale.is_empty() {
                // Whoever has the lease now goes on.
                info!(deliveries = stale.len(), "leases of deliveries went elsewhere");
            }
        }
        Err(_) => {
            for (id, end) in &ends {
                match state.db.finish_delivery(owner, *id, end, now).await {
                    Ok(()) => count(end),
                    // The lease ends by itself, and the row is found again.
                    Err(error) => error!(delivery.id = %id, %error, "a delivery's end could not be stored"),
                }
            }
        }
    }
}

fn count(end: &DeliveryEnd) {
    counter!("slipway_deliveries_ended_total", "state" => end.state.as_str()).increment(1);
}

/// Works one row; `None` when it was put off.
async fn work_row(state: &ApiState, owner: ProcessId, row: &LeasedDelivery, now: DateTime<Utc>) -> Option<DeliveryEnd> {
    let worked = tokio::time::timeout(WORK_TIMEOUT, work(state, row, now)).await;
    let error = match worked.map_err(anyhow::Error::from).and_then(|worked| worked) {
        Ok(end) => {
            info!(delivery.id = %row.id, state = %end.state, "delivery worked");
            return Some(end);
        }
        Err(error) => format!("{error:#}"),
    };
    if row.attempts >= MAX_TRIES {
        error!(delivery.id = %row.id, error, attempts = row.attempts, "delivery given up");
        let reason =
            format!("It could not be worked in {MAX_TRIES} tries, by a fault of the service; replay it later.");
        return Some(DeliveryEnd { state: DeliveryState::Failed, reason: Some(reason) });
    }
    warn!(delivery.id = %row.id, error, attempts = row.attempts, "delivery will be tried again");
    let pause = TimeDelta::from_std(retry_pause(row.attempts)).unwrap_or(TimeDelta::MAX);
    let reason = format!("Try {} failed by a fault of the service; it is tried again.", row.attempts);
    if let Err(error) = state.db.retry_delivery_later(owner, row.id, &reason, now + pause).await {
        // Whoever has the lease now goes on, or the lease ends by itself and the row is found again.
        warn!(delivery.id = %row.id, %error, "a delivery could not be put off");
    }
    None
}

async fn run(state: ApiState, wake: Wake) -> anyhow::Result<()> {
    let owner: ProcessId = random_id();
    loop {
        let full = match pass(&state, owner).await {
            Ok(count) => i64::try_from(count).is_ok_and(|count| count == BATCH),
            Err(error) => {
                error!(error = format!("{error:#}"), "intake pass failed");
                false
            }
        };
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            () = wake.wait(timing::POLL), if !full => {}
            () = std::future::ready(()), if full => {}
        }
    }
}

async fn pass(state: &ApiState, owner: ProcessId) -> anyhow::Result<usize> {
    let now = state.db.now(&state.clock).await?;
    work_deliveries_once(state, owner, now).await
}

async fn forward_wakes(state: ApiState, wake: Wake) -> anyhow::Result<()> {
    let mut deliveries = state.live.subscribe(Topic::Wake(WakeKind::Deliveries)).await;
    loop {
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            _ = deliveries.next() => wake.ring(),
        }
    }
}
