//! What is not kept of deliveries: bodies after a while, and later the rows that made no build. Both count
//! from the end of the work, so that what is opened again stays.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use slipway_domain::ids::{DeliveryId, HookId};

use crate::Db;
use crate::batches;
use crate::db::{execute, on_db, on_tx};
use crate::error::Result;

impl Db {
    /// Deletes the bodies of deliveries that ended before `before`, at most `limit`; gives their number.
    pub async fn delete_delivery_bodies(&self, before: DateTime<Utc>, now: DateTime<Utc>, limit: i64) -> Result<u64> {
        // The outer condition is checked again on the row itself: it may have been opened again.
        const MARK: &str = "update deliveries set body_deleted_at = $2 where id in \
            (select id from deliveries where finished_at < $1 and body_deleted_at is null \
            order by finished_at limit $3) and finished_at < $1 returning id";
        const EMPTY: &str = "update delivery_payloads set body = $2, body_blob = null where delivery_id = $1";
        let mut tx = self.begin_write().await?;
        let mut marked: Vec<DeliveryId> = on_tx!(&mut tx, conn => sqlx::query_scalar(MARK)
            .bind(before)
            .bind(now)
            .bind(limit)
            .fetch_all(conn)
            .await?);
        marked.sort_unstable();
        for id in &marked {
            execute!(&mut tx, EMPTY, *id, Vec::<u8>::new());
        }
        tx.commit().await?;
        Ok(u64::try_from(marked.len()).unwrap_or(u64::MAX))
    }

    /// Those of these bodies in object storage that a delivery refers to.
    pub async fn known_bodies(&self, names: &[DeliveryId]) -> Result<Vec<DeliveryId>> {
        let known: HashSet<String> = batches::known_bodies(self, names).await?.into_iter().collect();
        Ok(names.iter().filter(|name| known.contains(&name.to_string())).copied().collect())
    }

    /// Deletes deliveries that ended before `before` and made no build, at most `limit`; gives how many were
    /// found. A delivery whose number of a move is part of a build's dedupe key stays: were the number given
    /// again, the same move told once more would join that old build.
    pub async fn delete_deliveries_without_build(&self, before: DateTime<Utc>, limit: i64) -> Result<u64> {
        // `move_key || ':' || n` is `Move::dedupe_key`.
        const DUE: &str = "select d.id, d.hook_id, d.delivery_key from deliveries d where d.finished_at < $1 \
            and not exists (select 1 from delivery_builds b where b.delivery_id = d.id) \
            and not exists (select 1 from delivery_moves m join builds b \
            on b.project_id = d.project_id and b.dedupe_key = m.move_key || ':' || m.n where m.delivery_id = d.id) \
            order by d.finished_at limit $2";
        // Takes the row unless it was opened again since.
        const TAKE: &str = "update deliveries set next_at = next_at where id = $1 and finished_at < $2";
        const PAYLOAD: &str = "delete from delivery_payloads where delivery_id = $1";
        const MOVES: &str = "delete from delivery_moves where delivery_id = $1";
        const DELETE: &str = "delete from deliveries where id = $1";
        let mut due: Vec<(DeliveryId, HookId, String)> =
            on_db!(self, conn => sqlx::query_as(DUE).bind(before).bind(limit).fetch_all(conn).await?);
        if due.is_empty() {
            return Ok(0);
        }
        // As the inbox takes them.
        due.sort_by(|a, b| (a.1, &a.2).cmp(&(b.1, &b.2)));
        let mut tx = self.begin_write().await?;
        let mut taken = Vec::new();
        for (id, _, _) in &due {
            if execute!(&mut tx, TAKE, *id, before) == 1 {
                taken.push(*id);
            }
        }
        for id in &taken {
            execute!(&mut tx, PAYLOAD, *id);
            execute!(&mut tx, MOVES, *id);
            execute!(&mut tx, DELETE, *id);
        }
        tx.commit().await?;
        Ok(u64::try_from(due.len()).unwrap_or(u64::MAX))
    }
}
