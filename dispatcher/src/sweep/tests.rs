//! The sweeper over a real SQLite file and a small registry that remembers what it is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::future::join_all;
use http::Method;
use sha2::{Digest as _, Sha256};
use slipway_bus::Bus;
use slipway_domain::agent::{ClaimRequest, Leave, LeaveRequest, LeaveReturn, OpenSession};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::{CancelledBy, Trigger};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, SessionId};
use slipway_domain::job::JobKind;
use slipway_domain::placement::Pool;
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_live::Live;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::{Egress, FetchAllow};
use slipway_runtime::ids::{new_id, random_id, token_hash};
use slipway_runtime::lifecycle::{Life, Task};
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;
use slipway_store::builds::{NewBuild, NewJob, RefOrder};
use slipway_store::claims::Claim;
use slipway_store::projects::Project;
use slipway_store::registries::NewRegistry;
use slipway_store::sessions::NewSession;
use tempfile::TempDir;

use super::*;
use crate::scene::project_of;

mod sick_registries;

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// What Basic makes of robot:pw.
const LOGIN: &str = "Basic cm9ib3Q6cHc=";

/// A manifest that nobody else has, and its digest.
fn manifest(name: &str) -> (String, String) {
    let text = format!("{{\"schemaVersion\":2,\"annotations\":{{\"name\":\"{name}\"}}}}");
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&text)));
    (text, digest)
}

/// The repository `team/app`: by digest its manifests, by tag what is shown.
#[derive(Clone, Default)]
struct Fake {
    manifests: Arc<Mutex<HashMap<String, String>>>,
    puts: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<Option<u16>>>,
}

impl Fake {
    fn shows(&self, tag: &str) -> Option<String> {
        let manifests = self.manifests.lock().expect("a lock");
        manifests.get(tag).map(|text| format!("sha256:{}", hex::encode(Sha256::digest(text))))
    }

    /// As if the engine had pushed it.
    fn has(&self, name: &str) -> String {
        let (text, digest) = manifest(name);
        self.manifests.lock().expect("a lock").insert(digest.clone(), text);
        digest
    }

    /// As if a builder had moved the tag.
    fn show(&self, tag: &str, name: &str) {
        self.has(name);
        self.manifests.lock().expect("a lock").insert(tag.to_owned(), manifest(name).0);
    }

    fn puts(&self) -> Vec<String> {
        self.puts.lock().expect("a lock").clone()
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let status = |status: u16| Response::builder().status(status);
    if parts.headers.get("authorization").is_none_or(|sent| sent != LOGIN) {
        return status(401).header("www-authenticate", "Basic realm=x").body(Body::empty()).expect("good");
    }
    if let Some(broken) = *fake.broken.lock().expect("a lock") {
        return status(broken).body(Body::empty()).expect("good");
    }
    let Some(reference) = parts.uri.path().strip_prefix("/v2/team/app/manifests/") else {
        return status(404).body(Body::empty()).expect("good");
    };
    if parts.method == Method::PUT {
        let bytes: Bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        fake.manifests.lock().expect("a lock").insert(reference.to_owned(), text);
        fake.puts.lock().expect("a lock").push(reference.to_owned());
        return status(201).body(Body::empty()).expect("good");
    }
    match fake.manifests.lock().expect("a lock").get(reference) {
        None => status(404).body(Body::empty()).expect("good"),
        Some(text) => status(200).header("content-type", TYPE).body(Body::from(text.clone())).expect("good"),
    }
}

/// One tenant with a project, a builder and a registry.
struct Scene {
    _folder: TempDir,
    _task: Task<()>,
    registries: Breakers,
    deps: Deps,
    fake: Fake,
    registry: String,
    project: Project,
    session: SessionId,
    pool: Pool,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
        let db = Db::connect(&url).await.expect("a database");
        let (clock, life, fake) = (Clock::system(), Life::new(), Fake::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let registry = listener.local_addr().expect("bound").to_string();
        let app = Router::new().fallback(answer).with_state(fake.clone());
        let task = life.task("registry", async move { axum::serve(listener, app).await.expect("it serves") });
        let deps = Deps {
            db: db.clone(),
            bus: Bus::memory(&clock),
            live: Live::memory(),
            secret_key: SecretKey::generate(),
            egress: Egress::new("127.0.0.1".parse::<FetchAllow>().expect("a list")),
            clock: clock.clone(),
            life,
            trust_tenants: false,
        };
        let tenant = db.ensure_default_tenant(clock.now()).await.expect("a tenant");
        let pool: Pool = "local/standard/linux-amd64".parse().expect("a pool");
        let project = project_of(&deps, tenant).await;
        let scene = Self {
            session: session(&deps, &pool).await,
            _folder: folder,
            _task: task,
            registries: breakers(deps.clock.clone()),
            deps,
            fake,
            registry,
            project,
            pool,
        };
        scene.log_in("pw").await;
        scene
    }

