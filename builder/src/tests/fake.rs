//! The agent API as a builder sees it, with faults to order. It keeps everything it was told.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use slipway_domain::agent::{
    ClaimRefusal, ClaimRequest, Claimed, Credentials, Decline, Finish, Leave, LeaveRequest, LeaveReturn, LogAck,
    LogEnd, Login, Offer, OpenSession, Report, ReportAck, SessionOpened, ToBuilder, ToDispatcher,
};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::build::Trigger;
use slipway_domain::builder::{CachedProject, Load};
use slipway_domain::dockerfile::RegistryMirrors;
use slipway_domain::ids::{ClaimId, JobId};
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_logfmt::chunk::Chunk;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::{new_id, random_id};
use slipway_runtime::lifecycle::{Life, Task};
use slipway_runtime::trust::Trust;
use tokio::sync::{mpsc, watch};

use crate::agent;
use crate::config::BuilderConfig;
use crate::gate::Limits;

pub const JOIN_TOKEN: &str = "join-token";
pub const ATTEMPT_TOKEN: &str = "attempt-token-of-the-fake";
pub const PASSWORD: &str = "password-of-the-source";
/// Nothing in these tests takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the fake was told, and which faults it shall make.
#[derive(Default)]
pub struct Told {
    pub sessions: Vec<OpenSession>,
    pub beats: Vec<Beat>,
    pub declined: Vec<(Offer, Decline)>,
    pub answered: Vec<(Offer, Option<ClaimRefusal>)>,
    pub goodbye: bool,
    pub claims: Vec<ClaimId>,
    pub reports: Vec<Report>,
    pub log: Vec<u8>,
    pub log_ends: Vec<LogEnd>,
    pub leaves: Vec<LeaveRequest>,
    pub returns: Vec<LeaveReturn>,
    pub finishes: Vec<Finish>,
    /// So many claims are booked but not answered.
    pub lose_claims: usize,
    /// So many finishes are booked but not answered.
    pub lose_finishes: usize,
    /// So often everything received is forgotten, as by a restart before it was durable.
    pub forget_chunks: usize,
    pub source: Option<Login>,
    pub spec: Option<JobSpec>,
    pub timeout_secs: u64,
    /// The answers to leave requests, in order.
    pub leave_answers: VecDeque<Leave>,
    /// Every open session is told to stop what it holds.
    pub stop_held: bool,
    channel: Option<mpsc::UnboundedSender<Option<ToBuilder>>>,
}

impl Told {
    fn forget(&mut self) {
        if !self.log.is_empty() && take_one(&mut self.forget_chunks) {
            self.log.clear();
        }
    }
}

pub struct Beat {
    pub free: i64,
    pub draining: bool,
    pub load: Load,
    pub held: Vec<AttemptRef>,
    pub cache: Option<Vec<CachedProject>>,
}

#[derive(Clone)]
pub struct Fake {
    told: Arc<Mutex<Told>>,
    changed: watch::Sender<()>,
    pub address: String,
}

