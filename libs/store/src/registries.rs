//! A tenant's credentials for image registries, one per host, sealed here.

use chrono::{DateTime, Utc};
use slipway_domain::ids::{RegistryId, TenantId};
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;

use crate::Db;
use crate::db::{execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// A credential to be stored. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct NewRegistry {
    /// Its id, if the host is new.
    pub id: RegistryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// `host[:port]`, as it stands in image names.
    pub host: String,
    /// The user.
    pub username: String,
    /// The password in plain text.
    pub password: String,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// A credential as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Registry {
    /// Its id.
    pub id: RegistryId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// `host[:port]`.
    pub host: String,
    /// The user.
    pub username: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What became of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRegistry {
    /// The row as it is now.
    pub registry: Registry,
    /// True if the host had a credential before.
    pub replaced: bool,
}

/// A credential in plain text. No `Debug`.
#[derive(Clone)]
pub struct RegistryCredential {
    /// `host[:port]`.
    pub host: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

#[derive(FromRow)]
struct SealedRow {
    id: RegistryId,
    host: String,
    username: String,
    password_sealed: Vec<u8>,
}

impl Db {
    /// Stores the credential of a host, in the place of an older one. The caller has authorised it.
    pub async fn put_registry(&self, key: &SecretKey, new: &NewRegistry) -> Result<PutRegistry> {
        // The password is bound to the row's id, so the row must exist before it can be sealed.
        const CLAIM: &str = "insert into registries (id, tenant_id, host, username, password_sealed, created_at) \
            values ($1, $2, $3, $4, $5, $6) on conflict (tenant_id, host) do update set username = excluded.username \
            returning id, tenant_id, host, username, created_at";
        const SEAL: &str = "update registries set password_sealed = $2 where id = $1";
        let mut tx = self.begin_write().await?;
        let registry: Registry = on_tx!(&mut tx, conn => sqlx::query_as(CLAIM)
            .bind(new.id)
            .bind(new.tenant)
            .bind(&new.host)
            .bind(&new.username)
            .bind(key.seal(&sealing_context(new.id), &new.password))
            .bind(new.now)
            .fetch_one(conn)
            .await?);
        let replaced = registry.id != new.id;
        if replaced {
            execute!(&mut tx, SEAL, registry.id, key.seal(&sealing_context(registry.id), &new.password));
        }
        tx.commit().await?;
        Ok(PutRegistry { registry, replaced })
    }

    /// The credentials that the scope sees, of one tenant if asked, without their passwords; by host.
    pub async fn list_registries(&self, scope: &Scope, tenant: Option<TenantId>) -> Result<Vec<Registry>> {
        const LIST: &str = "select id, tenant_id, host, username, created_at from registries \
            where ($1 or tenant_id = $2) and ($3 or tenant_id = $4) order by host, id";
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .bind(tenant.is_none())
            .bind(tenant)
            .fetch_all(conn)
            .await?))
    }

    /// Forgets a credential of the scope.
    pub async fn delete_registry(&self, scope: &Scope, id: RegistryId) -> Result<()> {
        const DELETE: &str = "delete from registries where id = $1 and ($2 or tenant_id = $3)";
        let mut tx = self.begin_write().await?;
        let deleted = execute!(&mut tx, DELETE, id, scope.sight().all, scope.sight().tenant);
        if deleted == 0 {
            return Err(StoreError::NotFound("registry"));
        }
        tx.commit().await
    }

    /// All credentials of a tenant in plain text, by host; for services that hand them to a builder.
    pub async fn registry_credentials(&self, key: &SecretKey, tenant: TenantId) -> Result<Vec<RegistryCredential>> {
        const SEALED: &str =
            "select id, host, username, password_sealed from registries where tenant_id = $1 order by host";
        let rows: Vec<SealedRow> = on_db!(self, conn => sqlx::query_as(SEALED).bind(tenant).fetch_all(conn).await?);
        let open = |row: SealedRow| {
            let password = key
                .open(&sealing_context(row.id), &row.password_sealed)
                .map_err(|error| StoreError::Damaged("password of a registry", error.to_string()))?;
            Ok(RegistryCredential { host: row.host, username: row.username, password })
        };
        rows.into_iter().map(open).collect()
    }
}

fn sealing_context(id: RegistryId) -> String {
    format!("registry:{id}")
}
