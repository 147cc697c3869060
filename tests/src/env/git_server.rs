//! Git over HTTP as forges serve it: `git http-backend` behind a small CGI bridge in this process, on a
//! free port, open or with a user and a password.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::io::StreamReader;

use super::lfs::Contents;
use super::repo::{self, Repo};
use super::room::Room;

/// How long a builder may take to ask for a pack.
const ASKED: Duration = Duration::from_secs(60);

/// A running server; ended on drop.
#[derive(Debug)]
pub struct GitServer {
    room: Room,
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    root: std::path::PathBuf,
    /// What the Authorization header must say.
    authorization: Option<String>,
    base_url: String,
    lfs: Contents,
    requests: AtomicU64,
    /// Bytes of all answers' bodies.
    sent_bytes: AtomicU64,
    /// Whoever asks for a pack is kept waiting.
    holds: watch::Sender<bool>,
    /// How many wait.
    waiting: watch::Sender<usize>,
}

impl GitServer {
    /// A server that gives to everybody.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// A server that asks for this user and password.
    pub async fn start_private(user: &str, password: &str) -> Result<Self> {
        Self::start_with(Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))).await
    }

    /// `http://127.0.0.1:port`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an empty repository, `owner/name`.
    pub fn repo(&self, full_path: &str) -> Result<Repo> {
        let bare = self.shared.root.join(format!("{full_path}.git"));
        let work = self.room.path().join("work").join(full_path);
        Repo::create(full_path, format!("{}/{full_path}.git", self.base_url()), bare, work)
    }

    /// Keeps a content in LFS; the text that a commit has in its place.
    pub fn lfs(&self, content: &[u8]) -> String {
        self.shared.lfs.keep(content)
    }

    /// How many requests came in.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many bytes went out, without headers.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.load(Ordering::Relaxed)
    }

    /// From now on, whoever asks for a pack is kept waiting.
    pub fn hold(&self) {
        self.shared.holds.send_replace(true);
    }

    /// Waits until somebody is kept waiting.
    pub async fn held(&self) -> Result<()> {
        let mut waiting = self.shared.waiting.subscribe();
        let held = tokio::time::timeout(ASKED, waiting.wait_for(|waiting| *waiting > 0)).await;
        held.context("nobody asked for a pack")?.map(drop).context("the git server ended")
    }

    /// Answers everybody again.
    pub fn release(&self) {
        self.shared.holds.send_replace(false);
    }

    async fn start_with(authorization: Option<String>) -> Result<Self> {
        let room = Room::new()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening for git")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            root: room.path().join("bare"),
            authorization,
            base_url: format!("http://{address}"),
            lfs: Contents::default(),
            requests: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            holds: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the git server ended: {error}");
            }
        });
        Ok(Self { room, address, shared, task })
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shared.authorization.is_some() && sent != shared.authorization.as_deref() {
        let challenge = [(header::WWW_AUTHENTICATE, r#"Basic realm="git""#)];
        return (StatusCode::UNAUTHORIZED, challenge, "who are you?\n").into_response();
    }
    if request.uri().path().ends_with("/git-upload-pack") && *shared.holds.borrow() {
        let _waiting = Waiting::begin(&shared.waiting);
        let _ = shared.holds.subscribe().wait_for(|holds| !*holds).await;
    }
    if shared.lfs.is_asked(request.uri().path()) {
        return shared.lfs.answer(&shared.base_url, request).await.unwrap_or_else(|error| {
            eprintln!("LFS: {error:#}");
            StatusCode::BAD_REQUEST.into_response()
        });
    }
    answer(Arc::clone(&shared), request).await.unwrap_or_else(|error| {
        eprintln!("git http-backend: {error:#}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// One request that is kept waiting; it may give up.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

async fn answer(shared: Arc<Shared>, request: Request) -> Result<Response> {
    let mut child = backend(&shared, &request)?;
    let stdin = child.stdin.take().context("the backend has an input")?;
    let stdout = child.stdout.take().context("the backend has an output")?;
    // Both directions at once: the backend may answer before it has read everything.
    tokio::spawn(feed(request.into_body(), stdin));
    let mut output = BufReader::new(stdout);
    let response = read_head(&mut output).await?;
    let child = KeptUntilRead { _child: child, output };
    let body = futures_util::stream::try_unfold((child, shared), |(mut kept, shared)| async move {
        let chunk = kept.output.fill_buf().await?.to_vec();
        kept.output.consume(chunk.len());
        shared.sent_bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>((!chunk.is_empty()).then_some((chunk, (kept, shared))))
    });
    response.body(Body::from_stream(body)).context("making the answer")
}

/// The backend lives as long as somebody reads its output.
struct KeptUntilRead {
    _child: Child,
    output: BufReader<ChildStdout>,
}

fn backend(shared: &Shared, request: &Request) -> Result<Child> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = repo::command();
    command.arg("http-backend").env("GIT_PROJECT_ROOT", &shared.root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REQUEST_METHOD", request.method().as_str()).env("PATH_INFO", request.uri().path());
    command.env("QUERY_STRING", request.uri().query().unwrap_or_default());
    command.env("CONTENT_TYPE", text(header::CONTENT_TYPE)).env("REMOTE_ADDR", "127.0.0.1");
    command.env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING));
    command.env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")));
    let length = text(header::CONTENT_LENGTH);
    if !length.is_empty() {
        command.env("CONTENT_LENGTH", length);
    }
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().context("starting git http-backend")
}

async fn feed(body: Body, mut stdin: ChildStdin) {
    let mut body = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    // The backend or the client may go away first; the other side then sees the end.
    if tokio::io::copy(&mut body, &mut stdin).await.is_ok() {
        let _ = stdin.shutdown().await;
    }
}

async fn read_head(output: &mut BufReader<ChildStdout>) -> Result<axum::http::response::Builder> {
    let mut response = Response::builder();
    loop {
        let mut line = String::new();
        output.read_line(&mut line).await.context("reading the backend's header")?;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(response);
        }
        let (name, value) = line.split_once(':').context("a header line of the backend has no colon")?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split_whitespace().next().context("an empty status")?;
            response = response.status(StatusCode::from_bytes(code.as_bytes())?);
        } else {
            response = response.header(name, HeaderValue::from_str(value.trim())?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs git beside the server, which lives on this thread's runtime.
    async fn git_aside(folder: &std::path::Path, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::from(repo::command());
        let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().await?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[tokio::test]
    async fn a_commit_can_be_fetched_by_its_id_alone() {
        let server = GitServer::start().await.unwrap();
        let repo = server.repo("team/app").unwrap();
        let first = repo.commit("one", &[("a/b.txt", "1\n")]).unwrap();
        let second = repo.commit("two", &[("a/b.txt", "2\n")]).unwrap();
        assert_eq!((first.before.as_ref(), second.before.as_ref()), (None, first.after.as_ref()));
        let clone = tempfile::tempdir().unwrap();
        let old = first.after.unwrap();
        git_aside(clone.path(), &["init", "--quiet"]).await.unwrap();
        git_aside(clone.path(), &["fetch", "--quiet", "--depth=1", repo.clone_url(), &old]).await.unwrap();
        assert_eq!(git_aside(clone.path(), &["show", "FETCH_HEAD:a/b.txt"]).await.unwrap(), "1");
        let back = repo.force_push(MAIN_BRANCH, &old).unwrap();
        assert!(back.forced && back.after.as_deref() == Some(old.as_str()));
        assert!(server.requests() > 0);
    }

    #[tokio::test]
    async fn a_private_server_asks_who_is_there() {
        let server = GitServer::start_private("ada", "countess").await.unwrap();
        let repo = server.repo("team/secret").unwrap();
        let head = repo.commit("one", &[("x", "1")]).unwrap().after.unwrap();
        let here = tempfile::tempdir().unwrap();
        let refused = git_aside(here.path(), &["ls-remote", repo.clone_url()]).await.unwrap_err().to_string();
        assert!(refused.contains("could not read Username") || refused.contains("Authentication"), "{refused}");
        let with_password = repo.clone_url().replace("http://", "http://ada:countess@");
        assert!(git_aside(here.path(), &["ls-remote", &with_password]).await.unwrap().contains(&head));
    }

    const MAIN_BRANCH: &str = repo::MAIN;
}
