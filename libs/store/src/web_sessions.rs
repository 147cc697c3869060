//! Sessions of the web pages: a cookie's hash that stands for a token until it expires.

use chrono::{DateTime, Utc};
use slipway_domain::ids::TokenId;

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::Result;
use crate::scope::Scope;
use crate::tokens::ScopeRow;

impl Db {
    /// Opens a session for a token. `hash` is `runtime::ids::token_hash` of the cookie's value.
    pub async fn create_web_session(
        &self,
        hash: &[u8],
        token: TokenId,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        const CREATE: &str =
            "insert into web_sessions (hash, token_id, created_at, expires_at) values ($1, $2, $3, $4)";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, CREATE, hash, token, now, expires_at);
        tx.commit().await
    }

    /// What a session opens: exactly what its token does, until either ends.
    pub async fn scope_for_web_session(&self, hash: &[u8], now: DateTime<Utc>) -> Result<Option<(TokenId, Scope)>> {
        const SCOPE: &str = "select t.id as token_id, t.tenant_id, t.role \
            from web_sessions s join api_tokens t on t.id = s.token_id \
            where s.hash = $1 and s.expires_at > $2 and t.revoked_at is null";
        let row: Option<ScopeRow> =
            on_db!(self, conn => sqlx::query_as(SCOPE).bind(hash).bind(now).fetch_optional(conn).await?);
        row.map(ScopeRow::into_scope).transpose()
    }

    /// Ends a session; ending none is no error.
    pub async fn delete_web_session(&self, hash: &[u8]) -> Result<()> {
        const DELETE: &str = "delete from web_sessions where hash = $1";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, DELETE, hash);
        tx.commit().await
    }

    /// Forgets sessions that are over; returns how many.
    pub async fn delete_expired_web_sessions(&self, now: DateTime<Utc>) -> Result<u64> {
        const DELETE: &str = "delete from web_sessions where expires_at <= $1";
        let mut tx = self.begin_write().await?;
        let deleted = execute!(&mut tx, DELETE, now);
        tx.commit().await?;
        Ok(deleted)
    }
}
