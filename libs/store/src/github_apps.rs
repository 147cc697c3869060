//! GitHub Apps of tenants: their keys and hook secrets, sealed here; which projects an installation's deliveries are of;
//! and when an App's failed deliveries are looked for, by lease.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::ids::{ConnectionId, GithubAppId, HookId, ProcessId, TenantId};
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;

use crate::Db;
use crate::connections::AppInstallation;
use crate::db::{execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::readable::{Rows, split};
use crate::scope::Scope;

/// An App to be kept. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct NewGithubApp {
    /// Random, never time-ordered: its hook's URL ends with it.
    pub id: GithubAppId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its GitHub is; github.com unless set.
    pub base_url: Option<String>,
    /// GitHub's number of it.
    pub app_id: i64,
    /// Its name in addresses.
    pub slug: String,
    /// Its private key, PEM.
    pub private_key: String,
    /// Signs its deliveries.
    pub webhook_secret: String,
    /// When it came.
    pub now: DateTime<Utc>,
}

/// An App as its owners see it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GithubApp {
    /// Its id here.
    pub id: GithubAppId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Where its GitHub is; github.com unless set.
    pub base_url: Option<String>,
    /// GitHub's number of it.
    pub app_id: i64,
    /// Its name in addresses.
    pub slug: String,
    /// When it came.
    pub created_at: DateTime<Utc>,
    /// Why its failed deliveries could not be asked for lately.
    pub last_error: Option<String>,
}

/// What is needed to speak as an App. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct GithubAppAccess {
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its GitHub is; github.com unless set.
    pub base_url: Option<String>,
    /// GitHub's number of it.
    pub app_id: i64,
    /// Its private key, PEM.
    pub private_key: String,
    /// Signs its deliveries.
    pub webhook_secret: String,
}

#[derive(FromRow)]
struct AccessRow {
    tenant_id: TenantId,
    base_url: Option<String>,
    app_id: i64,
    key_sealed: Vec<u8>,
    secret_sealed: Vec<u8>,
}

impl Db {
    /// Keeps an App, once. The caller has authorised it for the tenant.
    pub async fn create_github_app(&self, key: &SecretKey, new: &NewGithubApp) -> Result<()> {
        const CREATE: &str = "insert into github_apps (id, tenant_id, base_url, app_id, slug, key_sealed, \
            secret_sealed, created_at, next_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $8) on conflict do nothing";
        let mut tx = self.begin_write().await?;
        let made = execute!(
            &mut tx,
            CREATE,
            new.id,
            new.tenant,
            &new.base_url,
            new.app_id,
            &new.slug,
            key.seal(&key_context(new.id), &new.private_key),
            key.seal(&secret_context(new.id), &new.webhook_secret),
            new.now
        );
        if made == 0 {
            return Err(StoreError::Conflict("this App is kept already".to_owned()));
        }
        tx.commit().await
    }

