//! Tenants, and the one hot row per tenant that holds how much it runs.

use chrono::{DateTime, Utc};
use slipway_domain::ids::TenantId;
use slipway_domain::plan::{DEFAULT_PLAN, Limits, Plans};
use slipway_runtime::ids::new_id;
use sqlx::FromRow;

use crate::Db;
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::scope::Scope;

/// The name of the tenant that exists from the start.
pub const DEFAULT_TENANT: &str = "default";
/// The class of builders that the default tenant's plan buys.
pub const DEFAULT_CLASS: &str = "standard";

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its unique name.
    pub name: String,
    /// The class of builders that its plan buys.
    pub class: String,
    /// The plan that it buys; one that the operator took away counts as the default one.
    pub plan: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How much it runs.
    #[sqlx(flatten)]
    pub jobs: TenantRunning,
}

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// Its unique name.
    pub name: String,
    /// The class of builders that its plan buys.
    pub class: String,
    /// The plan that it buys.
    pub plan: String,
    /// Jobs that it may run at once.
    pub running_limit: i64,
    /// Whether this number is its own, which no plan changes.
    pub own_limit: bool,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// How much a tenant runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct TenantRunning {
    /// Jobs in ready..cancelling.
    pub running: i64,
    /// How many there may be.
    pub running_limit: i64,
    /// Whether this number is its own, which no plan changes.
    pub own_limit: bool,
}

macro_rules! select_tenant {
    () => {
        "select id, name, class, plan, created_at, running, running_limit, own_limit \
         from tenants join tenant_running on tenant_id = id "
    };
}

impl Db {
    /// Makes the first tenant unless it exists; idempotent, also when two processes start at once.
    pub async fn ensure_default_tenant(&self, now: DateTime<Utc>) -> Result<TenantId> {
        const FIND: &str = "select id from tenants where name = $1";
        let new = NewTenant {
            id: new_id(),
            name: DEFAULT_TENANT.to_owned(),
            class: DEFAULT_CLASS.to_owned(),
            plan: DEFAULT_PLAN.to_owned(),
            running_limit: jobs_of(Limits::default()),
            own_limit: false,
            now,
        };
        let mut tx = self.begin_write().await?;
        insert_tenant(&mut tx, &new).await?;
        let id = on_tx!(&mut tx, conn => sqlx::query_scalar(FIND).bind(DEFAULT_TENANT).fetch_one(conn).await?);
        tx.commit().await?;
        Ok(id)
    }

    /// Makes a tenant. The caller has authorised it.
    pub async fn create_tenant(&self, new: &NewTenant) -> Result<()> {
        let mut tx = self.begin_write().await?;
        if !insert_tenant(&mut tx, new).await? {
            return Err(StoreError::Conflict(format!("a tenant named \"{}\" exists already", new.name)));
        }
        tx.commit().await
    }

    /// One tenant that the scope sees.
    pub async fn tenant(&self, scope: &Scope, id: TenantId) -> Result<Tenant> {
        const TENANT: &str = concat!(select_tenant!(), "where id = $1 and ($2 or id = $3)");
        on_db!(self, conn => sqlx::query_as(TENANT)
            .bind(id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("tenant"))
    }

    /// One tenant that the scope sees, by name.
    pub async fn tenant_by_name(&self, scope: &Scope, name: &str) -> Result<Tenant> {
        const TENANT: &str = concat!(select_tenant!(), "where name = $1 and ($2 or id = $3)");
        on_db!(self, conn => sqlx::query_as(TENANT)
            .bind(name)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("tenant"))
    }

    /// The tenants that the scope sees, oldest first.
    pub async fn list_tenants(&self, scope: &Scope) -> Result<Vec<Tenant>> {
        const LIST: &str = concat!(select_tenant!(), "where ($1 or id = $2) order by id");
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_all(conn)
            .await?))
    }

    /// How much a tenant runs; for services.
    pub async fn tenant_running(&self, id: TenantId) -> Result<TenantRunning> {
        const RUNNING: &str = "select running, running_limit, own_limit from tenant_running where tenant_id = $1";
        on_db!(self, conn => sqlx::query_as(RUNNING).bind(id).fetch_optional(conn).await?)
            .ok_or(StoreError::NotFound("tenant"))
    }

    /// Gives a tenant a plan where one is named and, where `jobs` says so, a number of jobs at once of its own
    /// (`Some(Some(_))`) or again the plan's (`Some(None)`). All of it or nothing; the caller has authorised it.
    pub async fn change_tenant(
        &self,
        id: TenantId,
        plan: Option<&str>,
        jobs: Option<Option<i64>>,
        plans: &Plans,
    ) -> Result<()> {
        // Whoever changes it at the same time waits here.
        const PLAN: &str = "update tenants set plan = coalesce($2, plan) where id = $1 returning plan";
        const OWN: &str = "update tenant_running set running_limit = $2, own_limit = $3 where tenant_id = $1";
        const FOLLOW: &str = "update tenant_running set running_limit = $2 where tenant_id = $1 and not own_limit";
        let mut tx = self.begin_write().await?;
        let (plan,): (String,) =
            on_tx!(&mut tx, conn => sqlx::query_as(PLAN).bind(id).bind(plan).fetch_optional(conn).await?)
                .ok_or(StoreError::NotFound("tenant"))?;
        let follows = jobs_of(plans.limits(&plan));
        match jobs {
            Some(own) => execute!(&mut tx, OWN, id, own.unwrap_or(follows), own.is_some()),
            None => execute!(&mut tx, FOLLOW, id, follows),
        };
        tx.commit().await
    }

    /// Makes the plans' numbers of jobs count for all tenants that follow them; at every start, because an operator may
    /// have changed them. Processes that know different plans undo each other's work; the last one to start wins.
    pub async fn follow_plans(&self, plans: &Plans) -> Result<()> {
        const FOLLOW: &str = "update tenant_running set running_limit = $2 where tenant_id = $1 and not own_limit \
            and running_limit <> $2";
        let tenants = self.list_tenants(&Scope::Operator).await?;
        let mut tx = self.begin_write().await?;
        for tenant in tenants {
            execute!(&mut tx, FOLLOW, tenant.id, jobs_of(plans.limits(&tenant.plan)));
        }
        tx.commit().await
    }
}

/// False if the name is taken.
async fn insert_tenant(tx: &mut Tx, new: &NewTenant) -> Result<bool> {
    const TENANT: &str = "insert into tenants (id, name, class, plan, created_at) values ($1, $2, $3, $4, $5) \
        on conflict (name) do nothing";
    const RUNNING: &str = "insert into tenant_running (tenant_id, running, running_limit, own_limit) \
        values ($1, 0, $2, $3)";
    let added = execute!(tx, TENANT, new.id, &new.name, &new.class, &new.plan, new.now);
    if added == 1 {
        execute!(tx, RUNNING, new.id, new.running_limit, new.own_limit);
    }
    Ok(added == 1)
}

fn jobs_of(limits: Limits) -> i64 {
    i64::try_from(limits.jobs).unwrap_or(i64::MAX)
}
