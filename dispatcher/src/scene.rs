//! A database with tenants, sessions and jobs, for tests of who gets a job.

use std::time::Duration;

use slipway_bus::Bus;
use slipway_domain::agent::{ClaimRequest, Finish, Offer, OpenSession};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::build::Trigger;
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{HookId, JobId, SessionId, TenantId};
use slipway_domain::job::JobKind;
use slipway_domain::placement::Pool;
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_domain::tenant::Visibility;
use slipway_live::Live;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::{Egress, FetchAllow};
use slipway_runtime::ids::{new_id, random_id, token_hash};
use slipway_runtime::lifecycle::Life;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;
use slipway_store::builds::{NewBuild, NewJob, RefOrder};
use slipway_store::claims::Claim;
use slipway_store::connections::NewConnection;
use slipway_store::hooks::NewHook;
use slipway_store::leaders::Lead;
use slipway_store::projects::{NewProject, Project, ProjectConnection};
use slipway_store::sessions::NewSession;
use slipway_store::tenants::NewTenant;
use tempfile::TempDir;

use crate::claims::not_for;
use crate::{Deps, Dispatcher};

pub struct Scene {
    _folder: TempDir,
    pub deps: Deps,
    pub pool: Pool,
    lead: Lead,
}

impl Scene {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
        let db = Db::connect(&url).await.expect("a database");
        let clock = Clock::system();
        let pool: Pool = "local/standard/linux-amd64".parse().expect("a pool");
        db.create_join_token(new_id(), &token_hash("join"), &pool, clock.now()).await.expect("a token");
        let lead = db.take_lead("scheduler", random_id(), Duration::from_secs(600), clock.now()).await;
        let deps = Deps {
            db,
            bus: Bus::memory(&clock),
            live: Live::memory(),
            secret_key: SecretKey::generate(),
            egress: Egress::new(FetchAllow::default()),
            clock,
            life: Life::new(),
            trust_tenants: false,
        };
        Self { _folder: folder, deps, pool, lead: lead.expect("an answer").expect("nobody leads") }
    }

    pub async fn project(&self, name: &str) -> Project {
        let (db, now, tenant) = (&self.deps.db, self.deps.clock.now(), new_id::<TenantId>());
        let new = NewTenant {
            id: tenant,
            name: name.to_owned(),
            class: "standard".to_owned(),
            running_limit: 99,
            plan: "team".to_owned(),
            own_limit: true,
            now,
        };
        db.create_tenant(&new).await.expect("a tenant");
        project_of(&self.deps, tenant).await
    }

    /// A builder's session; its shared engine serves the tenant of its first job.
    pub async fn session(&self, name: &str) -> SessionId {
        let open = OpenSession {
            version: 1,
            builder: new_id(),
            builder_key: name.to_owned(),
            name: name.to_owned(),
            platform: "linux-amd64".to_owned(),
            slots: 8,
            release: "0.1.0".to_owned(),
            shared_engine: true,
            held: Vec::new(),
            claiming: Vec::new(),
        };
        let id = new_id();
        let new = NewSession {
            id,
            token_hash: &token_hash(name),
            join_hash: &token_hash("join"),
            key_hash: &token_hash(name),
            open: &open,
            trust_tenants: false,
        };
        self.deps.db.open_session(&new, self.deps.clock.now()).await.expect("an answer").expect("a session");
        id
    }

    /// A job that waits for a dispatch.
    pub async fn ready(&self, project: &Project) -> JobId {
        let (db, now) = (&self.deps.db, self.deps.clock.now());
        let (build, job, commit) = (new_id(), new_id(), "a".repeat(40));
        let spec = JobSpec {
            build,
            project: project.id,
            project_name: project.name.clone(),
            tenant: project.tenant_id,
            trigger: Trigger::Manual,
            forge: None,
            clone_url: project.clone_url.clone(),
            git_ref: None,
            commit: commit.clone(),
            change: None,
            asked: BuildOptions::default(),
            project_options: BuildOptions::default(),
            image: None,
            more_images: Vec::new(),
            cache_repository: None,
            created_at: now,
            context_max_bytes: 1,
            context_max_entries: 1,
            limits: slipway_domain::plan::Limits::default(),
        };
        let new = NewBuild {
            id: build,
            tenant: project.tenant_id,
            project: project.id,
            trigger: Trigger::Manual,
            git_ref: None,
            commit,
            before: None,
            dedupe_key: build.to_string(),
            order: RefOrder::None,
            rerun_of: None,
            change_number: None,
            told_at: None,
            title: None,
            actor: None,
            now,
            jobs: vec![NewJob {
                id: job,
                kind: JobKind::Image,
                pool: self.pool.clone(),
                timeout_secs: 60,
                blocked: false,
                spec,
            }],
            delivery: None,
        };
        db.create_build(&new).await.expect("a build");
        db.admit_job(&self.lead, job, now).await.expect("admitted");
        job
    }

    /// A builder of its own claims a job.
    pub async fn running(&self, job: JobId) -> AttemptRef {
        let (db, now, dispatch) = (&self.deps.db, self.deps.clock.now(), new_id());
        assert!(db.dispatch_job(job, dispatch, now).await.expect("an answer"));
        let claim = Claim {
            request: ClaimRequest { session: self.session("runs").await, job, dispatch, claim: new_id() },
            one_tenant_per_shared_engine: true,
            token_hash: &|attempt, claim| token_hash(&format!("{attempt}:{claim}")),
        };
        db.claim_job(&claim, now).await.expect("an answer").expect("a free claim").attempt
    }

    /// Its attempt ends well.
    pub async fn finish(&self, attempt: AttemptRef) {
        let finish = Finish {
            outcome: AttemptOutcome::Succeeded,
            failure: None,
            images: Vec::new(),
            built: Vec::new(),
            remarks: Default::default(),
            log_end: 0,
            log_sha256: "00".repeat(32),
        };
        self.deps.db.finish_attempt(attempt, &finish, self.deps.clock.now()).await.expect("booked");
    }
}

/// What `POST /agent/v1/claims` does at a dispatcher, whoever keeps the session. True if it won.
pub async fn claims(at: &Dispatcher, session: SessionId, offer: Offer) -> bool {
    let request = ClaimRequest { session, job: offer.job, dispatch: offer.dispatch, claim: new_id() };
    match at.claims.ask(request).await.expect("an answer").expect("the store answers") {
        Ok(_) => true,
        Err(refusal) => {
            not_for(at, request, refusal).await.expect("given back");
            false
        }
    }
}

/// A project of a tenant.
pub async fn project_of(deps: &Deps, tenant: TenantId) -> Project {
    let now = deps.clock.now();
    let connection = NewConnection {
        id: new_id(),
        tenant,
        kind: ForgeKind::Github,
        base_url: None,
        token: None,
        installation: None,
        now,
    };
    let new = NewProject {
        id: new_id(),
        tenant,
        connection: ProjectConnection::New(connection),
        name: "app".to_owned(),
        repo_path: "team/app".to_owned(),
        clone_url: "https://github.com/team/app.git".to_owned(),
        images: Vec::new(),
        cache_repository: None,
        visibility: Visibility::Private,
        options: BuildOptions::default(),
        rules: slipway_domain::rules::Rules::default(),
        region: None,
        hook: NewHook { id: random_id::<HookId>(), secret: "secret".to_owned(), now },
        now,
    };
    deps.db.create_project(&deps.secret_key, &new).await.expect("a project")
}
