//! A fake API on a free port, and a way to run a command line against it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::{Json, Router};
use clap::Parser as _;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::{Life, Task};
use tokio::net::TcpListener;

use crate::args::{Cli, Command};
use crate::client::screen::{Look, Screen};
use crate::client::token::Environment;
use crate::client::{Setting, execute};

pub const BUILD: &str = "01920000-0000-7000-8000-00000000000b";
pub const JOB: &str = "01920000-0000-7000-8000-00000000000a";
pub const PROJECT: &str = "01920000-0000-7000-8000-00000000000c";

/// What the fake was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET /api/v1/builds?state=failed`
    pub what: String,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A running fake; ends when it is dropped.
pub struct Fake {
    pub server: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: Task<io::Result<()>>,
}

impl Fake {
    /// Answers every request by `answer`, which also learns how many of the same came before.
    pub async fn start(answer: impl Fn(&Asked, usize) -> Response + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        let handler = move |request: Request| {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
                let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
                let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                let asked = Asked { what: format!("{} {path}", parts.method), headers: parts.headers, body };
                let mut seen = seen.lock().expect("no panic");
                let before = seen.iter().filter(|other| other.what == asked.what).count();
                seen.push(asked.clone());
                answer(&asked, before)
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = format!("http://{}", listener.local_addr().expect("bound"));
        let serving = async move { axum::serve(listener, Router::new().fallback(handler)).await };
        Self { server, asked, _task: Life::new().task("fake", serving) }
    }

    /// One answer to everything.
    pub async fn always(status: u16, body: Value) -> Self {
        Self::start(move |_, _| answer(status, body.clone())).await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    pub async fn run(&self, args: &[&str]) -> Ran {
        run_with(&self.server, args, Look::default(), signed_in()).await
    }
}

/// A JSON answer; problem+json if it is an error.
pub fn answer(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response = axum::response::IntoResponse::into_response((status, Json(body)));
    if !status.is_success() {
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/problem+json"));
    }
    response
}

pub fn not_found() -> Response {
    answer(404, problem(404, "There is no such thing."))
}

/// A stream of these bytes that then closes.
pub fn stream(text: impl Into<Bytes>) -> Response {
    Response::builder().header("content-type", "text/event-stream").body(Body::from(text.into())).expect("valid")
}

pub fn problem(status: u16, detail: &str) -> Value {
    json!({ "type": "about:blank", "title": "T", "status": status, "detail": detail })
}

pub fn project(id: &str, name: &str) -> Value {
    json!({
        "id": id, "name": name, "forge": "github", "state": "active", "visibility": "private",
        "repo": { "full_path": "team/app", "clone_url": "https://example.org/team/app.git" },
        "image": null, "hook": { "url": "http://s/hooks/h", "secret": "slh_secret" },
    })
}

/// A build with one job in this state and so many attempts.
pub fn build(state: &str, job: &str, attempts: i64) -> Value {
    let attempts: Vec<Value> = (1..=attempts).map(|epoch| json!({ "epoch": epoch })).collect();
    json!({
        "id": BUILD, "project": PROJECT, "project_name": "team/app", "state": state, "trigger": "push",
        "ref": "refs/heads/main", "commit": "c".repeat(40), "created_at": "2026-01-01T00:00:00Z",
        "started_at": null, "finished_at": null, "waiting": null, "url": "http://s/builds/b",
        "jobs": [{
            "id": JOB, "build": BUILD, "kind": "image", "state": job, "pool": "here/small/linux-amd64",
            "attempts": attempts, "steps": [], "images": [], "failure": null,
        }],
    })
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

/// A token and nothing else.
pub fn signed_in() -> Environment {
    Environment { token: Some("secret-token".to_owned()), ..Environment::default() }
}

/// Runs a command line against a server.
pub async fn run_with(server: &str, args: &[&str], look: Look, environment: Environment) -> Ran {
    let cli = Cli::try_parse_from(["slipway", "--server", server].iter().chain(args))
        .unwrap_or_else(|error| panic!("{args:?}: {error}"));
    let Command::Client(command) = cli.command else { panic!("{args:?} is no command of the client") };
    let (out, err) = (Sink::default(), Sink::default());
    let look = Look { json: cli.client.json, ..look };
    let mut screen = Screen::new(Box::new(out.clone()), Box::new(err.clone()), look);
    let setting = Setting { connection: &cli.client, environment, clock: Clock::system() };
    let code = execute(command, &setting, &mut screen).await.code();
    Ran { code, out: out.text(), err: err.text() }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
