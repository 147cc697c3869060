//! A forge at the network edge: it serves one file, takes commit statuses, and answers as a test wants.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};
use slipway_runtime::lifecycle::{Life, Task};

/// A running fake. Stops when it is dropped.
pub struct FakeForge {
    pub base_url: String,
    pub seen: Arc<Mutex<Seen>>,
    _server: Task<()>,
}

/// What it answers with, and what it was told.
#[derive(Default)]
pub struct Seen {
    /// `slipway.yml`; refused with 502 unless set.
    pub file: Option<String>,
    /// How often that was asked for.
    pub asked: usize,
    /// Statuses get no answer.
    pub silent: bool,
    /// Where `main` points; unknown unless set.
    pub head: Option<&'static str>,
    /// Answer to the next status: code and `Retry-After`.
    pub refuse: Option<(StatusCode, Option<&'static str>)>,
    /// (commit, body, authorization) of each status that was taken.
    pub statuses: Vec<(String, Value, String)>,
}

impl FakeForge {
    pub async fn start(life: &Life) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new()
            .route("/api/v3/repos/acme/app/contents/slipway.yml", get(file))
            .route("/api/v3/repos/acme/app/statuses/{commit}", post(status))
            .route("/api/v3/repos/acme/app/commits/heads/main", get(head))
            .route("/2.0/repositories/acme/app/commit/{prefix}", get(bitbucket_commit))
            .with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = life.task("fake forge", async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self { base_url, seen, _server: server }
    }

    /// (commit, state, description) of what was taken, in order.
    pub fn told(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seen = self.seen.lock().expect("not poisoned");
        seen.statuses.iter().map(|(commit, body, _)| (commit.clone(), text(&body["state"]))).collect()
    }

    pub fn refuse(&self, with: Option<(StatusCode, Option<&'static str>)>) {
        self.seen.lock().expect("not poisoned").refuse = with;
    }
}

async fn file(State(seen): State<Arc<Mutex<Seen>>>) -> Response {
    let mut seen = seen.lock().expect("not poisoned");
    seen.asked += 1;
    match &seen.file {
        Some(text) => {
            ([("content-type", "application/vnd.github.v3.raw; charset=utf-8")], text.clone()).into_response()
        }
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn head(State(seen): State<Arc<Mutex<Seen>>>) -> Response {
    match seen.lock().expect("not poisoned").head {
        Some(sha) => axum::Json(json!({ "sha": sha })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn bitbucket_commit(State(seen): State<Arc<Mutex<Seen>>>, Path(prefix): Path<String>) -> Response {
    match seen.lock().expect("not poisoned").head.filter(|head| head.starts_with(&prefix)) {
        Some(sha) => axum::Json(json!({ "hash": sha })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn status(
    State(seen): State<Arc<Mutex<Seen>>>,
    Path(commit): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if seen.lock().expect("not poisoned").silent {
        return std::future::pending().await;
    }
    let mut seen = seen.lock().expect("not poisoned");
    if let Some((code, retry_after)) = seen.refuse {
        let wait = retry_after.map(|secs| (HeaderName::from_static("retry-after"), secs));
        return (code, axum::response::AppendHeaders(wait), "{\"message\":\"no\"}").into_response();
    }
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_str(&body).expect("a status is JSON");
    let answer = json!({
        "id": 1, "node_id": "x", "url": "https://1.1.1.1/", "state": body["state"], "context": body["context"],
        "description": body["description"], "target_url": body["target_url"],
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    seen.statuses.push((commit, body, authorization.to_owned()));
    (StatusCode::CREATED, axum::Json(answer)).into_response()
}
