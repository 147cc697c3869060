//! Deletes what this service wrote and nobody needs any more: expired browser sessions and old
//! idempotency keys.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_store::Db;
use tracing::warn;

use crate::state::ApiState;

/// How long a repeated request gets its first answer again.
const KEEP_KEYS: TimeDelta = TimeDelta::hours(24);
/// Nobody waits for this.
const PAUSE: Duration = Duration::from_secs(600);

/// Runs until the process stops.
pub async fn run(state: ApiState) -> anyhow::Result<()> {
    while !state.life.is_stopping() {
        match state.db.now(&state.clock).await {
            Ok(now) => sweep_once(&state.db, now).await,
            Err(error) => warn!(error = %error, "the database does not answer; sweeping later"),
        }
        tokio::select! {
            () = state.life.stopping() => {}
            () = state.clock.sleep(PAUSE) => {}
        }
    }
    Ok(())
}

/// One round; each part stands for itself.
pub async fn sweep_once(db: &Db, now: DateTime<Utc>) {
    if let Err(error) = db.delete_expired_web_sessions(now).await {
        warn!(error = %error, "expired sessions were not deleted");
    }
    if let Err(error) = db.delete_old_idempotency_keys(now - KEEP_KEYS).await {
        warn!(error = %error, "old idempotency keys were not deleted");
    }
}
