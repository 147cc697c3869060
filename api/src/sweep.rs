//! Deletes what this service wrote and nobody needs any more: expired browser sessions, old idempotency
//! keys, bodies of deliveries and deliveries that made no build.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_blobs::Blobs;
use slipway_domain::ids::DeliveryId;
use slipway_store::{Db, StoreError};
use tracing::warn;

use crate::state::ApiState;

/// How long a repeated request gets its first answer again.
const KEEP_KEYS: TimeDelta = TimeDelta::hours(24);
/// How long a delivery can be replayed after it was worked.
const KEEP_BODIES: TimeDelta = TimeDelta::days(7);
/// How long a delivery that made no build is shown.
const KEEP_DELIVERIES: TimeDelta = TimeDelta::days(30);
/// Deliveries of one transaction, so that the inbox never waits long.
const BATCH: i64 = 500;
/// A body that is so old and that no row refers to has none that could still come.
const LOST_BODIES: TimeDelta = TimeDelta::hours(24);
/// Bodies that one round looks at; a few weeks of large deliveries.
const LOST_BATCH: usize = 10_000;
/// Nobody waits for this.
const PAUSE: Duration = Duration::from_secs(3600);

/// Runs until the process stops.
pub async fn run(state: ApiState) -> anyhow::Result<()> {
    while !state.life.is_stopping() {
        match state.db.now(&state.clock).await {
            Ok(now) => {
                sweep_once(&state.db, now).await;
                if let Some(blobs) = &state.blobs {
                    delete_lost_bodies(&state.db, blobs, now).await;
                }
            }
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
    if let Err(error) = delete_bodies(db, now).await {
        warn!(error = %error, "bodies of old deliveries were not deleted");
    }
    if let Err(error) = delete_deliveries(db, now).await {
        warn!(error = %error, "old deliveries were not deleted");
    }
}

/// Removes bodies from object storage that no row refers to any more, or never did: a process died in between.
pub(crate) async fn delete_lost_bodies(db: &Db, blobs: &Blobs, now: DateTime<Utc>) {
    let removed = async {
        let old = blobs.old_bodies(now - LOST_BODIES, LOST_BATCH).await?;
        let known: HashSet<DeliveryId> = db.known_bodies(&old).await?.into_iter().collect();
        for name in old.iter().filter(|name| !known.contains(name)) {
            blobs.delete_body(*name).await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = removed.await {
        warn!(error = format!("{error:#}"), "bodies that nobody needs were not removed from object storage");
    }
}

async fn delete_bodies(db: &Db, now: DateTime<Utc>) -> Result<(), StoreError> {
    while is_full(db.delete_delivery_bodies(now - KEEP_BODIES, now, BATCH).await?) {}
    Ok(())
}

async fn delete_deliveries(db: &Db, now: DateTime<Utc>) -> Result<(), StoreError> {
    while is_full(db.delete_deliveries_without_build(now - KEEP_DELIVERIES, BATCH).await?) {}
    Ok(())
}

/// True when a batch may have left some.
fn is_full(count: u64) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= BATCH)
}

#[cfg(test)]
mod tests {
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::{new_id, token_hash};
    use slipway_store::tokens::{NewToken, TokenOwner};
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn sessions_are_kept_until_they_expire() {
        let dir = TempDir::new().expect("a folder");
        let url = format!("sqlite://{}", dir.path().join("slipway.db").display());
        let (db, now) = (Db::connect(&url).await.expect("a database"), Clock::system().now());
        let (id, hash) = (new_id(), token_hash("token"));
        let token = NewToken { id, owner: TokenOwner::Operator, name: "x".to_owned(), hash, now };
        db.create_token(&token).await.expect("a token");
        let hour = TimeDelta::hours(1);
        for (session, expires_at) in [("short", now + hour), ("long", now + hour * 3)] {
            db.create_web_session(&token_hash(session), id, now, expires_at).await.expect("a session");
        }
        sweep_once(&db, now + hour * 2).await;
        // Asked with a time at which both would still hold, so that only deletion can tell them apart.
        assert!(db.scope_for_web_session(&token_hash("short"), now).await.expect("an answer").is_none());
        assert!(db.scope_for_web_session(&token_hash("long"), now).await.expect("an answer").is_some());
    }
}
