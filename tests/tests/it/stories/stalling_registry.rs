//! A registry that keeps somebody waiting: everything goes on to the real one, but some requests only once
//! the gate is opened.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use slipway_tests::pass_on::pass_on;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a build may take to come to the gate.
const REACHED: Duration = Duration::from_secs(60);

/// What is kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// Whatever is asked of a manifest.
    Pulls,
    /// Layers.
    Uploads,
    /// Manifests under tags that users see, not those under the carrier tag `b<build>.<epoch>`.
    UserTags,
}

/// A running registry; ended on drop.
pub struct StallingRegistry {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    stall: Stall,
    reached: watch::Sender<bool>,
    open: watch::Sender<bool>,
    client: reqwest::Client,
}

impl StallingRegistry {
    /// A registry in front of the one at `upstream`, `host:port`.
    pub async fn start(upstream: &str, stall: Stall) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening as a registry")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            stall,
            reached: watch::Sender::new(false),
            open: watch::Sender::new(false),
            client: reqwest::Client::new(),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the stalling registry ended: {error}");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until a request stands at the gate.
    pub async fn reached(&self) -> Result<()> {
        let mut reached = self.shared.reached.subscribe();
        let waited = tokio::time::timeout(REACHED, reached.wait_for(|reached| *reached)).await;
        waited.context("nothing came to the registry's gate")?.map(drop).context("the registry ended")
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }
}

impl Drop for StallingRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn stalls(&self, method: &Method, path: &str) -> bool {
        match self.stall {
            Stall::Pulls => path.contains("/manifests/"),
            Stall::Uploads => *method == Method::POST && path.contains("/blobs/uploads"),
            Stall::UserTags => {
                let tag = path.split_once("/manifests/").map(|(_, tag)| tag);
                *method == Method::PUT && tag.is_some_and(|tag| !is_carrier(tag))
            }
        }
    }
}

fn is_carrier(tag: &str) -> bool {
    let parts = tag.strip_prefix('b').and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(build, _)| build.len() == 32 && build.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if shared.stalls(request.method(), request.uri().path()) {
        shared.reached.send_replace(true);
        let _ = shared.open.subscribe().wait_for(|open| *open).await;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://{}{path}", shared.upstream);
    pass_on(&shared.client, request, &url).await
}
