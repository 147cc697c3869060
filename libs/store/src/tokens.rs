//! API tokens, and the [`Scope`] that each of them opens.

use chrono::{DateTime, Utc};
use slipway_domain::ids::{TenantId, TokenId};
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use sqlx::FromRow;

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// What stands in `role` of a token that belongs to no tenant.
const OPERATOR: &str = "operator";
/// The name of the token that the configuration brings along.
const BOOTSTRAP_NAME: &str = "bootstrap";

/// Whose a new token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOwner {
    /// An operator's.
    Operator,
    /// A member's.
    Member {
        /// The tenant.
        tenant: TenantId,
        /// What it may do there.
        role: Role,
    },
}

/// A token to be stored; only its hash is.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub owner: TokenOwner,
    /// What its owner calls it.
    pub name: String,
    /// `runtime::ids::token_hash` of the token.
    pub hash: Vec<u8>,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// A token as others see it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Its tenant; `None` for an operator's.
    pub tenant_id: Option<TenantId>,
    /// What it may do in its tenant; `None` for an operator's.
    pub role: Option<Role>,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it opens nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Columns that say what a token opens.
#[derive(FromRow)]
pub(crate) struct ScopeRow {
    token_id: TokenId,
    tenant_id: Option<TenantId>,
    role: String,
}

impl ScopeRow {
    pub(crate) fn into_scope(self) -> Result<(TokenId, Scope)> {
        let scope = match self.tenant_id {
            Some(tenant) => {
                let role = self.role.parse().map_err(|error| StoreError::Damaged("role of a token", error))?;
                Scope::Member { tenant, role }
            }
            None if self.role == OPERATOR => Scope::Operator,
            None => return Err(StoreError::Damaged("role of a token", self.role)),
        };
        Ok((self.token_id, scope))
    }
}

impl Db {
    /// What a token opens; `None` for an unknown one, and for a revoked one from the very moment on, whatever
    /// the clocks of two processes say.
    pub async fn scope_for_token(&self, hash: &[u8]) -> Result<Option<(TokenId, Scope)>> {
        const SCOPE: &str = "select id as token_id, tenant_id, role from api_tokens \
            where hash = $1 and revoked_at is null";
        let row: Option<ScopeRow> = on_db!(self, conn => sqlx::query_as(SCOPE).bind(hash).fetch_optional(conn).await?);
        row.map(ScopeRow::into_scope).transpose()
    }

    /// Makes the configured token an operator's, once: a revoked one stays revoked. True if it is new.
    pub async fn ensure_bootstrap_token(&self, hash: &[u8], now: DateTime<Utc>) -> Result<bool> {
        const ENSURE: &str = "insert into api_tokens (id, tenant_id, role, name, hash, created_at) \
            values ($1, null, $2, $3, $4, $5) on conflict (hash) do nothing";
        let mut tx = self.begin_write().await?;
        let added = execute!(&mut tx, ENSURE, new_id::<TokenId>(), OPERATOR, BOOTSTRAP_NAME, hash, now);
        tx.commit().await?;
        Ok(added == 1)
    }

    /// True if any token was ever made here.
    pub async fn has_tokens(&self) -> Result<bool> {
        const COUNT: &str = "select count(*) from api_tokens";
        let count: i64 = on_db!(self, conn => sqlx::query_scalar(COUNT).fetch_one(conn).await?);
        Ok(count > 0)
    }

    /// Stores a token. The caller has authorised it.
    pub async fn create_token(&self, new: &NewToken) -> Result<()> {
        const CREATE: &str = "insert into api_tokens (id, tenant_id, role, name, hash, created_at) \
            values ($1, $2, $3, $4, $5, $6)";
        let (tenant, role) = match new.owner {
            TokenOwner::Operator => (None, OPERATOR),
            TokenOwner::Member { tenant, role } => (Some(tenant), role.as_str()),
        };
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, CREATE, new.id, tenant, role, &new.name, &new.hash, new.now);
        tx.commit().await
    }

    /// The tokens of the scope's tenant, an operator's view of all; oldest first.
    pub async fn list_tokens(&self, scope: &Scope) -> Result<Vec<Token>> {
        const LIST: &str = "select id, tenant_id, \
            case when tenant_id is null then null else role end as role, name, created_at, revoked_at from api_tokens \
            where ($1 or tenant_id = $2) order by id";
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_all(conn)
            .await?))
    }

    /// Makes a token of the scope open nothing from now on; its web sessions end with it.
    pub async fn revoke_token(&self, scope: &Scope, id: TokenId, now: DateTime<Utc>) -> Result<()> {
        const REVOKE: &str = "update api_tokens set revoked_at = coalesce(revoked_at, $4) \
            where id = $1 and ($2 or tenant_id = $3)";
        const SESSIONS: &str = "delete from web_sessions where token_id = $1";
        let mut tx = self.begin_write().await?;
        let revoked = execute!(&mut tx, REVOKE, id, scope.sight().all, scope.sight().tenant, now);
        if revoked == 0 {
            return Err(StoreError::NotFound("token"));
        }
        execute!(&mut tx, SESSIONS, id);
        tx.commit().await
    }
}
