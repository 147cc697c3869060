//! Hooks: opaque receiving URLs with their secrets, sealed here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{HookId, ProjectId, TenantId};
use slipway_domain::tenant::ProjectState;
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;

use crate::Db;
use crate::batches;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// A hook to be made with its project. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct NewHook {
    /// Random, never time-ordered: it is the URL.
    pub id: HookId,
    /// The secret in plain text.
    pub secret: String,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// All that receiving a delivery needs. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Hook {
    /// Its id.
    pub id: HookId,
    /// The project.
    pub project_id: ProjectId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The forge that delivers here.
    pub forge: ForgeKind,
    /// Whether deliveries make builds.
    pub project_state: ProjectState,
    /// The project's repository on its forge.
    pub repo_path: String,
    /// The forge's own id of the repository, once it told it.
    pub repo_id: Option<String>,
    /// The current secret, then the previous one while both hold.
    pub secrets: Vec<String>,
}

/// A hook with its secrets still sealed.
#[derive(FromRow)]
pub(crate) struct HookRow {
    id: HookId,
    project_id: ProjectId,
    tenant_id: TenantId,
    forge: ForgeKind,
    project_state: ProjectState,
    repo_path: String,
    repo_id: Option<String>,
    secret_sealed: Vec<u8>,
    previous_sealed: Option<Vec<u8>>,
}

impl Db {
    /// One hook with its secrets, its forge and its project's state; see [`Db::hooks`].
    pub async fn hook(&self, key: &SecretKey, id: HookId) -> Result<Hook> {
        self.hooks(key, &[id]).await?.remove(&id).unwrap_or(Err(StoreError::NotFound("hook")))
    }

    /// Those of these hooks that exist, in one read. A secret that cannot be opened spoils only its own hook.
    pub async fn hooks(&self, key: &SecretKey, ids: &[HookId]) -> Result<BTreeMap<HookId, Result<Hook>>> {
        let rows = batches::hooks(self, ids).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.open(key))).collect())
    }

    /// The hooks of a project of the scope, oldest first.
    pub async fn hooks_of_project(&self, scope: &Scope, project: ProjectId) -> Result<Vec<HookId>> {
        const HOOKS: &str = "select h.id from hooks h join projects p on p.id = h.project_id \
            where h.project_id = $1 and ($2 or p.tenant_id = $3) order by h.created_at, h.id";
        Ok(on_db!(self, conn => sqlx::query_scalar(HOOKS)
            .bind(project)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_all(conn)
            .await?))
    }

    /// Adds a hook to a project of the scope, such as one for a second place that tells of its pushes.
    pub async fn add_hook(&self, key: &SecretKey, scope: &Scope, project: ProjectId, new: &NewHook) -> Result<()> {
        const OWNED: &str = "select count(*) from projects where id = $1 and ($2 or tenant_id = $3)";
        let mut tx = self.begin_write().await?;
        let owned: i64 = on_tx!(&mut tx, conn => sqlx::query_scalar(OWNED)
            .bind(project)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_one(conn)
            .await?);
        if owned == 0 {
            return Err(StoreError::NotFound("project"));
        }
        insert_hook(&mut tx, key, project, new).await?;
        tx.commit().await
    }

    /// Gives a hook of the scope a new secret; the old one holds until the next rotation.
    pub async fn rotate_hook_secret(&self, key: &SecretKey, scope: &Scope, id: HookId, secret: &str) -> Result<()> {
        const ROTATE: &str = "update hooks set previous_sealed = secret_sealed, secret_sealed = $4 \
            where id = $1 and project_id in (select id from projects where ($2 or tenant_id = $3))";
        let mut tx = self.begin_write().await?;
        let rotated = execute!(
            &mut tx,
            ROTATE,
            id,
            scope.sight().all,
            scope.sight().tenant,
            key.seal(&sealing_context(id), secret)
        );
        if rotated == 0 {
            return Err(StoreError::NotFound("hook"));
        }
        tx.commit().await
    }
}

impl HookRow {
    fn open(self, key: &SecretKey) -> Result<Hook> {
        let open = |sealed: &Vec<u8>| {
            key.open(&sealing_context(self.id), sealed)
                .map_err(|error| StoreError::Damaged("secret of a hook", error.to_string()))
        };
        let secrets =
            std::iter::once(&self.secret_sealed).chain(&self.previous_sealed).map(open).collect::<Result<_>>()?;
        Ok(Hook {
            id: self.id,
            project_id: self.project_id,
            tenant_id: self.tenant_id,
            forge: self.forge,
            project_state: self.project_state,
            repo_path: self.repo_path,
            repo_id: self.repo_id,
            secrets,
        })
    }
}

/// Inserts a hook in the caller's transaction.
pub(crate) async fn insert_hook(tx: &mut Tx, key: &SecretKey, project: ProjectId, new: &NewHook) -> Result<()> {
    const CREATE: &str = "insert into hooks (id, project_id, secret_sealed, created_at) values ($1, $2, $3, $4)";
    execute!(tx, CREATE, new.id, project, key.seal(&sealing_context(new.id), &new.secret), new.now);
    Ok(())
}

fn sealing_context(id: HookId) -> String {
    format!("hook:{id}")
}
