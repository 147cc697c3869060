//! Connections: a tenant's link to one forge instance. The credential is sealed here and opened only for
//! callers that hold the secret key.

use chrono::{DateTime, Utc};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, GithubAppId, TenantId};
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;

use crate::Db;
use crate::db::{Tx, execute, on_db};
use crate::error::{Result, StoreError};
use crate::github_apps;
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
    /// The App and its installation that stand for a token.
    pub installation: Option<AppInstallation>,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// An account that installed an App.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppInstallation {
    /// The App.
    pub app: GithubAppId,
    /// GitHub's number of the installation.
    pub id: i64,
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
    /// Whether there is a token.
    pub has_token: bool,
    /// The App that stands for one.
    pub github_app_id: Option<GithubAppId>,
    /// Its installation.
    pub installation_id: Option<i64>,
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
    /// What makes tokens instead.
    pub app: Option<AppKey>,
}

/// What makes tokens for an installation of a GitHub App. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct AppKey {
    /// GitHub's number of the App.
    pub app_id: i64,
    /// Its private key, PEM.
    pub private_key: String,
    /// GitHub's number of the installation.
    pub installation: i64,
}

#[derive(FromRow)]
struct AccessRow {
    kind: ForgeKind,
    base_url: Option<String>,
    token_sealed: Option<Vec<u8>>,
    github_app_id: Option<GithubAppId>,
    installation_id: Option<i64>,
    app_id: Option<i64>,
    key_sealed: Option<Vec<u8>>,
}

impl AccessRow {
    fn app(&self, key: &SecretKey) -> Result<Option<AppKey>> {
        let (Some(id), Some(installation), Some(app_id), Some(sealed)) =
            (self.github_app_id, self.installation_id, self.app_id, &self.key_sealed)
        else {
            return Ok(None);
        };
        Ok(Some(AppKey { app_id, private_key: github_apps::open_key(key, id, sealed)?, installation }))
    }
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
            github_app_id, installation_id, created_at from connections where id = $1 and ($2 or tenant_id = $3)";
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
            github_app_id, installation_id, created_at from connections where ($1 or tenant_id = $2) and ($3 or tenant_id = $4) order by id";
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .bind(tenant.is_none())
            .bind(tenant)
            .fetch_all(conn)
            .await?))
    }

    /// Gives a connection of the scope another token. What its forge refused by the old one is told again.
    pub async fn renew_token(
        &self,
        key: &SecretKey,
        scope: &Scope,
        id: ConnectionId,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        const RENEW: &str = "update connections set token_sealed = $4 where id = $1 and ($2 or tenant_id = $3)";
        const AGAIN: &str = "update statuses set state = 'due', attempts = 0, next_at = $2, last_error = null \
            where connection_id = $1 and state = 'given_up'";
        let mut tx = self.begin_write().await?;
        let sealed = key.seal(&sealing_context(id), token);
        if execute!(&mut tx, RENEW, id, scope.sight().all, scope.sight().tenant, sealed) == 0 {
            return Err(StoreError::NotFound("connection"));
        }
        execute!(&mut tx, AGAIN, id, now);
        tx.commit().await
    }

    /// How to speak to the forge; for services, which never show it.
    pub async fn connection_access(&self, key: &SecretKey, id: ConnectionId) -> Result<ConnectionAccess> {
        const ACCESS: &str = "select c.kind, c.base_url, c.token_sealed, c.github_app_id, c.installation_id, a.app_id, \
            a.key_sealed from connections c left join github_apps a on a.id = c.github_app_id where c.id = $1";
        let row: AccessRow = on_db!(self, conn => sqlx::query_as(ACCESS).bind(id).fetch_optional(conn).await?)
            .ok_or(StoreError::NotFound("connection"))?;
        let open = |sealed: Vec<u8>| {
            key.open(&sealing_context(id), &sealed)
                .map_err(|error| StoreError::Damaged("token of a connection", error.to_string()))
        };
        let app = row.app(key)?;
        let token = row.token_sealed.map(open).transpose()?;
        Ok(ConnectionAccess { kind: row.kind, base_url: row.base_url, token, app })
    }
}

/// Inserts a connection in the caller's transaction.
pub(crate) async fn insert_connection(tx: &mut Tx, key: &SecretKey, new: &NewConnection) -> Result<()> {
    const CREATE: &str = "insert into connections (id, tenant_id, kind, base_url, token_sealed, created_at, \
        github_app_id, installation_id) values ($1, $2, $3, $4, $5, $6, $7, $8)";
    execute!(
        tx,
        CREATE,
        new.id,
        new.tenant,
        new.kind,
        &new.base_url,
        new.token.as_deref().map(|token| key.seal(&sealing_context(new.id), token)),
        new.now,
        new.installation.map(|installation| installation.app),
        new.installation.map(|installation| installation.id)
    );
    Ok(())
}

fn sealing_context(id: ConnectionId) -> String {
    format!("connection:{id}")
}
