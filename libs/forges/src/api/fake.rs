//! A forge at the network edge that has a repository, believes one token, keeps what it was told, and can be in
//! trouble. What it does not know as a request of its kind it refuses and remembers.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};
use slipway_domain::event::ForgeKind;
use tokio::net::TcpListener;
use url::Url;

mod bitbucket;
mod bitbucket_dc;
mod coding;
mod gitea;
mod gitee;
mod github;
mod gitlab;
mod hooks;
mod keys;

pub(super) use keys::Key;

pub(super) const TOKEN: &str = "a-very-secret-token";

/// The forges that are spoken to by clients of our own.
pub(super) const KINDS: [ForgeKind; 5] =
    [ForgeKind::Bitbucket, ForgeKind::BitbucketDc, ForgeKind::Gitea, ForgeKind::Gitee, ForgeKind::Coding];

/// The one repository, as the forge names it.
pub(super) fn repo_of(kind: ForgeKind) -> &'static str {
    match kind {
        ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::Gitea | ForgeKind::Gitee => "acme/widget",
        ForgeKind::Gitlab => "acme/sub/widget",
        ForgeKind::BitbucketDc => "~acme/widget",
        ForgeKind::Coding => "acme/tools/widget",
    }
}

/// One status as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) commit: String,
    pub(super) key: String,
    pub(super) name: Option<String>,
    pub(super) state: String,
    pub(super) description: String,
    pub(super) url: String,
    pub(super) refname: Option<String>,
}

/// What the next request meets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    Limited,
    Broken,
    Silent,
}

/// What a person may do with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Admin,
}

/// A file before and after a change.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

impl Moved {
    fn name(&self) -> &str {
        self.new.as_deref().or(self.old.as_deref()).expect("a file has a name")
    }

    /// The old name of a renamed file.
    fn renamed(&self) -> Option<&str> {
        self.old.as_deref().filter(|old| self.new.as_deref().is_some_and(|new| new != *old))
    }

    fn status(&self) -> &'static str {
        match (&self.old, &self.new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ if self.renamed().is_some() => "renamed",
            _ => "modified",
        }
    }
}

/// A repository that can be listed and looked up.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) id: u64,
    pub(super) path: String,
    pub(super) private: bool,
    pub(super) branch: Option<String>,
}

impl Listing {
    fn named(&self, asked: &str) -> bool {
        self.path.contains(asked)
    }
}

/// A webhook of the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) id: u64,
    pub(super) url: String,
    pub(super) secret: String,
    /// By the forge's names, sorted.
    pub(super) events: Vec<String>,
    pub(super) active: bool,
    /// What the last delivery was answered with.
    pub(super) failed: Option<i64>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) hooks: Vec<Hook>,
    pub(super) keys: Vec<Key>,
    /// The next request that changes something is done, and its answer lost.
    pub(super) loses_answer: bool,
    /// The newest first.
    pub(super) listed: Vec<Listing>,
    /// The token may not tell whose it is.
    pub(super) nameless: bool,
    /// What the second commit changed, and what change 7 changes.
    pub(super) changed: Vec<Moved>,
    /// A file of a commit that is before the second one no more.
    pub(super) taken: Option<String>,
    /// The comparison is more than the forge wants to make.
    pub(super) overflown: bool,
    pub(super) messages: BTreeMap<String, String>,
    pub(super) people: Vec<(String, Right)>,
    /// Full ids.
    pub(super) commits: Vec<String>,
    /// By commit and path.
    pub(super) files: BTreeMap<(String, String), String>,
    /// By full name.
    pub(super) refs: BTreeMap<String, String>,
    pub(super) said: Vec<Said>,
    pub(super) trouble: Option<Trouble>,
    pub(super) revoked: bool,
    /// Requests that no such forge knows.
    pub(super) unknown: Vec<String>,
    pub(super) requests: usize,
}

impl State {
    fn has(&self, commit: &str) -> bool {
        self.commits.iter().any(|known| known == commit)
    }

    fn full(&self, prefix: &str) -> Option<&String> {
        self.commits.iter().find(|known| known.starts_with(prefix))
    }

    fn file(&self, commit: &str, path: &str) -> Option<&String> {
        self.files.get(&(commit.to_owned(), path.to_owned()))
    }

    fn listing(&self, path: &str) -> Option<&Listing> {
        self.listed.iter().find(|listing| listing.path == path)
    }

    fn by_id(&self, id: &str) -> Option<&Listing> {
        self.listed.iter().find(|listing| listing.id.to_string() == id)
    }

    fn message(&self, commit: &str) -> &str {
        self.messages.get(commit).map_or("x", String::as_str)
    }

    fn right(&self, login: &str) -> Option<Right> {
        self.people.iter().find(|(name, _)| name.eq_ignore_ascii_case(login)).map(|(_, right)| *right)
    }

    /// The merge base of the two commits.
    fn base<'a>(&self, before: &'a str) -> &'a str {
        if self.taken.is_some() { "0123456789012345678901234567890123456789" } else { before }
    }

    fn is_directory(&self, commit: &str, path: &str) -> bool {
        self.files.keys().any(|(of, file)| of == commit && file.starts_with(&format!("{path}/")))
    }
}

/// A request in its parts.
struct Request {
    method: String,
    /// Unescaped one by one: an escaped slash separates nothing.
    segments: Vec<String>,
    query: BTreeMap<String, String>,
    body: Value,
}

