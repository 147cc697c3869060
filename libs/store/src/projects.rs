//! Projects: one repository of a connection, with its build rules.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{ConnectionId, ProjectId, TenantId};
use slipway_domain::rules::Rules;
use slipway_domain::spec::BuildOptions;
use slipway_domain::tenant::{ProjectState, Visibility};
use slipway_runtime::secret_key::SecretKey;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::batches;
use crate::connections::{NewConnection, insert_connection};
use crate::db::{Tx, execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::hooks::{NewHook, insert_hook};
use crate::reconciliations;
use crate::scope::Scope;

/// One repository with its build rules.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The link to its forge.
    pub connection_id: ConnectionId,
    /// The forge, from the connection.
    pub forge: ForgeKind,
    /// Unique within the tenant.
    pub name: String,
    /// The repository's full path on the forge.
    pub repo_path: String,
    /// The forge's own id of the repository, once it told it.
    pub repo_id: Option<String>,
    /// Where to clone from; set through the API, never a payload's.
    pub clone_url: String,
    /// The public half of its own key to clone with, if it has one.
    pub deploy_key_public: Option<String>,
    /// `host[:port]/path` of the image; without one nothing is pushed.
    pub image_repository: Option<String>,
    /// Tags instead of the default ones.
    pub image_tags: Option<Json<Vec<String>>>,
    /// The stage that is built for it.
    pub image_target: Option<String>,
    /// Further images.
    pub more_images: Json<Vec<ProjectImage>>,
    /// `host[:port]/path` that keeps the layers of all stages, for builders that have none of them.
    pub cache_repository: Option<String>,
    /// Who sees its builds.
    pub visibility: Visibility,
    /// How it is built.
    pub options: Json<BuildOptions>,
    /// What of it is built.
    pub rules: Json<Rules>,
    /// Where it is built; the installation's region unless set.
    pub region: Option<String>,
    /// Whether deliveries make builds.
    pub state: ProjectState,
    /// Why it is paused, where the service paused it.
    pub paused_reason: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Where an image of a project goes. Stored as JSON, but for the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectImage {
    /// `host[:port]/path`, without a tag.
    pub repository: String,
    /// Tags instead of the default ones.
    pub tags: Option<Vec<String>>,
    /// The stage that is built for it; what the build says unless set.
    #[serde(default)]
    pub target: Option<String>,
}

/// The connection of a new project. No `Debug`: it may hold a secret.
#[derive(Clone)]
pub enum ProjectConnection {
    /// One of the tenant's.
    Existing(ConnectionId),
    /// One that is made along with the project.
    New(NewConnection),
}

/// A project to be made, with its hook. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct NewProject {
    /// Its id.
    pub id: ProjectId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The link to its forge.
    pub connection: ProjectConnection,
    /// Unique within the tenant.
    pub name: String,
    /// The repository's full path on the forge.
    pub repo_path: String,
    /// Where to clone from.
    pub clone_url: String,
    /// Where its images go.
    pub images: Vec<ProjectImage>,
    /// Where the layers of all stages are kept.
    pub cache_repository: Option<String>,
    /// Who sees its builds.
    pub visibility: Visibility,
    /// How it is built.
    pub options: BuildOptions,
    /// What of it is built.
    pub rules: Rules,
    /// Where it is built.
    pub region: Option<String>,
    /// Its first hook.
    pub hook: NewHook,
    /// When it is made.
    pub now: DateTime<Utc>,
}

/// What of a project shall change; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectPatch {
    /// New build options, as a whole.
    pub options: Option<BuildOptions>,
    /// New rules, as a whole.
    pub rules: Option<Rules>,
    /// New visibility.
    pub visibility: Option<Visibility>,
    /// New images, as a whole; with none nothing is pushed any more.
    pub images: Option<Vec<ProjectImage>>,
    /// New repository for the layers of all stages; `Some(None)` keeps them nowhere any more.
    pub cache_repository: Option<Option<String>>,
    /// New region; `Some(None)` is the installation's.
    pub region: Option<Option<String>>,
}

/// Which projects to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectFilter {
    /// Only those with this in their name or in their repository's path, in whatever case.
    pub text: Option<String>,
    /// Only those whose newest build is in this state.
    pub last_build: Option<BuildState>,
    /// Only of this forge.
    pub forge: Option<ForgeKind>,
    /// Only those that are seen like this.
    pub visibility: Option<Visibility>,
    /// Only those in this state.
    pub state: Option<ProjectState>,
    /// Only those after this one.
    pub after: Option<ProjectId>,
    /// At most this many.
    pub limit: i64,
}