impl Fake {
    pub async fn start(life: &Life) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let told = Arc::new(Mutex::new(Told { timeout_secs: 60, ..Told::default() }));
        let fake = Self { told, changed: watch::Sender::new(()), address };
        let router = router(fake.clone());
        life.errand("fake", async move { axum::serve(listener, router).await.expect("serves") });
        fake
    }

    /// Looks at or changes what the fake knows.
    pub fn with<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        let result = look(&mut self.told.lock().expect("not poisoned"));
        self.changed.send_replace(());
        result
    }

    /// Waits until the fake was told enough.
    pub async fn until(&self, what: &str, enough: impl Fn(&Told) -> bool) {
        let mut changed = self.changed.subscribe();
        let enough = changed.wait_for(|()| enough(&self.told.lock().expect("not poisoned")));
        assert!(tokio::time::timeout(PATIENCE, enough).await.is_ok(), "it never came: {what}");
    }

    /// Says something on the newest channel.
    pub fn say(&self, message: ToBuilder) {
        self.with(|told| told.channel.as_ref().map(|channel| channel.send(Some(message))))
            .expect("a channel")
            .expect("open");
    }

    /// Cuts the newest channel.
    pub fn cut(&self) {
        self.with(|told| told.channel.take().map(|channel| channel.send(None))).expect("a channel").expect("open");
    }

    /// Where it listens, `host:port`.
    pub fn host(&self) -> &str {
        self.address.trim_start_matches("http://").trim_end_matches('/')
    }

    /// Offers a job with this spec and returns the attempt that a claim of it gets.
    pub fn offer(&self, spec: JobSpec) -> AttemptRef {
        let job = new_id::<JobId>();
        self.with(|told| told.spec = Some(spec));
        self.say(ToBuilder::Offer(Offer { job, dispatch: random_id() }));
        AttemptRef { job, epoch: 1 }
    }

    /// A builder that serves this fake; its engine is the one behind `socket`.
    pub fn config(&self, dir: &Path, socket: &Path) -> BuilderConfig {
        BuilderConfig {
            server_url: self.address.parse().expect("a URL"),
            join_token: JOIN_TOKEN.to_owned(),
            data_dir: dir.join("builder"),
            name: "test".to_owned(),
            slots: 1,
            engine: format!("unix://{}", socket.display()).parse().expect("an address"),
            shared_engine: true,
            fetch_allow: "127.0.0.1".parse().expect("an address"),
            syntax_allow: "docker/dockerfile:1".parse().expect("an image"),
            registry_mirrors: RegistryMirrors::default(),
            trust: Trust::default(),
            // A busy machine must not close the gate of a test.
            bus_url: None,
            limits: Limits { disk_free_min_bytes: 1, memory_max: 1.0, cpu_max: 1e9, cache_high: 1.0, cache_low: 1.0 },
        }
    }

    /// Starts that builder and waits until it takes jobs.
    pub async fn builder(&self, life: &Life, dir: &Path, socket: &Path) -> Task<anyhow::Result<()>> {
        let running = life.task("builder", agent::run(self.config(dir, socket), Clock::system(), life.clone()));
        self.until("a heartbeat with a free slot", |told| told.beats.iter().any(|beat| beat.free == 1)).await;
        running
    }
}

/// A spec whose source is at this URL.
pub fn spec(clone_url: &str) -> JobSpec {
    JobSpec {
        build: new_id(),
        project: new_id(),
        project_name: "story".to_owned(),
        tenant: new_id(),
        trigger: Trigger::Manual,
        forge: None,
        clone_url: clone_url.to_owned(),
        git_ref: None,
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        change: None,
        asked: BuildOptions::default(),
        project_options: BuildOptions::default(),
        image: None,
        more_images: Vec::new(),
        cache_repository: None,
        created_at: Clock::system().now(),
        context_max_bytes: 1 << 20,
        context_max_entries: 100,
        limits: slipway_domain::plan::Limits::default(),
    }
}

fn router(fake: Fake) -> Router {
    let attempt = "/agent/v1/attempts/{job}/{epoch}";
    Router::new()
        .route("/agent/v1/sessions", post(open_session))
        .route("/agent/v1/sessions/{session}/channel", get(channel))
        .route("/agent/v1/claims", post(claim))
        .route(&format!("{attempt}/report"), post(report))
        .route(&format!("{attempt}/credentials"), get(credentials))
        .route(&format!("{attempt}/leave"), post(leave))
        .route(&format!("{attempt}/leave/return"), post(leave_return))
        .route(&format!("{attempt}/finish"), post(finish))
        .route(&format!("{attempt}/log"), post(log))
        .route(&format!("{attempt}/log/end"), post(log_end))
        .with_state(fake)
}

fn bearer_is(headers: &HeaderMap, token: &str) {
    let sent = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    assert_eq!(sent, Some(format!("Bearer {token}").as_str()));
}

async fn open_session(State(fake): State<Fake>, headers: HeaderMap, Json(open): Json<OpenSession>) -> Response {
    let token = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if token != format!("Bearer {JOIN_TOKEN}") {
        return (StatusCode::UNAUTHORIZED, Json(json!({"detail": "unknown join token"}))).into_response();
    }
    let stop = fake.with(|told| if told.stop_held { open.held.clone() } else { Vec::new() });
    fake.with(|told| told.sessions.push(open));
    let pool = "local/standard/linux-amd64".parse().expect("a pool");
    Json(SessionOpened { session: new_id(), token: "session-token".to_owned(), pool, stop }).into_response()
}

async fn channel(State(fake): State<Fake>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    bearer_is(&headers, "session-token");
    upgrade.on_upgrade(|socket| converse(fake, socket))
}

