//! A forge at the network edge: the commit status API of GitHub and GitLab. It checks what it is sent,
//! answers as a test wants, and remembers the order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::wait::eventually;
use crate::world::Forge;

/// What the forge's own tokens look like.
pub const TOKEN: &str = "forge-token-of-the-tests";

/// What it does with the next status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Refuses it with this status.
    Refuse(u16),
    /// Refuses it with 429 and these seconds of `Retry-After`.
    RetryAfter(u64),
    /// Says nothing until the test lets go.
    Hang,
}

/// One status as it came in.
#[derive(Debug, Clone)]
pub struct Told {
    /// The commit.
    pub commit: String,
    /// The forge's word for the state.
    pub state: String,
    /// All fields that were sent.
    pub fields: Value,
    /// What it was answered with.
    pub answer: Answer,
    /// When it came.
    pub at: Instant,
}

/// A running fake; ended on drop.
#[derive(Debug)]
pub struct FakeForge {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    kind: Forge,
    /// `owner/name`, the only repository that there is.
    repo: String,
    state: Mutex<Seen>,
    let_go: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    answers: VecDeque<Answer>,
    always: Option<Answer>,
    /// Nothing at all is answered.
    frozen: bool,
    told: Vec<Told>,
    /// What was wrong with a request, in words.
    wrong: Vec<String>,
}

impl FakeForge {
    /// Starts one that knows this repository.
    pub async fn start(kind: Forge, repo: &str) -> Result<Self> {
        let (state, let_go) = (Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { kind, repo: repo.to_owned(), state, let_go });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening as a forge")?;
        let address = listener.local_addr()?.to_string();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the fake forge ended: {error}");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// What a connection says as its `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next statuses like this, one each, and takes those after them.
    pub fn answer_next(&self, answers: &[Answer]) {
        self.shared.seen().answers.extend(answers);
    }

    /// Answers every status like this, until something else is said.
    pub fn answer_always(&self, answer: Answer) {
        self.shared.seen().always = Some(answer);
    }

    /// Answers nothing at all, statuses or not, until the test lets go.
    pub fn freeze(&self) {
        self.shared.seen().frozen = true;
    }

    /// Takes the statuses that hang, and all after them.
    pub fn let_go(&self) {
        {
            let mut seen = self.shared.seen();
            (seen.always, seen.frozen) = (None, false);
        }
        self.shared.let_go.notify_waiters();
    }

    /// Every status that came in, in order.
    pub fn told(&self) -> Vec<Told> {
        self.shared.seen().told.clone()
    }

    /// The states that were taken, in order.
    pub fn taken(&self) -> Vec<String> {
        let taken = |told: &Told| matches!(told.answer, Answer::Take | Answer::Hang);
        self.told().into_iter().filter(taken).map(|told| told.state).collect()
    }

    /// What was wrong with requests, in words; empty when all were as the forge wants them.
    pub fn wrong(&self) -> Vec<String> {
        self.shared.seen().wrong.clone()
    }

    /// Waits until `wanted` holds for what came in.
    pub async fn told_when(&self, deadline: Duration, wanted: impl Fn(&[Told]) -> bool) -> Result<Vec<Told>> {
        let waited = eventually("a commit status", deadline, || async {
            let told = self.told();
            Ok(wanted(&told).then_some(told))
        });
        waited.await.with_context(|| format!("the forge was told {:?}, wrongly {:?}", self.told(), self.wrong()))
    }
}

impl Drop for FakeForge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part of the path before the commit.
    fn status_path(&self) -> String {
        match self.kind {
            Forge::Github => format!("/api/v3/repos/{}/statuses/", self.repo),
            Forge::Gitlab => format!("/api/v4/projects/{}/statuses/", self.repo.replace('/', "%2F")),
        }
    }

    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|sent| sent.as_bytes() == value.as_bytes());
        match self.kind {
            Forge::Github => is("authorization", &format!("Bearer {TOKEN}")),
            Forge::Gitlab => is("private-token", TOKEN) || is("authorization", &format!("Bearer {TOKEN}")),
        }
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let thawed = shared.let_go.notified();
    if shared.seen().frozen {
        thawed.await;
    }
    if !shared.is_authorised(&headers) {
        shared.seen().wrong.push(format!("{method} {uri} without our token"));
        return refuse(StatusCode::UNAUTHORIZED);
    }
    // A file that is not there; the commit is.
    if method == Method::GET {
        let is_commit = uri.path().contains("/git/commits/");
        return if is_commit { axum::Json(json!({})).into_response() } else { refuse(StatusCode::NOT_FOUND) };
    }
    let Some(commit) = uri.path().strip_prefix(&shared.status_path()).filter(|_| method == Method::POST) else {
        shared.seen().wrong.push(format!("{method} {uri}"));
        return refuse(StatusCode::NOT_FOUND);
    };
    let fields = fields(&uri, &headers, &body);
    let state = fields["state"].as_str().unwrap_or_default().to_owned();
    let answer = {
        let mut seen = shared.seen();
        if let Some(wrong) = fault(shared.kind, commit, &fields) {
            seen.wrong.push(wrong);
        }
        let answer = seen.answers.pop_front().or(seen.always).unwrap_or(Answer::Take);
        let told = Told { commit: commit.to_owned(), state, fields: fields.clone(), answer, at: Instant::now() };
        seen.told.push(told);
        answer
    };
    match answer {
        Answer::Take => {}
        Answer::Hang => shared.let_go.notified().await,
        Answer::Refuse(code) => return refuse(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)),
        Answer::RetryAfter(secs) => {
            let mut response = refuse(StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, secs.into());
            return response;
        }
    }
    (StatusCode::CREATED, axum::Json(created(shared.kind, commit, &fields))).into_response()
}

