//! The n-th time that a hook told of one and the same move. Two hooks count apart, so a second hook doubles
//! nothing, while A->B, B->A, A->B are three moves.

use std::collections::BTreeMap;

use slipway_domain::ids::{DeliveryId, HookId};

use crate::Db;
use crate::batches;
use crate::db::{Tx, on_db, on_tx};
use crate::error::{Result, StoreError};

/// How often the next number of a move is tried for while other deliveries of the same move take it.
const MOVE_TRIES: usize = 100;

/// One move of a ref, or one change, that a delivery tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its place among the delivery's events, from 0.
    pub event_index: i64,
    /// What is equal for equal moves of the same project.
    pub key: String,
}

impl Move {
    /// The dedupe key of what the move makes when it is told of for the n-th time.
    pub fn dedupe_key(&self, n: i64) -> String {
        format!("{}:{n}", self.key)
    }
}

impl Db {
    /// How often the hook had told of each of these moves, this delivery included, in the order of
    /// `moves`. The first answer for a delivery is kept, so that trying again never counts twice.
    pub async fn assign_moves(&self, hook: HookId, id: DeliveryId, moves: &[Move]) -> Result<Vec<i64>> {
        // A delivery's moves are numbered when it is accepted; only a replayed old one lacks some.
        const KNOWN: &str = "select event_index, n from delivery_moves where delivery_id = $1";
        let known: Vec<(i64, i64)> = on_db!(self, conn => sqlx::query_as(KNOWN).bind(id).fetch_all(conn).await?);
        let mut numbers: BTreeMap<i64, i64> = known.into_iter().collect();
        let mut sorted: Vec<&Move> = moves.iter().filter(|told| !numbers.contains_key(&told.event_index)).collect();
        if sorted.is_empty() {
            return Ok(moves.iter().filter_map(|told| numbers.get(&told.event_index).copied()).collect());
        }
        sorted.sort_by_key(|told| &told.key);
        let mut tx = self.begin_write().await?;
        for told in sorted {
            numbers.insert(told.event_index, number_move(&mut tx, hook, id, told).await?);
        }
        tx.commit().await?;
        Ok(moves.iter().filter_map(|told| numbers.get(&told.event_index).copied()).collect())
    }
}

/// Numbers the moves of a batch, which are sorted as everywhere: by hook, key and delivery.
pub(crate) async fn number_moves(tx: &mut Tx, moves: &[(HookId, DeliveryId, &Move)]) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let numbered = batches::insert_moves(tx, moves).await?;
    if usize::try_from(numbered).is_ok_and(|numbered| numbered == moves.len()) {
        return Ok(());
    }
    for (hook, id, told) in moves {
        number_move(tx, *hook, *id, told).await?;
    }
    Ok(())
}

/// The number of a move: the one that this delivery has, else the hook's next. Two deliveries at once both
/// try the same next number; the unique key lets one have it, and the other one counts again.
async fn number_move(tx: &mut Tx, hook: HookId, id: DeliveryId, told: &Move) -> Result<i64> {
    const KNOWN: &str = "select n from delivery_moves where delivery_id = $1 and event_index = $2";
    const NEXT: &str = "insert into delivery_moves (delivery_id, event_index, hook_id, move_key, n) \
        select $1, $2, $3, $4, coalesce(max(n), 0) + 1 from delivery_moves where hook_id = $3 and move_key = $4 \
        on conflict do nothing returning n";
    for _ in 0..MOVE_TRIES {
        let known: Option<i64> = on_tx!(tx, conn => sqlx::query_scalar(KNOWN)
            .bind(id)
            .bind(told.event_index)
            .fetch_optional(conn)
            .await?);
        if let Some(n) = known {
            return Ok(n);
        }
        let next: Option<i64> = on_tx!(tx, conn => sqlx::query_scalar(NEXT)
            .bind(id)
            .bind(told.event_index)
            .bind(hook)
            .bind(&told.key)
            .fetch_optional(conn)
            .await?);
        if let Some(n) = next {
            return Ok(n);
        }
    }
    Err(StoreError::Stale("number of a move"))
}
