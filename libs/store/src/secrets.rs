//! Secrets of projects and tenants, sealed here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::ids::{ProjectId, SecretId, TenantId};
use slipway_domain::secret::{MAX_SECRETS, Reach};
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// Whose a secret is: a project's, or the tenant's for all of its projects. A project's goes before its tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretOwner {
    /// The tenant, the project's if there is one.
    pub tenant: TenantId,
    /// The project.
    pub project: Option<ProjectId>,
}

/// A secret to be stored. No `Debug`.
#[derive(Clone)]
pub struct NewSecret {
    /// Its id, if the name is new.
    pub id: SecretId,
    /// Whose it is.
    pub owner: SecretOwner,
    /// Its name.
    pub name: String,
    /// Its value in plain text.
    pub value: String,
    /// Which builds get it.
    pub reach: Reach,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The project, if it is not the tenant's.
    pub project_id: Option<ProjectId>,
    /// Its name.
    pub name: String,
    /// Which builds get it.
    pub reach: Json<Reach>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it got this value.
    pub updated_at: DateTime<Utc>,
}

/// What became of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutSecret {
    /// The row as it is now.
    pub secret: Secret,
    /// True if there was one of this name.
    pub replaced: bool,
}

/// A secret in plain text. No `Debug`.
#[derive(Clone)]
pub struct OpenSecret {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Which builds get it.
    pub reach: Reach,
}

#[derive(FromRow)]
struct SealedRow {
    id: SecretId,
    name: String,
    value_sealed: Vec<u8>,
    reach: Json<Reach>,
}

impl Db {
    /// Stores a secret in the place of an older one of its name and owner. The caller has authorised it.
    pub async fn put_secret(&self, key: &SecretKey, new: &NewSecret) -> Result<PutSecret> {
        // The value is bound to the row's id, so the row must exist before it can be sealed.
        const OF_PROJECT: &str = "insert into secrets (id, tenant_id, project_id, name, value_sealed, reach, created_at, \
            updated_at) values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict (project_id, name) \
            where project_id is not null do update set reach = excluded.reach, updated_at = excluded.updated_at \
            returning id, tenant_id, project_id, name, reach, created_at, updated_at";
        const OF_TENANT: &str = "insert into secrets (id, tenant_id, project_id, name, value_sealed, reach, created_at, \
            updated_at) values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict (tenant_id, name) \
            where project_id is null do update set reach = excluded.reach, updated_at = excluded.updated_at \
            returning id, tenant_id, project_id, name, reach, created_at, updated_at";
        const SEAL: &str = "update secrets set value_sealed = $2 where id = $1";
        let put = if new.owner.project.is_some() { OF_PROJECT } else { OF_TENANT };
        let mut tx = self.begin_write().await?;
        let secret: Secret = on_tx!(&mut tx, conn => sqlx::query_as(put)
            .bind(new.id)
            .bind(new.owner.tenant)
            .bind(new.owner.project)
            .bind(&new.name)
            .bind(key.seal(&sealing_context(new.id), &new.value))
            .bind(Json(&new.reach))
            .bind(new.now)
            .fetch_one(conn)
            .await?);
        let replaced = secret.id != new.id;
        if replaced {
            execute!(&mut tx, SEAL, secret.id, key.seal(&sealing_context(secret.id), &new.value));
        } else if count(&mut tx, new.owner).await? > MAX_SECRETS {
            return Err(StoreError::Conflict(format!("there are {MAX_SECRETS} secrets already, which is the most")));
        }
        tx.commit().await?;
        Ok(PutSecret { secret, replaced })
    }

    /// The secrets of an owner that the scope sees, without their values; by name.
    pub async fn list_secrets(&self, scope: &Scope, owner: SecretOwner) -> Result<Vec<Secret>> {
        const LIST: &str = "select id, tenant_id, project_id, name, reach, created_at, updated_at from secrets \
            where tenant_id = $1 and project_id is not distinct from $2 and ($3 or tenant_id = $4) order by name";
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(owner.tenant)
            .bind(owner.project)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_all(conn)
            .await?))
    }

    /// Forgets a secret that the scope sees.
    pub async fn delete_secret(&self, scope: &Scope, owner: SecretOwner, name: &str) -> Result<()> {
        const DELETE: &str = "delete from secrets where tenant_id = $1 and project_id is not distinct from $2 \
            and name = $3 and ($4 or tenant_id = $5)";
        let mut tx = self.begin_write().await?;
        let (all, tenant) = (scope.sight().all, scope.sight().tenant);
        if execute!(&mut tx, DELETE, owner.tenant, owner.project, name, all, tenant) == 0 {
            return Err(StoreError::NotFound("secret"));
        }
        tx.commit().await
    }

    /// The secrets that a project's builds know by these names, in plain text; for services that hand them to a builder.
    /// Where a project and its tenant have one of the same name, the project's.
    pub async fn open_secrets(
        &self,
        key: &SecretKey,
        (tenant, project): (TenantId, ProjectId),
        names: &[String],
    ) -> Result<Vec<OpenSecret>> {
        // Tenant's first, so that the project's take their places.
        const SEALED: &str = "select id, name, value_sealed, reach from secrets \
            where project_id = $2 or (tenant_id = $1 and project_id is null) order by (project_id is not null), name";
        let rows: Vec<SealedRow> =
            on_db!(self, conn => sqlx::query_as(SEALED).bind(tenant).bind(project).fetch_all(conn).await?);
        let known = rows.into_iter().filter(|row| names.contains(&row.name));
        let by_name: BTreeMap<String, SealedRow> = known.map(|row| (row.name.clone(), row)).collect();
        let open = |row: SealedRow| {
            let value = key
                .open(&sealing_context(row.id), &row.value_sealed)
                .map_err(|error| StoreError::Damaged("value of a secret", error.to_string()))?;
            Ok(OpenSecret { name: row.name, value, reach: row.reach.0 })
        };
        by_name.into_values().map(open).collect()
    }
}

async fn count(tx: &mut Tx, owner: SecretOwner) -> Result<usize> {
    const COUNT: &str = "select count(*) from secrets where tenant_id = $1 and project_id is not distinct from $2";
    let count: i64 = on_tx!(tx, conn => sqlx::query_scalar(COUNT)
        .bind(owner.tenant)
        .bind(owner.project)
        .fetch_one(conn)
        .await?);
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn sealing_context(id: SecretId) -> String {
    format!("secret:{id}")
}