/// Selects whole projects; the condition follows.
macro_rules! select_projects {
    () => {
        "select p.id, p.tenant_id, p.connection_id, c.kind as forge, p.name, p.repo_path, p.repo_id, p.clone_url, \
        p.deploy_key_public, p.image_repository, p.image_tags, p.image_target, p.more_images, p.visibility, p.options, p.rules, \
        p.region, p.state, p.cache_repository, \
        p.paused_reason, p.created_at, p.updated_at from projects p join connections c on c.id = p.connection_id "
    };
}
pub(crate) use select_projects;

const PROJECT: &str = concat!(select_projects!(), "where p.id = $1");

impl Project {
    /// Where its images go; nowhere if empty.
    pub fn images(&self) -> Vec<ProjectImage> {
        // A release that knows of one only leaves the others when it takes that one away.
        let Some(repository) = self.image_repository.clone() else { return Vec::new() };
        let tags = self.image_tags.clone().map(|Json(tags)| tags);
        let first = ProjectImage { repository, tags, target: self.image_target.clone() };
        std::iter::once(first).chain(self.more_images.iter().cloned()).collect()
    }
}

impl Db {
    /// Makes a project with its hook, and its connection if that is new, all or nothing. The caller has
    /// authorised it for the tenant.
    pub async fn create_project(&self, key: &SecretKey, new: &NewProject) -> Result<Project> {
        let mut tx = self.begin_write().await?;
        let connection = match &new.connection {
            ProjectConnection::Existing(id) => owned_connection(&mut tx, new.tenant, *id).await?,
            ProjectConnection::New(connection) => {
                insert_connection(&mut tx, key, connection).await?;
                connection.id
            }
        };
        insert_project(&mut tx, new, connection).await?;
        insert_hook(&mut tx, key, new.id, &new.hook).await?;
        reconciliations::begin(&mut tx, new.id, new.now).await?;
        let project = project_in(&mut tx, new.id).await?;
        tx.commit().await?;
        Ok(project)
    }

    /// One project that the scope sees; public ones are seen by all.
    pub async fn project(&self, scope: &Scope, id: ProjectId) -> Result<Project> {
        const SEEN: &str =
            concat!(select_projects!(), "where p.id = $1 and ($2 or p.tenant_id = $3 or p.visibility = 'public')");
        on_db!(self, conn => sqlx::query_as(SEEN)
            .bind(id)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("project"))
    }

    /// Those of these projects that the scope sees, in one read.
    pub async fn projects(&self, scope: &Scope, ids: &[ProjectId]) -> Result<BTreeMap<ProjectId, Project>> {
        let found = batches::projects(self, scope, ids).await?;
        Ok(found.into_iter().map(|project| (project.id, project)).collect())
    }

    /// One project of a tenant by its name, if the scope sees it.
    pub async fn project_by_name(&self, scope: &Scope, tenant: TenantId, name: &str) -> Result<Project> {
        const NAMED: &str = concat!(
            select_projects!(),
            "where p.tenant_id = $1 and p.name = $2 and ($3 or p.tenant_id = $4 or p.visibility = 'public')"
        );
        on_db!(self, conn => sqlx::query_as(NAMED)
            .bind(tenant)
            .bind(name)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .fetch_optional(conn)
            .await?)
        .ok_or(StoreError::NotFound("project"))
    }

    /// The projects that the scope sees, oldest first. Members see those of their tenant; only callers
    /// without one see the public ones of all.
    pub async fn list_projects(&self, scope: &Scope, filter: &ProjectFilter) -> Result<Vec<Project>> {
        const LIST: &str = concat!(
            select_projects!(),
            "where ($1 or p.tenant_id = $2 or ($3 and p.visibility = 'public')) and ($4 is null or p.id > $4) \
            and ($5 is null or lower(p.name) like lower($5) escape '\\' or lower(p.repo_path) like lower($5) escape '\\') \
            and ($6 is null or $6 = (select b.state from builds b where b.project_id = p.id order by b.id desc limit 1)) \
            and ($7 is null or c.kind = $7) and ($8 is null or p.visibility = $8) and ($9 is null or p.state = $9) \
            order by p.id limit $10"
        );
        Ok(on_db!(self, conn => sqlx::query_as(LIST)
            .bind(scope.sight().all)
            .bind(scope.sight().tenant)
            .bind(*scope == Scope::Public)
            .bind(filter.after)
            .bind(filter.text.as_deref().map(containing))
            .bind(filter.last_build)
            .bind(filter.forge)
            .bind(filter.visibility)
            .bind(filter.state)
            .bind(filter.limit)
            .fetch_all(conn)
            .await?))
    }