    /// Forgets an App that no connection uses.
    pub async fn delete_github_app(&self, id: GithubAppId) -> Result<()> {
        const DELETE: &str = "delete from github_apps where id = $1";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, DELETE, id);
        tx.commit().await
    }

    /// The Apps that the scope sees, oldest first.
    pub async fn list_github_apps(&self, scope: &Scope) -> Result<Vec<GithubApp>> {
        const LIST: &str = "select id, tenant_id, base_url, app_id, slug, created_at, last_error from github_apps \
            where ($1 or tenant_id = $2) order by created_at, id";
        let sight = scope.sight();
        Ok(on_db!(self, conn => sqlx::query_as(LIST).bind(sight.all).bind(sight.tenant).fetch_all(conn).await?))
    }

    /// One App that the scope sees.
    pub async fn github_app(&self, scope: &Scope, id: GithubAppId) -> Result<GithubApp> {
        let apps = self.list_github_apps(scope).await?;
        apps.into_iter().find(|app| app.id == id).ok_or(StoreError::NotFound("GitHub App"))
    }

    /// How to speak as an App, and what its deliveries are signed with; for services, which never show it.
    pub async fn github_app_access(&self, key: &SecretKey, id: GithubAppId) -> Result<GithubAppAccess> {
        const ACCESS: &str =
            "select tenant_id, base_url, app_id, key_sealed, secret_sealed from github_apps where id = $1";
        let row: AccessRow = on_db!(self, conn => sqlx::query_as(ACCESS).bind(id).fetch_optional(conn).await?)
            .ok_or(StoreError::NotFound("GitHub App"))?;
        let secret = key.open(&secret_context(id), &row.secret_sealed);
        Ok(GithubAppAccess {
            tenant: row.tenant_id,
            base_url: row.base_url,
            app_id: row.app_id,
            private_key: open_key(key, id, &row.key_sealed)?,
            webhook_secret: secret
                .map_err(|error| StoreError::Damaged("hook secret of a GitHub App", error.to_string()))?,
        })
    }

    /// The connection that stands for an installation, if there is one.
    pub async fn connection_of_installation(&self, of: AppInstallation) -> Result<Option<ConnectionId>> {
        const OF: &str =
            "select id from connections where github_app_id = $1 and installation_id = $2 order by id limit 1";
        Ok(on_db!(self, conn => sqlx::query_scalar(OF).bind(of.app).bind(of.id).fetch_optional(conn).await?))
    }

    /// The first hook of each project that builds this repository through this installation: by the repository's id
    /// where the project knows it, else by its path.
    pub async fn hooks_of_installation(
        &self,
        of: AppInstallation,
        (repo_id, repo_path): (&str, &str),
    ) -> Result<Vec<HookId>> {
        const HOOKS: &str = "select (select h.id from hooks h where h.project_id = p.id order by h.created_at, h.id \
            limit 1) from projects p join connections c on c.id = p.connection_id where c.github_app_id = $1 \
            and c.installation_id = $2 and (p.repo_id = $3 or lower(p.repo_path) = lower($4)) order by p.id";
        let hooks: Vec<Option<HookId>> = on_db!(self, conn => sqlx::query_scalar(HOOKS)
            .bind(of.app)
            .bind(of.id)
            .bind(repo_id)
            .bind(repo_path)
            .fetch_all(conn)
            .await?);
        Ok(hooks.into_iter().flatten().collect())
    }

    /// Takes Apps whose failed deliveries are due to be looked for, at most `limit`.
    pub async fn lease_github_apps(
        &self,
        owner: ProcessId,
        now: DateTime<Utc>,
        lease: TimeDelta,
        limit: i64,
    ) -> Result<Vec<GithubAppId>> {
        const LEASE: &str = "update github_apps set lease_owner = $1, lease_until = $2 where id in \
            (select id from github_apps where next_at <= $3 and (lease_until is null or lease_until < $3) \
            order by next_at limit $4) and (lease_until is null or lease_until < $3) returning id";
        let mut tx = self.begin_write().await?;
        let leased: Rows<(GithubAppId,)> = on_tx!(&mut tx, conn => split(&sqlx::query(LEASE)
            .bind(owner)
            .bind(now + lease)
            .bind(now)
            .bind(limit)
            .fetch_all(conn)
            .await?));
        tx.commit().await?;
        Ok(leased.tell("github_apps").into_iter().map(|(id,)| id).collect())
    }

    /// Ends a look for failed deliveries.
    pub async fn finish_github_app(
        &self,
        owner: ProcessId,
        id: GithubAppId,
        failed: Option<&str>,
        next_at: DateTime<Utc>,
    ) -> Result<()> {
        const FINISH: &str = "update github_apps set lease_owner = null, lease_until = null, last_error = $3, \
            next_at = $4 where id = $1 and lease_owner = $2";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, FINISH, id, owner, failed, next_at);
        tx.commit().await
    }
}

/// Opens an App's private key.
pub(crate) fn open_key(key: &SecretKey, id: GithubAppId, sealed: &[u8]) -> Result<String> {
    key.open(&key_context(id), sealed)
        .map_err(|error| StoreError::Damaged("private key of a GitHub App", error.to_string()))
}

fn key_context(id: GithubAppId) -> String {
    format!("github-app-key:{id}")
}

fn secret_context(id: GithubAppId) -> String {
    format!("github-app-secret:{id}")
}
