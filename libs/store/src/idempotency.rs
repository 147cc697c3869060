//! Idempotency keys: a repeated POST gets the first one's answer. Answers may hold secrets that are shown
//! once, so they are sealed.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::ids::TokenId;
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;

use crate::Db;
use crate::db::{Tx, execute, on_tx};
use crate::error::{Result, StoreError};

/// A request without an answer after this long died with its process; the key may be used again.
const ABANDONED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// A request that carries a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyedRequest<'a> {
    /// Who asks.
    pub token: TokenId,
    /// The key.
    pub key: &'a str,
    /// SHA-256 over method, path and body.
    pub request_hash: &'a [u8],
}

/// What to do with a keyed request. No `Debug`: an answer may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum IdempotencyStart {
    /// Do it, then complete or abandon the key.
    Fresh,
    /// The same request is being worked on; the caller tries again later.
    Running,
    /// The key was used for another request.
    Mismatch,
    /// It was done; give this answer again.
    Replay {
        /// HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
}

#[derive(FromRow)]
struct KeyRow {
    request_hash: Vec<u8>,
    status: Option<i64>,
    body_sealed: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
}

impl Db {
    /// Books the key for this request, or says what became of it before.
    pub async fn begin_idempotent(
        &self,
        secret_key: &SecretKey,
        request: KeyedRequest<'_>,
        now: DateTime<Utc>,
    ) -> Result<IdempotencyStart> {
        const BOOK: &str = "insert into idempotency_keys (token_id, key, request_hash, created_at) \
            values ($1, $2, $3, $4) on conflict (token_id, key) do nothing";
        let mut tx = self.begin_write().await?;
        let booked = execute!(&mut tx, BOOK, request.token, request.key, request.request_hash, now);
        let start =
            if booked == 1 { IdempotencyStart::Fresh } else { look_up(&mut tx, secret_key, &request, now).await? };
        tx.commit().await?;
        Ok(start)
    }

    /// Keeps the answer for whoever repeats the request.
    pub async fn complete_idempotent(
        &self,
        secret_key: &SecretKey,
        request: KeyedRequest<'_>,
        status: u16,
        body: &str,
    ) -> Result<()> {
        const COMPLETE: &str = "update idempotency_keys set status = $4, body_sealed = $5 \
            where token_id = $1 and key = $2 and request_hash = $3 and status is null";
        let mut tx = self.begin_write().await?;
        execute!(
            &mut tx,
            COMPLETE,
            request.token,
            request.key,
            request.request_hash,
            i64::from(status),
            secret_key.seal(&sealing_context(&request), body)
        );
        tx.commit().await
    }

    /// Frees the key of a request that failed by our fault, so that it may be tried again.
    pub async fn abandon_idempotent(&self, request: KeyedRequest<'_>) -> Result<()> {
        const ABANDON: &str = "delete from idempotency_keys \
            where token_id = $1 and key = $2 and request_hash = $3 and status is null";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, ABANDON, request.token, request.key, request.request_hash);
        tx.commit().await
    }

    /// Forgets keys that were first used before `before`; returns how many.
    pub async fn delete_old_idempotency_keys(&self, before: DateTime<Utc>) -> Result<u64> {
        const DELETE: &str = "delete from idempotency_keys where created_at < $1";
        let mut tx = self.begin_write().await?;
        let deleted = execute!(&mut tx, DELETE, before);
        tx.commit().await?;
        Ok(deleted)
    }
}

async fn look_up(
    tx: &mut Tx,
    secret_key: &SecretKey,
    request: &KeyedRequest<'_>,
    now: DateTime<Utc>,
) -> Result<IdempotencyStart> {
    const LOOK: &str =
        "select request_hash, status, body_sealed, created_at from idempotency_keys where token_id = $1 and key = $2";
    // The compare-and-set of taking over: only one of two callers moves created_at on.
    const TAKE_OVER: &str = "update idempotency_keys set created_at = $4 \
        where token_id = $1 and key = $2 and created_at = $3 and status is null";
    let row: Option<KeyRow> = on_tx!(tx, conn => sqlx::query_as(LOOK)
        .bind(request.token)
        .bind(request.key)
        .fetch_optional(conn)
        .await?);
    // Abandoned between the two statements: the next try finds it free.
    let Some(row) = row else { return Ok(IdempotencyStart::Running) };
    if row.request_hash != request.request_hash {
        return Ok(IdempotencyStart::Mismatch);
    }
    if let (Some(status), Some(sealed)) = (row.status, row.body_sealed) {
        let damaged = |error: String| StoreError::Damaged("answer of an idempotency key", error);
        let body = secret_key.open(&sealing_context(request), &sealed).map_err(|error| damaged(error.to_string()))?;
        let status = u16::try_from(status).map_err(|error| damaged(error.to_string()))?;
        return Ok(IdempotencyStart::Replay { status, body });
    }
    if row.created_at + ABANDONED_AFTER > now {
        return Ok(IdempotencyStart::Running);
    }
    let taken = execute!(tx, TAKE_OVER, request.token, request.key, row.created_at, now);
    Ok(if taken == 1 { IdempotencyStart::Fresh } else { IdempotencyStart::Running })
}

fn sealing_context(request: &KeyedRequest<'_>) -> String {
    format!("idempotency:{}:{}", request.token, request.key)
}