    /// Changes a project of the scope. The caller has checked the role.
    pub async fn patch_project(
        &self,
        scope: &Scope,
        id: ProjectId,
        patch: &ProjectPatch,
        now: DateTime<Utc>,
    ) -> Result<Project> {
        const PATCH: &str = "update projects set options = $2, visibility = $3, image_repository = $4, \
            image_tags = $5, region = $6, rules = $7, image_target = $8, more_images = $9, \
            cache_repository = $10 where id = $1";
        let mut tx = self.begin_write().await?;
        touch(&mut tx, scope, id, now).await?;
        let project = project_in(&mut tx, id).await?;
        let images = patch.images.clone().unwrap_or_else(|| project.images());
        let (first, more) = first_and_more(&images);
        let options = patch.options.as_ref().unwrap_or(&project.options);
        let rules = patch.rules.as_ref().unwrap_or(&project.rules);
        let region = patch.region.as_ref().unwrap_or(&project.region);
        let cache_repository = patch.cache_repository.as_ref().unwrap_or(&project.cache_repository);
        execute!(
            &mut tx,
            PATCH,
            id,
            Json(options),
            patch.visibility.unwrap_or(project.visibility),
            first.map(|image| &image.repository),
            first.and_then(|image| image.tags.as_ref()).map(Json),
            region,
            Json(rules),
            first.and_then(|image| image.target.as_ref()),
            Json(more),
            cache_repository
        );
        let project = project_in(&mut tx, id).await?;
        tx.commit().await?;
        Ok(project)
    }

    /// Pauses or resumes a project of the scope; repeating it changes nothing. The caller has checked the
    /// role.
    pub async fn set_project_state(
        &self,
        scope: &Scope,
        id: ProjectId,
        state: ProjectState,
        now: DateTime<Utc>,
    ) -> Result<Project> {
        const STATE: &str = "update projects set state = $2, paused_reason = null, \
            counted_from = case when state = $2 then counted_from else $3 end where id = $1";
        let mut tx = self.begin_write().await?;
        touch(&mut tx, scope, id, now).await?;
        execute!(&mut tx, STATE, id, state, now);
        match state {
            ProjectState::Active => reconciliations::begin(&mut tx, id, now).await?,
            ProjectState::Paused => reconciliations::end(&mut tx, id).await?,
        }
        let project = project_in(&mut tx, id).await?;
        tx.commit().await?;
        Ok(project)
    }
}

/// Locks the row for the rest of the transaction, if it is the scope's own.
async fn touch(tx: &mut Tx, scope: &Scope, id: ProjectId, now: DateTime<Utc>) -> Result<()> {
    const TOUCH: &str = "update projects set updated_at = $4 where id = $1 and ($2 or tenant_id = $3)";
    let touched = execute!(tx, TOUCH, id, scope.sight().all, scope.sight().tenant, now);
    if touched == 1 { Ok(()) } else { Err(StoreError::NotFound("project")) }
}

/// The pattern of what holds this text.
fn containing(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

fn first_and_more(images: &[ProjectImage]) -> (Option<&ProjectImage>, &[ProjectImage]) {
    images.split_first().map_or((None, &[]), |(first, more)| (Some(first), more))
}

async fn project_in(tx: &mut Tx, id: ProjectId) -> Result<Project> {
    on_tx!(tx, conn => sqlx::query_as(PROJECT).bind(id).fetch_optional(conn).await?)
        .ok_or(StoreError::NotFound("project"))
}

async fn owned_connection(tx: &mut Tx, tenant: TenantId, id: ConnectionId) -> Result<ConnectionId> {
    const OWNED: &str = "select id from connections where id = $1 and tenant_id = $2";
    on_tx!(tx, conn => sqlx::query_scalar(OWNED).bind(id).bind(tenant).fetch_optional(conn).await?)
        .ok_or(StoreError::NotFound("connection"))
}

async fn insert_project(tx: &mut Tx, new: &NewProject, connection: ConnectionId) -> Result<()> {
    const CREATE: &str = "insert into projects (id, tenant_id, connection_id, name, repo_path, clone_url, \
        image_repository, image_tags, visibility, options, region, state, created_at, updated_at, rules, \
        image_target, more_images, cache_repository) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $15, $16, $17) \
        on conflict (tenant_id, name) do nothing";
    let (first, more) = first_and_more(&new.images);
    let added = execute!(
        tx,
        CREATE,
        new.id,
        new.tenant,
        connection,
        &new.name,
        &new.repo_path,
        &new.clone_url,
        first.map(|image| &image.repository),
        first.and_then(|image| image.tags.as_ref()).map(Json),
        new.visibility,
        Json(&new.options),
        &new.region,
        ProjectState::Active,
        new.now,
        Json(&new.rules),
        first.and_then(|image| image.target.as_ref()),
        Json(more),
        &new.cache_repository
    );
    if added == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict(format!("a project named \"{}\" exists already", new.name)))
    }
}