impl Request {
    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn changes(&self) -> bool {
        let action = self.text("/Action").unwrap_or_default();
        self.method != "GET" && !action.starts_with("Describe")
    }

    /// A text of the body that must be there.
    fn text(&self, pointer: &str) -> Option<String> {
        self.body.pointer(pointer)?.as_str().map(str::to_owned)
    }
}

enum Reply {
    Nothing,
    Json(u16, Value),
    Text(String),
    /// A list with a `Link` header, which names another host.
    Linked(Value, bool),
    Moved(String),
}

/// One page of a list, numbered from 1, and whether there is another.
fn page_of<'a, T>(all: &'a [T], page: &str, per_page: &str) -> (&'a [T], bool) {
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("a number: {text:?}"));
    let (page, per_page) = (number(page), number(per_page));
    let mut pages = all.chunks(per_page);
    (pages.nth(page - 1).unwrap_or_default(), all.len() > page * per_page)
}

pub(super) struct FakeForge {
    kind: ForgeKind,
    listener: TcpListener,
    pub(super) url: Url,
    state: Arc<Mutex<State>>,
}

/// The fake's state, to be looked at and changed while it serves.
#[derive(Clone)]
pub(super) struct Inside(Arc<Mutex<State>>);

impl Inside {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic before")
    }
}

impl FakeForge {
    pub(super) async fn new(kind: ForgeKind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("bound"))).expect("a URL");
        Self { kind, listener, url, state: Arc::default() }
    }

    pub(super) fn inside(&self) -> Inside {
        Inside(self.state.clone())
    }

    /// Serves while `work` runs. Nothing unknown may have been asked.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let (kind, inside) = (self.kind, self.inside());
        let router = Router::new().fallback({
            let inside = inside.clone();
            move |request: axum::extract::Request| serve(kind, inside.clone(), request)
        });
        let done = tokio::select! {
            stopped = axum::serve(self.listener, router) => panic!("the fake stopped: {stopped:?}"),
            done = work => done,
        };
        assert_eq!(inside.lock().unknown, Vec::<String>::new(), "{kind} knows no such requests");
        done
    }
}

async fn serve(kind: ForgeKind, inside: Inside, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a small body");
    let trouble = {
        let mut state = inside.lock();
        state.requests += 1;
        state.trouble.take()
    };
    match trouble {
        Some(Trouble::Limited) => return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "").into_response(),
        Some(Trouble::Broken) => return (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        Some(Trouble::Silent) => pending().await,
        None => {}
    }
    let credential = if kind == ForgeKind::Gitlab { "private-token" } else { "authorization" };
    let shown = parts.headers.get(credential).and_then(|value| value.to_str().ok());
    if inside.lock().revoked || shown != Some(expected(kind).as_str()) {
        return stranger(kind).into_response();
    }
    let line = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let request = Request {
        method: parts.method.to_string(),
        segments: parts.uri.path().trim_start_matches('/').split('/').map(unescaped).collect(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        body: match content_type {
            Some("application/json") if !body.is_empty() => serde_json::from_slice(&body).expect("JSON"),
            Some("application/x-www-form-urlencoded") => {
                url::form_urlencoded::parse(&body).map(|(key, value)| (key.into_owned(), json!(value))).collect()
            }
            _ => Value::Null,
        },
    };
    let mut state = inside.lock();
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let reply = match kind {
        ForgeKind::Bitbucket => bitbucket::reply(&mut state, &request, &segments),
        ForgeKind::BitbucketDc => bitbucket_dc::reply(&mut state, &request, &segments),
        ForgeKind::Gitea => gitea::reply(&mut state, &request, &segments),
        ForgeKind::Gitee => gitee::reply(&mut state, &request, &segments),
        ForgeKind::Coding => coding::reply(&mut state, &request, &segments),
        ForgeKind::Github => github::reply(&mut state, &request, &segments),
        ForgeKind::Gitlab => gitlab::reply(&mut state, &request, &segments),
    };
    let Some(reply) = reply else {
        state.unknown.push(line);
        return StatusCode::IM_A_TEAPOT.into_response();
    };
    if state.loses_answer && request.changes() {
        state.loses_answer = false;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    reply.into_response()
}

fn expected(kind: ForgeKind) -> String {
    match kind {
        ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::BitbucketDc => format!("Bearer {TOKEN}"),
        ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => format!("token {TOKEN}"),
        ForgeKind::Gitlab => TOKEN.to_owned(),
    }
}

fn stranger(kind: ForgeKind) -> Reply {
    match kind {
        ForgeKind::Coding => coding::failure("AuthFailure", "the token is unknown"),
        _ => Reply::Json(401, json!({"message": "Unauthorized"})),
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Json(status, body) => {
                (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
            }
            Self::Nothing => StatusCode::NO_CONTENT.into_response(),
            Self::Text(text) => text.into_response(),
            Self::Linked(body, more) => {
                let first = "<http://elsewhere.invalid/?page=1>; rel=\"first\"";
                let link = if more { "<http://elsewhere.invalid/?page=2>; rel=\"next\"" } else { first };
                ([(header::LINK, link)], axum::Json(body)).into_response()
            }
            Self::Moved(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        }
    }
}

fn unescaped(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.extend(hex::decode([*high, *low]).expect("two digits"));
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8(bytes).expect("text")
}
