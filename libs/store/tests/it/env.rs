//! A fresh database per test, rows to start from, and the macro that runs one test body on both databases.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use slipway_domain::build::Trigger;
use slipway_domain::event::{ForgeKind, HookAuth};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProjectId, TenantId};
use slipway_domain::job::JobKind;
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_domain::tenant::Visibility;
use slipway_runtime::ids::{new_id, random_id};
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;
use slipway_store::builds::{NewBuild, NewJob, RefOrder};
use slipway_store::connections::NewConnection;
use slipway_store::deliveries::{NewDelivery, Verdict};
use slipway_store::hooks::{Hook, NewHook};
use slipway_store::projects::{NewProject, Project, ProjectConnection, ProjectImage};
use slipway_store::tenants::NewTenant;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// A commit id made of one digit.
pub fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// The time at which the tests' world stands still.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 123_456_000).expect("a valid time")
}

/// So many seconds after [`start`].
pub fn later(secs: i64) -> DateTime<Utc> {
    start() + TimeDelta::seconds(secs)
}

/// What a test works with.
#[derive(Clone)]
pub struct Env {
    pub db: Db,
    pub key: SecretKey,
}

/// A project with its hook, as most tests need it.
pub struct World {
    pub tenant: TenantId,
    pub project: Project,
    pub hook: Hook,
}

/// Runs one test body on SQLite and on PostgreSQL.
macro_rules! both {
    (async fn $name:ident($env:ident) $body:block) => {
        mod $name {
            use super::*;

            async fn body($env: crate::env::Env) $body

            #[tokio::test]
            async fn sqlite() {
                crate::env::on_sqlite(body).await;
            }

            #[tokio::test]
            async fn postgres() {
                crate::env::on_postgres(body).await;
            }
        }
    };
}

pub(crate) use both;

pub async fn on_sqlite<F: Future<Output = ()>>(body: impl FnOnce(Env) -> F) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
    body(Env::connect(&url).await).await;
}

pub async fn on_postgres<F: Future<Output = ()>>(body: impl FnOnce(Env) -> F) {
    let Some(server) = postgres_server() else { return };
    let database = Database::create(&server).await;
    let env = Env::connect(&database.url).await;
    let result = AssertUnwindSafe(body(env.clone())).catch_unwind().await;
    env.db.close().await;
    database.drop().await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The server to make databases on; a loud skip, or a failure where backends are required.
pub fn postgres_server() -> Option<String> {
    let url = std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(
            std::env::var("REQUIRE_BACKENDS").is_err(),
            "REQUIRE_BACKENDS is set, but TEST_POSTGRES_URL does not name a PostgreSQL server"
        );
        eprintln!("SKIPPED on PostgreSQL: set TEST_POSTGRES_URL=postgres://user@host:port/postgres");
    }
    url
}

/// A database of its own on a shared server.
pub struct Database {
    server: String,
    name: String,
    pub url: String,
}

impl Database {
    pub async fn create(server: &str) -> Self {
        let name = format!("slipway_it_{}", uuid_text());
        run_on(server, format!("create database {name}")).await;
        let (before, query) =
            server.split_once('?').map_or((server, String::new()), |(before, query)| (before, format!("?{query}")));
        let base = before.rsplit_once('/').map_or(before, |(base, _)| base);
        Self { server: server.to_owned(), url: format!("{base}/{name}{query}"), name }
    }

    pub async fn drop(self) {
        run_on(&self.server, format!("drop database {} with (force)", self.name)).await;
    }
}

async fn run_on(server: &str, sql: String) {
    let mut connection = PgConnection::connect(server).await.expect("TEST_POSTGRES_URL answers");
    connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("the user may make databases");
    connection.close().await.expect("a clean goodbye");
}

fn uuid_text() -> String {
    random_id::<BuildId>().to_string().replace('-', "")
}

impl Env {
    pub async fn connect(url: &str) -> Self {
        let db = Db::connect(url).await.expect("a fresh database opens");
        Self { db, key: SecretKey::generate() }
    }

    pub async fn tenant(&self, name: &str) -> TenantId {
        let id = new_id();
        let new = NewTenant {
            id,
            name: name.to_owned(),
            class: "standard".to_owned(),
            running_limit: 2,
            plan: "team".to_owned(),
            own_limit: true,
            now: start(),
        };
        self.db.create_tenant(&new).await.expect("a new name");
        id
    }

