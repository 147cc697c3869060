//! A small server that speaks the batch API, well and badly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slipway_runtime::egress::FetchAllow;
use slipway_runtime::lifecycle::Task;
use slipway_runtime::trust::Trust;
use tempfile::TempDir;

use super::super::pointer::FIRST_LINE;
use super::*;

pub(super) const LOGIN: (&str, &str) = ("robot", "s3cret-canary");
/// What only the place of a content is shown.
pub(super) const GIVEN: &str = "for-the-place-alone";

/// What the server does with a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Good(Vec<u8>),
    /// The same, and its place needs nothing else than it is given.
    Signed(Vec<u8>),
    /// The same, and it is given a credential of its own for its place.
    Given(Vec<u8>),
    /// Its place is this one.
    At(String),
    /// Its place sends on to this one.
    SendsTo(String),
    /// The batch API says this of it.
    Says(u16),
    /// Its place answers so.
    Answers(u16),
    /// No word about it.
    Unsaid,
    /// Said, without a place.
    Nowhere,
    /// The place never answers.
    Silent,
    /// It begins, and stalls.
    Stalls,
    /// It never ends.
    Endless,
}

#[derive(Default)]
pub(super) struct Shown {
    pub(super) ways: HashMap<String, Way>,
    /// Path, `Authorization` and `X-Given` of each request.
    pub(super) seen: Vec<(String, String, String)>,
    /// How many each question asked for.
    pub(super) asked: Vec<usize>,
    /// The whole batch API answers so.
    pub(super) batch_status: Option<u16>,
    pub(super) wants_login: bool,
}

#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Shown>>, u16);

pub(super) struct Lfs {
    life: Life,
    _server: Task<()>,
    told: Told,
    pub(super) port: u16,
    pub(super) trust: Trust,
    pub(super) dir: TempDir,
}

pub(super) fn id(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(super) fn pointer(bytes: &[u8]) -> String {
    format!("{FIRST_LINE}\noid sha256:{}\nsize {}\n", id(bytes), bytes.len())
}

impl Lfs {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let told = Told(Arc::default(), port);
        let app = Router::new()
            .route("/team/app.git/info/lfs/objects/batch", post(batch))
            .route("/content/{oid}", get(content))
            .with_state(told.clone());
        let life = Life::new();
        let server = life.task("lfs", async move { axum::serve(listener, app).await.expect("it serves") });
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("source")).expect("a folder");
        Self { life, _server: server, told, port, trust: Trust::default(), dir }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.told.0.lock().expect("a lock"))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// Puts the pointer to this content there, and has the server treat it so.
    pub(super) fn file(&self, path: &str, bytes: &[u8], way: Way) -> PathBuf {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, pointer(bytes)).expect("a file");
        self.with(|shown| shown.ways.insert(id(bytes), way));
        path
    }

    pub(super) fn place(&self, bytes: &[u8]) -> String {
        format!("http://localhost:{}/content/{}", self.port, id(bytes))
    }

    pub(super) async fn fetch(&self, login: bool, cancel: &CancellationToken) -> (Result<(), Failure>, String) {
        let clone_url = format!("http://localhost:{}/team/app", self.port);
        self.fetch_from(&clone_url, (login, 1 << 20), cancel).await
    }

    pub(super) async fn fetch_from(
        &self,
        clone_url: &str,
        (login, max_bytes): (bool, u64),
        cancel: &CancellationToken,
    ) -> (Result<(), Failure>, String) {
        let part = Part { root: self.root(), path: String::new(), clone_url: clone_url.to_owned() };
        self.fetch_parts(vec![part], (login, max_bytes), cancel).await
    }

    /// The first of them is the project's own.
    pub(super) async fn fetch_parts(
        &self,
        parts: Vec<Part>,
        (login, max_bytes): (bool, u64),
        cancel: &CancellationToken,
    ) -> (Result<(), Failure>, String) {
        let clone_url = &parts[0].clone_url.clone();
        let whole = Whole { parts, received_bytes: 1000 };
        let egress = Egress::new("localhost".parse::<FetchAllow>().expect("a list")).trusting(self.trust.clone());
        let own = Login { user: LOGIN.0.to_owned(), password: LOGIN.1.to_owned() };
        let request = LfsRequest {
            whole: &whole,
            clone_url,
            login: login.then_some(&own),
            lends: login,
            timeout: Duration::from_secs(30),
            silence: Duration::from_secs(1),
            max_bytes,
        };
        let (log, mut lines) = mpsc::channel(1000);
        let fetched = fetch_lfs(&self.life, &egress, request, (&log, cancel)).await;
        drop(log);
        let mut text = String::new();
        while let Some(line) = lines.recv().await {
            text.push_str(&String::from_utf8_lossy(&line));
        }
        assert!(!text.contains("canary") && !text.contains(GIVEN), "{text}");
        if let Err(failure) = &fetched {
            assert!(!failure.message.contains("canary") && !failure.message.contains(GIVEN), "{failure:?}");
            assert!(!failure.message.contains("/content/"), "{failure:?}");
        }
        (fetched, text)
    }

    /// Fetches one content in this way; the refusal.
    pub(super) async fn refused(&self, bytes: &[u8], way: Way) -> Failure {
        let path = self.file("a.bin", bytes, way.clone());
        let (fetched, _) = self.fetch(true, &CancellationToken::new()).await;
        assert_eq!(std::fs::read_to_string(path).expect("it is there"), pointer(bytes), "{way:?}: it stays a pointer");
        assert_eq!(std::fs::read_dir(self.root()).expect("a folder").count(), 1, "{way:?}: nothing else is left");
        fetched.expect_err(&format!("{way:?}"))
    }
}

