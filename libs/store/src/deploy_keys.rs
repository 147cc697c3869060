//! Keys of projects to fetch with over ssh, sealed here. One key for one repository: it opens nothing else.

use chrono::{DateTime, Utc};
use slipway_domain::ids::ProjectId;
use slipway_runtime::secret_key::SecretKey;

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

impl Db {
    /// Gives a project of the scope a key, unless it has one; the public half of the one that it has then. Of two that
    /// come at the same time, the second finds the first one's.
    pub async fn ensure_deploy_key(
        &self,
        key: &SecretKey,
        scope: &Scope,
        project: ProjectId,
        (private, public): (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<String> {
        const ENSURE: &str = "update projects set deploy_key_sealed = $4, deploy_key_public = $5, updated_at = $6 \
            where id = $1 and ($2 or tenant_id = $3) and deploy_key_public is null";
        let mut tx = self.begin_write().await?;
        let sealed = key.seal(&context(project), private);
        execute!(&mut tx, ENSURE, project, scope.sight().all, scope.sight().tenant, sealed, public, now);
        tx.commit().await?;
        self.project(scope, project).await?.deploy_key_public.ok_or(StoreError::NotFound("project"))
    }

    /// Takes a project's key away; the public half of the one that it had.
    pub async fn remove_deploy_key(
        &self,
        scope: &Scope,
        project: ProjectId,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        const REMOVE: &str = "update projects set deploy_key_sealed = null, deploy_key_public = null, updated_at = $4 \
            where id = $1 and ($2 or tenant_id = $3)";
        let had = self.project(scope, project).await?.deploy_key_public;
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, REMOVE, project, scope.sight().all, scope.sight().tenant, now);
        tx.commit().await?;
        Ok(had)
    }

    /// The private half of a project's key; for services, which never show it.
    pub async fn deploy_key(&self, key: &SecretKey, project: ProjectId) -> Result<Option<String>> {
        const KEY: &str = "select deploy_key_sealed from projects where id = $1";
        let sealed: Option<Option<Vec<u8>>> =
            on_db!(self, conn => sqlx::query_scalar(KEY).bind(project).fetch_optional(conn).await?);
        let open = |sealed: Vec<u8>| {
            key.open(&context(project), &sealed)
                .map_err(|error| StoreError::Damaged("deploy key of a project", error.to_string()))
        };
        sealed.flatten().map(open).transpose()
    }
}

fn context(project: ProjectId) -> String {
    format!("deploy-key:{project}")
}