    /// A tenant of this name with one private GitHub project and its hook.
    pub async fn world(&self, name: &str) -> World {
        let tenant = self.tenant(name).await;
        self.world_of(tenant, "app").await
    }

    pub async fn world_of(&self, tenant: TenantId, name: &str) -> World {
        let new = new_project(tenant, name);
        let project = self.db.create_project(&self.key, &new).await.expect("a new project");
        let hook = self.db.hook(&self.key, new.hook.id).await.expect("its hook");
        World { tenant, project, hook }
    }

    /// A build of the commit with one job that is queued.
    pub async fn build(&self, world: &World, key: &str, commit: String) -> BuildId {
        let new = new_build(&world.project, key, commit);
        self.db.create_build(&new).await.expect("a new build").build
    }
}

pub fn new_project(tenant: TenantId, name: &str) -> NewProject {
    NewProject {
        cache_repository: None,
        id: new_id(),
        tenant,
        connection: ProjectConnection::New(NewConnection {
            id: new_id(),
            tenant,
            kind: ForgeKind::Github,
            base_url: None,
            token: Some("forge-token".to_owned()),
            installation: None,
            now: start(),
        }),
        name: name.to_owned(),
        repo_path: format!("acme/{name}"),
        clone_url: format!("https://github.com/acme/{name}.git"),
        images: vec![ProjectImage { repository: "registry.example/acme/app".to_owned(), tags: None, target: None }],
        visibility: Visibility::Private,
        options: BuildOptions { target: Some("run".to_owned()), ..BuildOptions::default() },
        rules: slipway_domain::rules::Rules::default(),
        region: None,
        hook: NewHook { id: random_id(), secret: "hook-secret".to_owned(), now: start() },
        now: start(),
    }
}

pub fn new_delivery(hook: &Hook, key: &str) -> NewDelivery {
    NewDelivery {
        id: new_id(),
        hook: hook.id,
        project: hook.project_id,
        tenant: hook.tenant_id,
        delivery_key: key.to_owned(),
        event: "push".to_owned(),
        auth: HookAuth::HmacSha256,
        verdict: Verdict::Work,
        headers: [("x-github-event".to_owned(), "push".to_owned())].into(),
        body: b"{\"ref\":\"refs/heads/main\"}".to_vec(),
        body_blob: None,
        moves: Vec::new(),
        held_by: None,
        now: start(),
    }
}

pub fn new_build(project: &Project, key: &str, commit: String) -> NewBuild {
    let id = new_id();
    let git_ref = GitRef::parse("refs/heads/main").expect("a good ref");
    NewBuild {
        id,
        tenant: project.tenant_id,
        project: project.id,
        trigger: Trigger::Push,
        git_ref: Some(git_ref.clone()),
        commit: commit.clone(),
        before: None,
        dedupe_key: key.to_owned(),
        order: RefOrder::Head,
        rerun_of: None,
        change_number: None,
        told_at: None,
        title: Some("a title".to_owned()),
        actor: Some("somebody".to_owned()),
        now: start(),
        jobs: vec![NewJob {
            id: new_id(),
            kind: JobKind::Image,
            pool: "local/standard/linux-amd64".parse().expect("a pool"),
            timeout_secs: 60,
            blocked: false,
            spec: job_spec(project.id, project, id, &git_ref, commit),
        }],
        delivery: None,
    }
}

fn job_spec(id: ProjectId, project: &Project, build: BuildId, git_ref: &GitRef, commit: String) -> JobSpec {
    JobSpec {
        build,
        project: id,
        project_name: project.name.clone(),
        tenant: project.tenant_id,
        trigger: Trigger::Push,
        forge: Some(project.forge),
        clone_url: project.clone_url.clone(),
        git_ref: Some(git_ref.clone()),
        commit,
        change: None,
        asked: BuildOptions::default(),
        project_options: BuildOptions::default(),
        image: None,
        more_images: Vec::new(),
        cache_repository: None,
        created_at: start(),
        context_max_bytes: 1,
        context_max_entries: 1,
        limits: slipway_domain::plan::Limits::default(),
    }
}