    async fn log_in(&self, password: &str) {
        let new = NewRegistry {
            id: new_id(),
            tenant: self.project.tenant_id,
            host: self.registry.clone(),
            username: "robot".to_owned(),
            password: password.to_owned(),
            now: self.deps.clock.now(),
        };
        self.deps.db.put_registry(&self.deps.secret_key, &new).await.expect("a credential");
    }

    fn leave(&self, digest: &str) -> LeaveRequest {
        self.leave_of(&self.registry, "main", digest)
    }

    fn leave_of(&self, registry: &str, tag: &str, digest: &str) -> LeaveRequest {
        LeaveRequest {
            registry: registry.to_owned(),
            repository: "team/app".to_owned(),
            tag: tag.to_owned(),
            digest: digest.to_owned(),
        }
    }

    /// A running build of main, each newer than the one before.
    async fn running(&self, commit: char) -> AttemptRef {
        let (db, now) = (&self.deps.db, self.deps.clock.now());
        let id: BuildId = new_id();
        let job = new_id();
        let commit = commit.to_string().repeat(40);
        let git_ref = GitRef::parse("refs/heads/main").expect("a ref");
        let spec = JobSpec {
            build: id,
            project: self.project.id,
            project_name: "app".to_owned(),
            tenant: self.project.tenant_id,
            trigger: Trigger::Push,
            forge: None,
            clone_url: self.project.clone_url.clone(),
            git_ref: Some(git_ref.clone()),
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
        let before = db.ref_head(self.project.id, &git_ref).await.expect("a head");
        let new = NewBuild {
            id,
            tenant: self.project.tenant_id,
            project: self.project.id,
            trigger: Trigger::Push,
            git_ref: Some(git_ref),
            commit: commit.clone(),
            before: before.clone(),
            dedupe_key: commit.clone(),
            order: RefOrder::Move { before, after: commit },
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
                timeout_secs: 600,
                blocked: false,
                spec,
            }],
            delivery: None,
        };
        db.create_build(&new).await.expect("a build");
        let lead = db.take_lead("scheduler", random_id(), Duration::from_secs(600), now).await.expect("an answer");
        let lead = lead.expect("nobody else leads");
        db.admit_job(&lead, job, now).await.expect("admitted");
        db.leave_lead(&lead, now).await.expect("left");
        let dispatch = random_id();
        assert!(db.dispatch_job(job, dispatch, now).await.expect("an answer"));
        let claim = Claim {
            request: ClaimRequest { session: self.session, job, dispatch, claim: new_id() },
            one_tenant_per_shared_engine: true,
            token_hash: &|attempt, claim| token_hash(&format!("{attempt}:{claim}")),
        };
        db.claim_job(&claim, now).await.expect("an answer").expect("a free claim").attempt
    }

    async fn grant(&self, attempt: AttemptRef, digest: &str) {
        self.grant_of(attempt, &self.leave(digest)).await;
    }

    async fn grant_of(&self, attempt: AttemptRef, leave: &LeaveRequest) {
        let asked = self.deps.db.request_leave(attempt, leave, self.deps.clock.now()).await;
        assert!(matches!(asked, Ok(Leave::Granted { .. })), "{asked:?}");
    }

    /// Of how many leaves of a registry it is still to be found out what their tags show.
    async fn left(&self, registry: &str) -> usize {
        self.deps.clock.advance(timing::LEAVE_LEASE * 2);
        let due = self.deps.db.due_leaves(self.deps.clock.now()).await.expect("an answer");
        due.iter().filter(|leave| leave.registry == registry).count()
    }

    /// A build that moved the tag and said so.
    async fn shown(&self, commit: char, name: &str) -> AttemptRef {
        let (attempt, digest) = (self.running(commit).await, manifest(name).1);
        self.grant(attempt, &digest).await;
        self.fake.show("main", name);
        let back = LeaveReturn { leave: self.leave(&digest), moved: true, lease: None };
        self.deps.db.return_leave(attempt, &back, self.deps.clock.now()).await.expect("returned");
        attempt
    }

    /// Lets the leave end and the sweeper come by.
    async fn sweep(&self) {
        self.deps.clock.advance(timing::LEAVE_LEASE * 2);
        self.sweep_now().await;
    }

    async fn sweep_now(&self) {
        let looks = take(&self.deps, &self.registries, AT_ONCE).await.expect("a pass");
        join_all(looks.into_iter().map(|look| look.settle(&self.deps))).await;
    }

    /// Whether a tag is still to be settled, however long one waits.
    async fn unsettled(&self) -> bool {
        self.deps.clock.advance(timing::LEAVE_LEASE * 2);
        let now = self.deps.clock.now();
        let due = self.deps.db.due_leaves(now).await.expect("an answer");
        !self.deps.db.take_leaves(now, due).await.expect("an answer").is_empty()
    }
}

