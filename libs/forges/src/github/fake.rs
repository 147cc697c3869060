//! A GitHub at the network edge: a listener in front of a state that answers each request, and remembers what no
//! GitHub knows.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

/// One request, below the API's base.
pub(super) struct Asked {
    /// Method and path.
    pub(super) line: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Asked {
    /// The token that came as `Bearer`.
    pub(super) fn bearer(&self) -> &str {
        let shown = self.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
    }

    /// The part of a list that was asked for, and whether there is more.
    pub(super) fn part<T: Clone>(&self, all: &[T]) -> (Vec<T>, Option<usize>) {
        assert_eq!(self.query["per_page"], "100");
        let page: usize = self.query["page"].parse().expect("a number");
        let part = all.iter().skip((page - 1) * 100).take(100).cloned().collect();
        (part, (all.len() > page * 100).then_some(page + 1))
    }
}

/// An answer; its body is JSON.
#[derive(Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
    silent: bool,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, silent: false }
    }

    pub(super) fn refused(status: u16, message: &str) -> Self {
        Self::new(status, json!({"message": message}))
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// The answer is lost on its way.
    pub(super) fn lost(mut self) -> Self {
        self.silent = true;
        self
    }

    /// With the link to another page. Its host is not ours, and nobody may go there.
    pub(super) fn linked(self, query: Option<String>) -> Self {
        match query {
            Some(query) => self.with(
                "link",
                format!("<https://elsewhere.example/x?per_page=100&{query}>; rel=\"next\", </x>; rel=\"first\""),
            ),
            None => self,
        }
    }
}

/// What a fake GitHub knows and how it answers; `None` for what no GitHub is asked.
pub(super) trait State: Send + 'static {
    fn reply(&mut self, asked: &Asked) -> Option<Reply>;
}

pub(super) struct Fake<S> {
    listener: TcpListener,
    pub(super) url: Url,
    inside: Inside<S>,
}

/// The state, to be looked at and changed while it serves.
pub(super) struct Inside<S>(Arc<Mutex<(S, Vec<String>)>>);

impl<S> Clone for Inside<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Inside<S> {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.lock().0)
    }

    fn lock(&self) -> MutexGuard<'_, (S, Vec<String>)> {
        self.0.lock().expect("no panic before")
    }
}

impl<S: State> Fake<S> {
    pub(super) async fn new(state: S) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("bound"))).expect("a URL");
        Self { listener, url, inside: Inside(Arc::new(Mutex::new((state, Vec::new())))) }
    }

    pub(super) fn inside(&self) -> Inside<S> {
        self.inside.clone()
    }

    /// Serves while `work` runs. Nothing unknown may have been asked.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let inside = self.inside.clone();
        let router = Router::new().fallback({
            let inside = inside.clone();
            move |request: axum::extract::Request| serve(inside.clone(), request)
        });
        let done = tokio::select! {
            stopped = axum::serve(self.listener, router) => panic!("the fake stopped: {stopped:?}"),
            done = work => done,
        };
        assert_eq!(inside.lock().1, Vec::<String>::new(), "GitHub knows no such requests");
        done
    }
}

async fn serve<S: State>(inside: Inside<S>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 8 << 20).await.expect("a body");
    assert_eq!(parts.headers["x-github-api-version"], "2022-11-28");
    let path = parts.uri.path().strip_prefix("/api/v3").expect("below the base");
    let asked = Asked {
        line: format!("{} {path}", parts.method),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") },
    };
    let reply = {
        let (state, unknown) = &mut *inside.lock();
        state.reply(&asked).unwrap_or_else(|| {
            unknown.push(format!("{} {:?} {}", asked.line, asked.query, asked.body));
            Reply::refused(418, "unknown")
        })
    };
    if reply.silent {
        return pending().await;
    }
    let status = StatusCode::from_u16(reply.status).expect("a status");
    let mut response = (status, axum::Json(reply.body)).into_response();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().expect("a header value"));
    }
    response
}
