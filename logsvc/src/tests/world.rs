//! One installation in a temporary folder, with one job whose attempts write a log.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use chrono::DateTime;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use slipway_blobs::{Blobs, Mark, SegmentKey};
use slipway_domain::agent::LogAck;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::{BuildId, ClaimId, ConnectionId, JobId, ProjectId, SessionId, TenantId, TokenId};
use slipway_live::Live;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::{new_id, token_hash};
use slipway_runtime::lifecycle::Life;
use slipway_store::Db;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tower::ServiceExt as _;

use crate::{Deps, Logs};

pub(super) const USER: &str = "user-token";
pub(super) const STRANGER: &str = "token-of-another-tenant";
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Clock,
    pub(super) job: JobId,
    pub(super) build: BuildId,
    pub(super) logs: Logs,
    project: ProjectId,
    seed: SqliteConnection,
    db: Db,
}

impl World {
    /// With its loops running.
    pub(super) async fn new() -> Self {
        let mut world = Self::without_loops().await;
        world.restart().await;
        world
    }

    /// Nothing is stored or sealed unless the test does it.
    pub(super) async fn without_loops() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::system();
        let db = Db::connect(&format!("sqlite://{}", folder.path().join("db").display())).await.expect("a database");
        let logs = Logs::new(deps(&db, &folder, &clock));
        let options = SqliteConnectOptions::new().filename(folder.path().join("db")).foreign_keys(false);
        let seed = SqliteConnection::connect_with(&options).await.expect("the file is there");
        let (job, build, project) = (new_id(), new_id(), new_id());
        let mut world = Self { db, folder, clock, job, build, logs, project, seed };
        world.seed().await;
        world.open_attempt(1).await;
        world
    }

    /// As after a kill: what lay in memory is gone. The loops run.
    pub(super) async fn restart(&mut self) {
        self.logs.life().kill();
        // The process that died held the file; the next one gets it as this one has it.
        self.logs = crate::start(deps(&self.db, &self.folder, &self.clock));
    }

    /// Another service on the same rows and objects, without loops: who is told something hears it from both.
    pub(super) fn beside(&self) -> Logs {
        Logs::new(Deps { live: self.logs.live().clone(), ..deps(&self.db, &self.folder, &self.clock) })
    }

    /// The same with its loops running.
    pub(super) fn beside_with_loops(&self) -> Logs {
        crate::start(Deps { live: self.logs.live().clone(), ..deps(&self.db, &self.folder, &self.clock) })
    }

    async fn seed(&mut self) {
        let (tenant, stranger): (TenantId, TenantId) = (new_id(), new_id());
        let now = self.clock.now();
        let connection: ConnectionId = new_id();
        for (tenant, token) in [(tenant, USER), (stranger, STRANGER)] {
            sqlx::query(
                "insert into api_tokens (id, tenant_id, role, name, hash, created_at) values ($1, $2, 'viewer', 'x', $3, $4)",
            )
            .bind(new_id::<TokenId>())
            .bind(tenant)
            .bind(token_hash(token))
            .bind(now)
            .execute(&mut self.seed)
            .await
            .expect("token");
        }
        sqlx::query(
            "insert into projects (id, tenant_id, connection_id, name, repo_path, clone_url, visibility, options, \
             state, created_at, updated_at) values ($1, $2, $3, 'p', 'o/p', 'https://x', 'private', '{}', 'active', $4, $4)",
        )
        .bind(self.project)
        .bind(tenant)
        .bind(connection)
        .bind(now)
        .execute(&mut self.seed)
        .await
        .expect("project");
        sqlx::query(
            "insert into jobs (id, build_id, tenant_id, project_id, kind, state, pool, version, epoch, infra_retries, \
             timeout_secs, queued_at, not_before, deadline_at) \
             values ($1, $2, $3, $4, 'image', 'running', 'r/c/p', 0, 0, 0, 60, $5, $5, $5)",
        )
        .bind(self.job)
        .bind(self.build)
        .bind(tenant)
        .bind(self.project)
        .bind(now)
        .execute(&mut self.seed)
        .await
        .expect("job");
    }

    /// A claim, as the dispatcher commits it.
    pub(super) async fn open_attempt(&mut self, epoch: i64) {
        let now = self.clock.now();
        sqlx::query(
            "insert into attempts (job_id, epoch, claim_id, builder_id, session_id, token_hash, state, phase, images, \
             started_at) values ($1, $2, $3, $4, $5, $6, 'open', 'building', '[]', $7)",
        )
        .bind(self.job)
        .bind(epoch)
        .bind(new_id::<ClaimId>())
        .bind(new_id::<slipway_domain::ids::BuilderId>())
        .bind(new_id::<SessionId>())
        .bind(token_hash(&token(epoch)))
        .bind(now)
        .execute(&mut self.seed)
        .await
        .expect("attempt");
        sqlx::query(
            "insert into attempt_logs (job_id, epoch, state, durable, lines, created_at) values ($1, $2, 'open', 0, 0, $3)",
        )
        .bind(self.job)
        .bind(epoch)
        .bind(now)
        .execute(&mut self.seed)
        .await
        .expect("log");
        self.sql(&format!("update jobs set epoch = {epoch}")).await;
    }

    /// The attempt ended, and the job with it if it shall.
    pub(super) async fn close_attempt(&mut self, epoch: i64, outcome: &str, job_state: &str) {
        sqlx::query("update attempts set state = 'closed', outcome = $2, finished_at = $3 where epoch = $1")
            .bind(epoch)
            .bind(outcome)
            .bind(self.clock.now())
            .execute(&mut self.seed)
            .await
            .expect("attempt");
        self.sql(&format!("update jobs set state = '{job_state}'")).await;
        self.logs.live().publish(slipway_live::Topic::Build(self.build), Bytes::new());
    }

    /// As before the first claim.
    pub(super) async fn forget_attempts(&mut self) {
        for table in ["log_segments", "attempt_logs", "attempts"] {
            self.sql(&format!("delete from {table}")).await;
        }
        self.sql("update jobs set epoch = 0").await;
    }

    /// As when the database was brought back from before the first segment, while this service ran on.
    pub(super) async fn forget_segments(&mut self) {
        self.sql("delete from log_segments").await;
        self.sql("update attempt_logs set durable = 0, lines = 0, stored_bytes = 0, end_offset = null").await;
    }

    /// As before the archive was booked.
    pub(super) async fn forget_archive(&mut self) {
        self.sql("update attempt_logs set archived_at = null, archive_after = sealed_at").await;
    }

    pub(super) async fn publish_project(&mut self) {
        self.sql("update projects set visibility = 'public'").await;
    }

    /// What the tenant's plan allows, as it was when the build was made.
    pub(super) async fn plan_allows(&mut self, log_bytes: u64) {
        let spec = serde_json::json!({
            "build": self.build, "project": self.project, "project_name": "p", "tenant": uuid::Uuid::nil(),
            "trigger": "manual", "forge": null, "clone_url": "https://x", "ref": null, "commit": "a".repeat(40),
            "asked": {}, "project_options": {}, "image": null, "created_at": self.clock.now(), "context_max_bytes": 1,
            "context_max_entries": 1, "limits": {"log_bytes": log_bytes},
        });
        sqlx::query("insert into job_specs (job_id, spec) values ($1, $2)")
            .bind(self.job)
            .bind(spec.to_string())
            .execute(&mut self.seed)
            .await
            .expect("spec");
    }

    /// From this moment on nobody knows the user's token any more.
    pub(super) async fn revoke_tokens(&mut self) {
        self.sql("update api_tokens set revoked_at = created_at").await;
    }

    pub(super) async fn hide_project(&mut self) {
        self.sql("update projects set visibility = 'private'").await;
    }

    /// A page session of the user's, by its cookie.
    pub(super) async fn log_in(&mut self, cookie: &str) {
        let expires = self.clock.now() + chrono::TimeDelta::days(1);
        let (token, _) = self.db.scope_for_token(&token_hash(USER)).await.expect("an answer").expect("a token");
        let hash = token_hash(cookie);
        self.db.create_web_session(&hash, token, self.clock.now(), expires).await.expect("a session");
    }

    pub(super) async fn log_out(&mut self, cookie: &str) {
        self.db.delete_web_session(&token_hash(cookie)).await.expect("no session");
    }

    async fn sql(&mut self, text: &str) {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut self.seed).await.expect("seed");
    }

    pub(super) fn attempt(&self, epoch: i64) -> AttemptRef {
        AttemptRef { job: self.job, epoch }
    }

    /// Names the object of a segment.
    pub(super) fn segment(&self, epoch: i64, start: i64) -> SegmentKey {
        SegmentKey { attempt: self.attempt(epoch), start, mark: None }
    }

    /// Stands in an attempt's objects.
    pub(super) fn mark(&self, epoch: i64) -> Mark {
        Mark::of(&token_hash(&token(epoch)))
    }

    fn app(&self) -> Router {
        crate::router(&self.logs).merge(crate::public_router(&self.logs))
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.app().oneshot(request).await.expect("routes do not fail")
    }

    pub(super) async fn post_chunk(&self, epoch: i64, chunk: &Chunk) -> (StatusCode, Bytes) {
        self.post(epoch, "log", &token(epoch), chunk.encode()).await
    }

    pub(super) async fn post(&self, epoch: i64, what: &str, token: &str, body: Bytes) -> (StatusCode, Bytes) {
        let request = Request::post(format!("/agent/v1/attempts/{}/{epoch}/{what}", self.job))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .expect("request");
        let response = self.call(request).await;
        let status = response.status();
        (status, response.into_body().collect().await.expect("body").to_bytes())
    }

    /// Sends bytes as one writer's, and expects them to be taken.
    pub(super) async fn send(&self, epoch: i64, offset: i64, bytes: &[u8]) -> LogAck {
        let (status, body) = self.post_chunk(epoch, &chunk(offset, bytes)).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        ack(&body)
    }

    /// Announces the end of a stream.
    pub(super) async fn end(&self, epoch: i64, stream: &[u8]) -> (StatusCode, Bytes) {
        self.end_with(epoch, stream.len() as i64, &sha256(stream)).await
    }

    pub(super) async fn end_with(&self, epoch: i64, end: i64, sha256: &str) -> (StatusCode, Bytes) {
        let body = format!("{{\"end\":{end},\"sha256\":\"{sha256}\"}}");
        self.post(epoch, "log/end", &token(epoch), body.into()).await
    }

    pub(super) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::get(format!("/api/v1/jobs/{}/{path}", self.job));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {USER}"));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        self.call(request.body(Body::empty()).expect("request")).await
    }

    pub(super) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.open(path, headers).await;
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.expect("body").to_bytes())
    }

    pub(super) async fn text(&self, path: &str) -> String {
        let (status, _, body) = self.get(path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body:?}");
        String::from_utf8(body.to_vec()).expect("text")
    }

    /// Waits until the log is closed and gives the word for how.
    pub(super) async fn sealed(&self) -> String {
        eventually(|| async {
            let state = self.get("log", &[]).await.1["slipway-log-state"].to_str().expect("text").to_owned();
            (state != "live").then_some(state)
        })
        .await
    }

    pub(super) async fn watch(&self, path: &str, headers: &[(&str, &str)]) -> Watch {
        let response = self.open(path, headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watch { body: response.into_body().into_data_stream(), buffer: String::new() }
    }
}

