//! Git over real HTTP: `git http-backend` behind a small server, as forges run it.

mod hostile;
mod kept;
mod modules;

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Response, StatusCode};
use base64::Engine as _;
use slipway_runtime::egress::FetchAllow;
use slipway_runtime::lifecycle::{Life, Task};
use slipway_runtime::trust::Trust;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::submodules::fetch_submodules;
use super::*;
use crate::tests::tls::Front;

/// The requests that a server saw.
type Seen = Arc<Mutex<Vec<String>>>;

/// How the server behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// The Basic credential that it wants.
    login: Option<&'static str>,
    /// Answers in protocol version 0, which hands out tips of refs only.
    old: bool,
    /// Redirects everything elsewhere.
    redirect: bool,
    /// Never answers.
    silent: bool,
    /// Leaves contents out where it is asked to.
    filters: bool,
}

pub(crate) struct Forge {
    _life: Life,
    _server: Task<()>,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    seen: Seen,
}

async fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args([
        "-c",
        "init.defaultBranch=main",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgSign=false",
    ]);
    command.args(args).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().await.expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

impl Forge {
    pub(crate) async fn start(manners: Manners) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let work = folder.path().join("repo");
        std::fs::create_dir(&work).expect("a folder");
        git(&work, &["init", "-q"]).await;
        for (name, text) in [("Dockerfile", "FROM scratch\n"), ("slipway.yml", "region: eu\n")] {
            std::fs::write(work.join(name), text).expect("a file");
        }
        git(&work, &["add", "."]).await;
        git(&work, &["commit", "-q", "-m", "one"]).await;
        std::fs::write(work.join("second"), "2").expect("a file");
        git(&work, &["add", "."]).await;
        git(&work, &["commit", "-q", "-m", "two"]).await;
        git(&work, &["checkout", "-q", "-b", "bare"]).await;
        git(&work, &["rm", "-q", "slipway.yml"]).await;
        git(&work, &["commit", "-q", "-m", "bare"]).await;
        git(&work, &["checkout", "-q", "main"]).await;
        git(&work, &["config", "uploadpack.allowFilter", &manners.filters.to_string()]).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let state = (manners, folder.path().to_path_buf(), seen.clone());
        let app = axum::Router::new().fallback(backend).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let life = Life::new();
        let server = life.task("forge", async move { axum::serve(listener, app).await.expect("it serves") });
        Self { _life: life, _server: server, folder, port, seen }
    }

    fn url(&self) -> String {
        format!("http://localhost:{}/repo", self.port)
    }

    async fn commit(&self, name: &str) -> String {
        git(&self.folder.path().join("repo"), &["rev-parse", name]).await
    }
}

impl Manners {
    /// Gives only to whoever shows this.
    pub(crate) fn closed(login: &'static str) -> Self {
        Self { login: Some(login), ..Self::default() }
    }
}

/// The part of CGI that `git http-backend` needs.
async fn backend(State((manners, folder, seen)): State<(Manners, PathBuf, Seen)>, request: Request) -> Response<Body> {
    let (request, body) = request.into_parts();
    let plain = |status: StatusCode| Response::builder().status(status);
    let header = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let (auth, protocol, kind) = (header("authorization"), header("git-protocol"), header("content-type"));
    seen.lock().expect("a lock").push(format!("{} {auth}", request.uri));
    if manners.silent {
        std::future::pending::<()>().await;
    }
    if manners.redirect {
        return plain(StatusCode::FOUND)
            .header("location", "http://169.254.169.254/")
            .body(Body::empty())
            .expect("good");
    }
    if let Some(login) = manners.login
        && auth != format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login))
    {
        return plain(StatusCode::UNAUTHORIZED).header("www-authenticate", "Basic").body(Body::empty()).expect("good");
    }
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", request.uri.path())
        .env("QUERY_STRING", request.uri.query().unwrap_or(""))
        .env("REQUEST_METHOD", request.method.as_str())
        .env("CONTENT_TYPE", kind)
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"));
    if !manners.old {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the backend");
    let body = axum::body::to_bytes(body, 1 << 24).await.expect("a body");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(&body).await.expect("written");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends").stdout;
    let split = output.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let mut answer = Response::builder();
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        answer = match name {
            "Status" => answer.status(value.split(' ').next().expect("a code")),
            name => answer.header(name.parse::<HeaderName>().expect("a name"), value),
        };
    }
    answer.body(Body::from(output[split + 4..].to_vec())).expect("good")
}