async fn converse(fake: Fake, mut socket: WebSocket) {
    let (outbox, mut inbox) = mpsc::unbounded_channel();
    fake.with(|told| told.channel = Some(outbox));
    loop {
        let answer = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => heard(&fake, text.as_str()),
                Some(Ok(_)) => None,
                Some(Err(_)) | None => return,
            },
            message = inbox.recv() => match message {
                Some(Some(message)) => Some(message),
                Some(None) | None => return,
            },
        };
        if let Some(answer) = answer {
            let text = serde_json::to_string(&answer).expect("JSON");
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
    }
}

fn heard(fake: &Fake, text: &str) -> Option<ToBuilder> {
    match serde_json::from_str(text).expect("a message") {
        ToDispatcher::Heartbeat { seq, free, draining, load, held, from_queue: _, cache } => {
            fake.with(|told| told.beats.push(Beat { free, draining, load, held, cache }));
            Some(ToBuilder::HeartbeatAck { seq, stop: Vec::new(), cancel: Vec::new() })
        }
        ToDispatcher::Declined { offer, reason } => {
            fake.with(|told| told.declined.push((offer, reason)));
            None
        }
        ToDispatcher::Answered { offer, refusal } => {
            fake.with(|told| told.answered.push((offer, refusal)));
            None
        }
        ToDispatcher::Goodbye => {
            fake.with(|told| told.goodbye = true);
            None
        }
    }
}

async fn claim(State(fake): State<Fake>, headers: HeaderMap, Json(claim): Json<ClaimRequest>) -> Response {
    bearer_is(&headers, "session-token");
    let (spec, timeout_secs, lost) = fake.with(|told| {
        told.claims.push(claim.claim);
        (told.spec.clone(), told.timeout_secs, take_one(&mut told.lose_claims))
    });
    let Some(spec) = spec else {
        return (StatusCode::CONFLICT, Json(json!({"refusal": "gone"}))).into_response();
    };
    if lost {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let attempt = AttemptRef { job: claim.job, epoch: 1 };
    Json(Claimed { attempt, token: ATTEMPT_TOKEN.to_owned(), spec, timeout_secs }).into_response()
}

async fn report(State(fake): State<Fake>, headers: HeaderMap, Json(report): Json<Report>) -> Json<ReportAck> {
    bearer_is(&headers, ATTEMPT_TOKEN);
    fake.with(|told| told.reports.push(report));
    Json(ReportAck { cancel: false })
}

async fn credentials(State(fake): State<Fake>, headers: HeaderMap) -> Json<Credentials> {
    bearer_is(&headers, ATTEMPT_TOKEN);
    Json(Credentials { source: fake.with(|told| told.source.clone()), ..Credentials::default() })
}

async fn leave(State(fake): State<Fake>, Json(leave): Json<LeaveRequest>) -> Json<Leave> {
    Json(fake.with(|told| {
        told.leaves.push(leave);
        told.leave_answers.pop_front().unwrap_or(Leave::Granted { within_ms: 30_000, lease: Some(7) })
    }))
}

async fn leave_return(State(fake): State<Fake>, Json(back): Json<LeaveReturn>) -> StatusCode {
    fake.with(|told| told.returns.push(back));
    StatusCode::NO_CONTENT
}

async fn finish(State(fake): State<Fake>, headers: HeaderMap, Json(finish): Json<Finish>) -> StatusCode {
    bearer_is(&headers, ATTEMPT_TOKEN);
    let lost = fake.with(|told| {
        told.finishes.push(finish);
        take_one(&mut told.lose_finishes)
    });
    if lost { StatusCode::BAD_GATEWAY } else { StatusCode::NO_CONTENT }
}

async fn log(
    State(fake): State<Fake>,
    UrlPath((_, _)): UrlPath<(JobId, i64)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    bearer_is(&headers, ATTEMPT_TOKEN);
    let chunk = Chunk::decode(&body).expect("a chunk");
    let (status, received) = fake.with(|told| {
        told.forget();
        let received = length(&told.log);
        if chunk.offset > received {
            return (StatusCode::CONFLICT, received);
        }
        if let Some(news) = chunk.slice(received, i64::MAX) {
            told.log.extend_from_slice(&news.bytes);
        }
        (StatusCode::OK, length(&told.log))
    });
    (status, Json(LogAck { received, durable: 0 })).into_response()
}

async fn log_end(State(fake): State<Fake>, Json(end): Json<LogEnd>) -> Json<LogAck> {
    let received = fake.with(|told| {
        told.log_ends.push(end);
        told.forget();
        length(&told.log)
    });
    Json(LogAck { received, durable: received })
}

fn length(log: &[u8]) -> i64 {
    i64::try_from(log.len()).expect("short")
}

fn take_one(count: &mut usize) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}
