//! Connections: a tenant's link to one forge instance. The credential is sealed here and opened only for
//! callers that hold the secret key.

use chrono::{DateTime, Utc};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, TenantId};
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;

use crate::Db;
use crate::db::{Tx, execute, on_db};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// A connection to be made. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct NewConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The forge.
    pub kind: ForgeKind,
    /// Where the instance is; the forge's public one unless set.
    pub base_url: Option<String>,
    /// The credential in plain text.
    pub token: Option<String>,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// A connection as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The forge.
    pub kind: ForgeKind,
    /// Where the instance is; the forge's public one unless set.
    pub base_url: Option<String>,
    /// Whether there is a credential.
    pub has_token: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What is needed to speak to the forge. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct ConnectionAccess {
    /// The forge.
    pub kind: ForgeKind,
    /// Where the instance is; the forge's public one unless set.
    pub base_url: Option<String>,
    /// The credential in plain text.
    pub token: Option<String>,
}

#[derive(FromRow)]
struct AccessRow {
    kind: ForgeKind,
    base_url: Option<String>,
    token_sealed: Option<Vec<u8>>,
}

impl Db {
    /// Makes a connection. The caller has authorised it.
    pub async fn create_connection(&self, key: &SecretKey, new: &NewConnection) -> Result<()> {
        let mut tx = self.begin_write().await?;
        insert_connection(&mut tx, key, new).await?;
        tx.commit().await
    }

    /// One connection that the scope sees.
    pub async fn connection(&self, scope: &Scope, id: ConnectionId) -> Result<Connection> {
        const CONNECTION: &str = "select id, tenant_id, kind, base_url, token_sealed is not null as has_token, \
            created_at from connections where id = $1 and ($2 or tenant_id = $3)";
        on_db!(self, conn => sqlx::query_as(CONNECTION)
            .bind(id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("connection"))
    }

    /// The connections that the scope sees, of one tenant if asked; oldest first.
    pub async fn list_connections(&self, scope: &Scope, tenant: Option<TenantId>) -> Result<Vec<Connection>> {
        const LIST: &str = "select id, tenant_id, kind, base_url, token_sealed is not null as has_token, \
            created_at from connections where ($1 or tenant_id = $2) and ($3 or tenant_id = $4) order by id";
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .bind(tenant.is_none())
            .bind(tenant)
            .fetch_all(conn)
            .await?))
    }

    /// How to speak to the forge; for services, which never show it.
    pub async fn connection_access(&self, key: &SecretKey, id: ConnectionId) -> Result<ConnectionAccess> {
        const ACCESS: &str = "select kind, base_url, token_sealed from connections where id = $1";
        let row: AccessRow = on_db!(self, conn => sqlx::query_as(ACCESS).bind(id).fetch_optional(conn).await?)
            .ok_or(StoreError::NotFound("connection"))?;
        let open = |sealed: Vec<u8>| {
            key.open(&sealing_context(id), &sealed)
                .map_err(|error| StoreError::Damaged("token of a connection", error.to_string()))
        };
        Ok(ConnectionAccess { kind: row.kind, base_url: row.base_url, token: row.token_sealed.map(open).transpose()? })
    }
}

/// Inserts a connection in the caller's transaction.
pub(crate) async fn insert_connection(tx: &mut Tx, key: &SecretKey, new: &NewConnection) -> Result<()> {
    const CREATE: &str = "insert into connections (id, tenant_id, kind, base_url, token_sealed, created_at) \
        values ($1, $2, $3, $4, $5, $6)";
    execute!(
        tx,
        CREATE,
        new.id,
        new.tenant,
        new.kind,
        &new.base_url,
        new.token.as_deref().map(|token| key.seal(&sealing_context(new.id), token)),
        new.now
    );
    Ok(())
}

fn sealing_context(id: ConnectionId) -> String {
    format!("connection:{id}")
}