struct Want<'a> {
    url: &'a str,
    commit: &'a str,
    git_ref: Option<&'a str>,
    rules_from: Option<&'a str>,
    login: Option<(&'a str, &'a str)>,
    allow: &'a str,
    trust: Trust,
    max_bytes: u64,
    mirrors: Option<(&'a Mirrors, Owner)>,
    submodules: bool,
}

impl<'a> Want<'a> {
    fn of(url: &'a str, commit: &'a str) -> Self {
        let (git_ref, trust, max_bytes) = (Some("refs/heads/main"), Trust::default(), 1 << 20);
        let (rules_from, login, mirrors, submodules) = (None, None, None, false);
        Self { url, commit, git_ref, rules_from, login, allow: "localhost", trust, max_bytes, mirrors, submodules }
    }
}

async fn get(want: Want<'_>, cancel: &CancellationToken) -> (Result<Checkout, Failure>, tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let egress = Egress::new(want.allow.parse::<FetchAllow>().expect("a list")).trusting(want.trust);
    let git_ref = want.git_ref.map(|name| GitRef::parse(name).expect("a ref"));
    let rules_from = want.rules_from.map(|name| GitRef::parse(name).expect("a ref"));
    let login = want.login.map(|(user, password)| Login { user: user.to_owned(), password: password.to_owned() });
    let (log, mut lines) = mpsc::channel(1000);
    let request = SourceRequest {
        clone_url: want.url,
        commit: want.commit,
        git_ref: git_ref.as_ref(),
        rules_from: rules_from.as_ref(),
        login: login.as_ref(),
        dir: dir.path(),
        timeout: Duration::from_secs(30),
        silence: Duration::from_secs(2),
        max_bytes: want.max_bytes,
        mirrors: want.mirrors,
    };
    let fetching = async {
        let fetched = fetch(&egress, request, &log, cancel).await;
        let fetched = match fetched {
            Ok(checkout) if want.submodules => {
                fetch_submodules(&egress, request, &checkout, (&log, cancel)).await.map(|_| checkout)
            }
            fetched => fetched,
        };
        drop(log);
        fetched
    };
    let reading = async {
        let mut text = String::new();
        while let Some(line) = lines.recv().await {
            text.push_str(&String::from_utf8_lossy(&line));
        }
        text
    };
    let (result, text) = tokio::join!(fetching, reading);
    (result, dir, text)
}

/// The text with a comment that makes it so large that a kept repository gets it apart from its commit, when git does not
/// look into it.
fn apart(text: &str) -> String {
    let comment = (64 << 10) - text.len() - "#\n".len();
    format!("{text}#{}\n", " ".repeat(comment))
}

fn left_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn fetches_any_commit_by_its_id() {
    let forge = Forge::start(Manners::default()).await;
    for name in ["main", "main~1"] {
        let commit = forge.commit(name).await;
        let (checkout, dir, _) = get(Want::of(&forge.url(), &commit), &CancellationToken::new()).await;
        let checkout = checkout.expect("fetched");
        assert_eq!(checkout.commit, commit);
        assert_eq!(checkout.root.join("second").exists(), name == "main");
        assert!(checkout.committed_at.timestamp() > 1_600_000_000);
        let pipeline = checkout.pipeline().expect("a good file").expect("a file");
        assert_eq!(pipeline.region.as_deref(), Some("eu"));
        assert_eq!(left_in(dir.path()), ["source"]);
    }
}