async fn session(deps: &Deps, pool: &Pool) -> SessionId {
    let now = deps.clock.now();
    deps.db.create_join_token(new_id(), &token_hash("join"), pool, now).await.expect("a token");
    let open = OpenSession {
        version: 1,
        builder: new_id(),
        builder_key: "key".to_owned(),
        name: "crew".to_owned(),
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
        token_hash: &token_hash("session"),
        join_hash: &token_hash("join"),
        key_hash: &token_hash("key"),
        open: &open,
        trust_tenants: false,
    };
    deps.db.open_session(&new, now).await.expect("an answer").expect("a session");
    id
}

#[tokio::test]
async fn a_tag_that_moved_without_a_word_is_booked() {
    let scene = Scene::new().await;
    let older = scene.running('a').await;
    let dead = scene.running('b').await;
    scene.grant(dead, &manifest("b").1).await;
    scene.fake.show("main", "b");
    scene.sweep().await;
    assert_eq!(scene.fake.puts(), [""; 0]);
    // From now on the older build leaves the tag alone.
    let asked = scene.deps.db.request_leave(older, &scene.leave(&manifest("a").1), scene.deps.clock.now()).await;
    assert!(matches!(asked, Ok(Leave::NotMoved { .. })), "{asked:?}");
    assert!(!scene.unsettled().await);
}

#[tokio::test]
async fn a_tag_that_did_not_move_is_let_go() {
    let scene = Scene::new().await;
    scene.shown('a', "a").await;
    let dead = scene.running('b').await;
    scene.grant(dead, &scene.fake.has("b")).await;
    scene.sweep().await;
    assert_eq!((scene.fake.shows("main"), scene.fake.puts()), (Some(manifest("a").1), Vec::new()));
    assert!(!scene.unsettled().await);
    scene.grant(dead, &manifest("b").1).await;
}

#[tokio::test]
async fn a_late_put_of_somebody_forgotten_is_undone() {
    let scene = Scene::new().await;
    scene.shown('b', "b").await;
    let dead = scene.running('c').await;
    scene.grant(dead, &scene.fake.has("c")).await;
    scene.fake.show("main", "a");
    scene.sweep().await;
    assert_eq!((scene.fake.shows("main"), scene.fake.puts()), (Some(manifest("b").1), vec!["main".to_owned()]));
    assert!(!scene.unsettled().await);
}

#[tokio::test]
async fn a_registry_that_is_down_is_asked_again_for_a_day_and_one_that_refuses_is_not() {
    let scene = Scene::new().await;
    let dead = scene.running('a').await;
    scene.grant(dead, &manifest("a").1).await;
    scene.fake.show("main", "a");
    *scene.fake.broken.lock().expect("a lock") = Some(503);
    scene.sweep().await;
    *scene.fake.broken.lock().expect("a lock") = None;
    scene.sweep().await;
    assert!(!scene.unsettled().await, "it answered at last");

    scene.grant(dead, &manifest("a").1).await;
    scene.log_in("wrong").await;
    scene.sweep().await;
    assert!(!scene.unsettled().await, "a wrong password stays wrong");

    scene.log_in("pw").await;
    scene.grant(dead, &manifest("a").1).await;
    *scene.fake.broken.lock().expect("a lock") = Some(503);
    let (db, now) = (&scene.deps.db, scene.deps.clock.now());
    db.lose_attempt(dead, "on purpose", now).await.expect("lost");
    let build = db.job(dead.job).await.expect("a job").build_id;
    db.cancel_build(build, CancelledBy::User, now).await.expect("cancelled");
    scene.sweep().await;
    assert!(scene.unsettled().await, "503 passes");
    scene.deps.clock.advance(Duration::from_secs(24 * 3600));
    scene.sweep().await;
    assert!(!scene.unsettled().await, "nobody waits for a build of the day before");
}

#[test]
fn every_look_has_one_verdict() {
    use Verdict::{Book, LetGo, Restore};
    let scenes = [
        // what the tag shows, what it showed before, whether that is newer, verdict
        (Some("mine"), Some("before"), false, Book),
        (Some("mine"), None, false, Book),
        (Some("mine"), Some("mine"), false, Book),
        (Some("mine"), Some("before"), true, Restore("before")),
        (Some("before"), Some("before"), false, LetGo),
        (Some("before"), Some("before"), true, LetGo),
        (Some("other"), Some("before"), false, Restore("before")),
        (Some("other"), None, false, LetGo),
        (None, Some("before"), false, LetGo),
        (None, None, false, LetGo),
    ];
    for (shows, before, newer, wanted) in scenes {
        assert_eq!(verdict("mine", (before, newer), shows), wanted, "{shows:?} {before:?} {newer}");
    }
}