/// The events of one connection.
pub(super) struct Watch {
    body: BodyDataStream,
    buffer: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) event: String,
    pub(super) id: String,
    pub(super) data: serde_json::Value,
}

impl Seen {
    pub(super) fn text(&self) -> String {
        let spans = self.data["spans"].as_array().cloned().unwrap_or_default();
        spans.iter().filter_map(|span| span["text"].as_str()).collect()
    }
}

impl Watch {
    /// The next event; `None` at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.buffer = rest;
                if let Some(seen) = read_frame(&frame) {
                    return Some(seen);
                }
                continue;
            }
            let data = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("an event in time")?;
            self.buffer.push_str(std::str::from_utf8(&data.expect("body")).expect("text"));
        }
    }

    /// Reads until so much text came.
    pub(super) async fn text_until(&mut self, wanted: &str) -> (String, String) {
        let mut text = String::new();
        loop {
            let seen = self.next().await.expect("more text");
            text.push_str(&seen.text());
            if text.contains(wanted) {
                return (text, seen.id);
            }
        }
    }

    /// Everything up to the end.
    pub(super) async fn rest(mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while let Some(seen) = self.next().await {
            all.push(seen);
        }
        all
    }
}

fn read_frame(frame: &str) -> Option<Seen> {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = serde_json::from_str(&field("data: ")?).expect("JSON");
    Some(Seen { event: field("event: ").unwrap_or_default(), id: field("id: ").unwrap_or_default(), data })
}

/// Asks again until there is an answer.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("it happens in time")
}

pub(super) fn token(epoch: i64) -> String {
    format!("attempt-token-{epoch}")
}

pub(super) fn chunk(offset: i64, bytes: &[u8]) -> Chunk {
    let span = Span { len: bytes.len() as u32, step: 3, stream: Stream::Stdout, at: DateTime::UNIX_EPOCH };
    Chunk { offset, bytes: Bytes::copy_from_slice(bytes), spans: vec![span] }
}

pub(super) fn ack(body: &[u8]) -> LogAck {
    serde_json::from_slice(body).expect("a LogAck")
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn deps(db: &Db, folder: &tempfile::TempDir, clock: &Clock) -> Deps {
    let blobs = url::Url::from_file_path(folder.path().join("blobs")).expect("a URL");
    let blobs = Blobs::from_url(blobs.as_str()).expect("a store");
    Deps { db: db.clone(), blobs, live: Live::memory(), clock: clock.clone(), life: Life::new() }
}