#[tokio::test]
async fn the_rules_of_another_branch_count_where_that_is_named() {
    let forge = Forge::start(Manners::default()).await;
    let commit = forge.commit("main~1").await;
    let text = async |rules_from| {
        let url = forge.url();
        let want = Want { rules_from: Some(rules_from), ..Want::of(&url, &commit) };
        let (checkout, dir, _) = get(want, &CancellationToken::new()).await;
        drop(dir);
        checkout
    };
    let main = text("refs/heads/main").await.expect("fetched");
    assert_eq!(main.commit, commit);
    let Rules::Others(Some(found)) = &main.rules else { panic!("{:?}", main.rules) };
    assert!(found.contains("region"), "{found}");
    assert_eq!(main.pipeline().expect("good").expect("a file").region.as_deref(), Some("eu"));
    let bare = text("refs/heads/bare").await.expect("fetched");
    assert_eq!((bare.pipeline(), bare.rules), (Ok(None), Rules::Others(None)), "its own file does not count");
    let gone = text("refs/heads/gone").await.expect_err("no such branch");
    assert!(matches!(gone.class, FailureClass::CommitMissing | FailureClass::SourceMissing), "{gone:?}");
}

#[tokio::test]
async fn a_forge_of_a_private_authority_is_believed_where_that_is_named() {
    let forge = Forge::start(Manners::default()).await;
    let commit = forge.commit("main").await;
    let front = Front::of(format!("localhost:{}", forge.port)).await;
    let url = format!("https://localhost:{}/repo", front.port);
    let (stranger, ..) = get(Want::of(&url, &commit), &CancellationToken::new()).await;
    assert_eq!(stranger.expect_err("nobody vouches for it").class, FailureClass::SourceUnreachable);
    let believing = Want { trust: front.trust.clone(), ..Want::of(&url, &commit) };
    let (checkout, dir, _) = get(believing, &CancellationToken::new()).await;
    assert_eq!(checkout.expect("fetched").commit, commit);
    assert!(!left_in(dir.path()).iter().any(|name| name.contains("pem")));
}

#[tokio::test]
async fn an_old_server_is_asked_for_the_ref() {
    let forge = Forge::start(Manners { old: true, ..Manners::default() }).await;
    let commit = forge.commit("main~1").await;
    let (checkout, _dir, _) = get(Want::of(&forge.url(), &commit), &CancellationToken::new()).await;
    assert_eq!(checkout.expect("fetched by its ref").commit, commit);
    let url = forge.url();
    let want = Want { git_ref: None, ..Want::of(&url, &commit) };
    let (refused, ..) = get(want, &CancellationToken::new()).await;
    assert_eq!(refused.expect_err("no ref").class, FailureClass::CommitMissing);
}

#[tokio::test]
async fn a_credential_reaches_the_server_and_nothing_else() {
    let forge = Forge::start(Manners { login: Some("robot:s3cret-canary"), ..Manners::default() }).await;
    let commit = forge.commit("main").await;
    let url = forge.url();
    let with = |password| Want { login: Some(("robot", password)), ..Want::of(&url, &commit) };
    let (checkout, dir, log) = get(with("s3cret-canary"), &CancellationToken::new()).await;
    let checkout = checkout.expect("fetched");
    assert_eq!(left_in(dir.path()), ["source"]);
    let config = std::fs::read_to_string(checkout.root.join(".git/config")).expect("git's configuration");
    assert!(!config.contains("canary") && !log.contains("canary"), "{config} {log}");

    let (refused, dir, log) = get(with("wrong-canary"), &CancellationToken::new()).await;
    let failure = refused.expect_err("refused");
    assert_eq!(failure.class, FailureClass::SourceAuth, "{}", failure.message);
    assert!(!failure.message.contains("canary") && !log.contains("canary"));
    assert_eq!(left_in(dir.path()), ["source"]);

    let (refused, ..) = get(Want::of(&url, &commit), &CancellationToken::new()).await;
    assert_eq!(refused.expect_err("no login").class, FailureClass::SourceMissing);
    let (refused, ..) = get(with("a\nb"), &CancellationToken::new()).await;
    assert_eq!(refused.expect_err("a line break").class, FailureClass::SourceAuth);
}