/// The fields of a request: JSON, or a form in the body or the query.
fn fields(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Value {
    let is_json =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json && let Ok(fields) = serde_json::from_slice(body) {
        return fields;
    }
    let form =
        url::form_urlencoded::parse(body).chain(url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()));
    Value::Object(form.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect())
}

/// What the forge would not take, in words.
fn fault(kind: Forge, commit: &str, fields: &Value) -> Option<String> {
    let (states, name, longest): (&[&str], _, _) = match kind {
        Forge::Github => (&["error", "failure", "pending", "success"], "context", 140),
        Forge::Gitlab => (&["pending", "running", "success", "failed", "canceled", "skipped"], "name", 255),
    };
    let text = |field: &str| fields[field].as_str().unwrap_or_default();
    if commit.len() != 40 {
        return Some(format!("{commit} is no commit id"));
    }
    if !states.contains(&text("state")) {
        return Some(format!("{} is no state", fields["state"]));
    }
    if !text(name).starts_with("slipway/") || text("description").is_empty() || text("description").len() > longest {
        return Some(format!("{name} or description: {fields}"));
    }
    (!text("target_url").contains("/builds/")).then(|| format!("target_url: {}", fields["target_url"]))
}

/// What the forge answers when it took a status.
fn created(kind: Forge, commit: &str, fields: &Value) -> Value {
    let at = "2026-01-01T00:00:00Z";
    match kind {
        Forge::Github => json!({
            "id": 1, "node_id": "x", "url": "https://192.0.2.1/", "state": fields["state"],
            "context": fields["context"], "description": fields["description"], "target_url": fields["target_url"],
            "created_at": at, "updated_at": at,
        }),
        Forge::Gitlab => json!({
            "id": 1, "sha": commit, "ref": fields["ref"], "status": fields["state"], "name": fields["name"],
            "description": fields["description"], "target_url": fields["target_url"], "pipeline_id": 4711,
            "created_at": at,
        }),
    }
}

fn refuse(status: StatusCode) -> Response {
    let body = axum::Json(json!({ "message": format!("{} by the tests' forge", status.as_u16()) }));
    (status, body).into_response()
}