impl Told {
    fn see(&self, path: &str, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let seen = (path.to_owned(), text("authorization"), text("x-given"));
        self.0.lock().expect("a lock").seen.push(seen);
    }
}

async fn batch(State(told): State<Told>, headers: HeaderMap, Json(question): Json<Value>) -> Response {
    told.see("batch", &headers);
    assert_eq!((&question["operation"], &question["transfers"]), (&json!("download"), &json!(["basic"])));
    for name in ["accept", "content-type"] {
        assert_eq!(headers[name], "application/vnd.git-lfs+json");
    }
    let mut shown = told.0.lock().expect("a lock");
    let objects = question["objects"].as_array().expect("a list");
    shown.asked.push(objects.len());
    if shown.wants_login && !headers.contains_key("authorization") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if let Some(status) = shown.batch_status {
        return (StatusCode::from_u16(status).expect("a status"), [("location", "http://localhost/")]).into_response();
    }
    let told_of = |object: &Value| {
        let oid = object["oid"].as_str().expect("an id");
        let way = shown.ways.get(oid).cloned().unwrap_or(Way::Says(404));
        let mut object = object.clone();
        let own = format!("http://localhost:{}/content/{oid}", told.1);
        match way {
            Way::Unsaid => return None,
            Way::Nowhere => {}
            Way::Says(code) => object["error"] = json!({ "code": code, "message": "no" }),
            Way::Signed(_) => {
                object["actions"] = json!({ "download": { "href": own } });
                object["authenticated"] = json!(true);
            }
            Way::Given(_) => {
                let header = json!({ "Authorization": "Bearer given" });
                object["actions"] = json!({ "download": { "href": own, "header": header } });
            }
            Way::At(href) => object["actions"] = json!({ "download": { "href": href } }),
            _ => {
                let header = json!({ "X-Given": GIVEN, "Host": "evil.example", "Transfer-Encoding": "chunked" });
                object["actions"] = json!({ "download": { "href": own, "header": header } });
            }
        }
        Some(object)
    };
    Json(json!({ "transfer": "basic", "objects": objects.iter().filter_map(told_of).collect::<Vec<_>>() }))
        .into_response()
}

async fn content(State(told): State<Told>, UrlPath(oid): UrlPath<String>, headers: HeaderMap) -> Response {
    told.see("content", &headers);
    let way = told.0.lock().expect("a lock").ways.get(&oid).cloned();
    let endless = |first: usize| {
        let chunks = futures_util::stream::unfold(first, |left| async move {
            if left == 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1024])), left - 1))
        });
        Body::from_stream(chunks).into_response()
    };
    match way {
        Some(Way::Good(bytes) | Way::Signed(bytes) | Way::Given(bytes)) => bytes.into_response(),
        Some(Way::SendsTo(to)) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Some(Way::Answers(status)) => StatusCode::from_u16(status).expect("a status").into_response(),
        Some(Way::Silent) => std::future::pending().await,
        Some(Way::Stalls) => endless(1),
        Some(Way::Endless) => endless(usize::MAX),
        other => panic!("{other:?} has no place"),
    }
}