#[tokio::test]
async fn each_mistake_has_its_class() {
    use FailureClass::*;
    let forge = Forge::start(Manners::default()).await;
    let commit = forge.commit("main").await;
    let gone = "0".repeat(40);
    let missing = format!("http://localhost:{}/other", forge.port);
    let file = format!("file://{}/repo", forge.folder.path().display());
    let path = format!("{}/repo", forge.folder.path().display());
    let url = forge.url();
    let with_login = format!("http://robot:canary@localhost:{}/repo", forge.port);
    let cases = [
        (Want::of(&url, &gone), CommitMissing),
        (Want::of(&url, "main"), CommitMissing),
        (Want::of(&url, "--upload-pack=touch"), CommitMissing),
        (Want::of(&missing, &commit), SourceMissing),
        (Want { allow: "", ..Want::of(&url, &commit) }, SourceForbidden),
        (Want::of(&file, &commit), SourceForbidden),
        (Want::of(&path, &commit), SourceForbidden),
        (Want::of("ext::sh -c id", &commit), SourceForbidden),
        (Want::of("--upload-pack=id", &commit), SourceForbidden),
        (Want::of(&with_login, &commit), SourceForbidden),
        (Want::of("git@localhost:a/b", &commit), SourceAuth),
        (Want::of("http://localhost:1/repo", &commit), SourceUnreachable),
        (Want::of("https://nowhere.invalid/repo", &commit), SourceUnreachable),
    ];
    for (want, class) in cases {
        let what = format!("{} at {}", want.url, want.commit);
        let (refused, dir, _) = get(want, &CancellationToken::new()).await;
        let failure = refused.expect_err(&what);
        assert_eq!(failure.class, class, "{what}: {}", failure.message);
        assert!(!failure.message.contains("canary"), "{}", failure.message);
        assert!(left_in(dir.path()).iter().all(|name| name == "source"), "{what}");
    }
}

#[tokio::test]
async fn a_commit_that_is_too_large_is_not_fetched_further() {
    let forge = Forge::start(Manners::default()).await;
    let (url, commit) = (forge.url(), forge.commit("main").await);
    let want = Want { max_bytes: 100, ..Want::of(&url, &commit) };
    let (refused, dir, _) = get(want, &CancellationToken::new()).await;
    let failure = refused.expect_err("it has more than 100 bytes");
    assert_eq!(failure.class, FailureClass::SourceTooLarge, "{}", failure.message);
    assert_eq!(left_in(dir.path()), ["source"]);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let forge = Forge::start(Manners { redirect: true, ..Manners::default() }).await;
    let (refused, ..) = get(Want::of(&forge.url(), &"0".repeat(40)), &CancellationToken::new()).await;
    let failure = refused.expect_err("refused");
    assert_eq!(failure.class, FailureClass::SourceMissing, "{}", failure.message);
}

/// True while a process works in the folder.
fn works_in(dir: &Path) -> bool {
    let dir = dir.to_string_lossy();
    std::fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
        std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.to_string_lossy().starts_with(dir.as_ref()))
    })
}

#[tokio::test]
async fn a_cancel_leaves_no_process() {
    let forge = Forge::start(Manners { silent: true, ..Manners::default() }).await;
    let cancel = CancellationToken::new();
    let url = forge.url();
    let commit = "0".repeat(40);
    let stop = async {
        while forge.seen.lock().expect("a lock").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let ((refused, dir, _), ()) = tokio::join!(get(Want::of(&url, &commit), &cancel), stop);
    assert_eq!(refused.expect_err("cancelled").class, FailureClass::Cancelled);
    // Shorter than the silence after which git's own helper would give up by itself.
    for _ in 0..200 {
        if !works_in(dir.path()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a process is still there");
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let forge = Forge::start(Manners { silent: true, ..Manners::default() }).await;
    let (refused, dir, _) = get(Want::of(&forge.url(), &"0".repeat(40)), &CancellationToken::new()).await;
    let failure = refused.expect_err("silence");
    assert_eq!(failure.class, FailureClass::SourceUnreachable, "{}", failure.message);
    assert_eq!(left_in(dir.path()), ["source"]);
}
