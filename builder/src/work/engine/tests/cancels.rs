//! A build that is cancelled ends wherever it stands: at once for whoever waits, soon for everything that it started,
//! and without a trace on the engine. A neighbour on the same engine does not notice.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slipway_runtime::lifecycle::Task;

use super::*;

/// Far more than it takes on a machine that does other things too.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Everything that the build started has ended.
const GONE: Duration = Duration::from_secs(10);
/// How long a build may take to come to where it is cancelled.
const REACHED: Duration = Duration::from_secs(120);
const GIGABYTE: u64 = 1 << 30;

/// Deaf to what asks politely; its command line has the salt.
const DEAF: &str = "trap \\\"\\\" TERM INT HUP; while :; do sleep 1; done; : SALT";

/// True while some process of this host has the word in its command line.
fn runs(word: &str) -> bool {
    process_of(word).is_some()
}

fn process_of(word: &str) -> Option<String> {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc").expect("proc").flatten().find_map(|entry| {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let is_it = pid != own && pid.parse::<u32>().is_ok() && String::from_utf8_lossy(&line).contains(word);
        is_it.then_some(pid)
    })
}

async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| panic!("not within {patience:?}: {what}"));
}

/// What a registry never answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Manifest,
    Layer,
    Upload,
}

/// A registry that keeps somebody waiting for ever.
struct Stalling {
    address: String,
    waiting: Arc<AtomicUsize>,
    reached: CancellationToken,
    _task: Task<()>,
}

impl Stalling {
    async fn start(life: &Life, gate: Gate) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (waiting, reached) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let app = Router::new().fallback(stall).with_state((gate, Arc::clone(&waiting), reached.clone()));
        let task = life.task("registry", async move { axum::serve(listener, app).await.expect("it serves") });
        Self { address, waiting, reached, _task: task }
    }

    /// Nobody waits for its answer any more.
    async fn is_left(&self) {
        until("the registry is left", GONE, || self.waiting.load(Ordering::SeqCst) == 0).await;
    }
}

/// Counts whoever waits; a request that is given up is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Stall = (Gate, Arc<AtomicUsize>, CancellationToken);

async fn stall(State((gate, waiting, reached)): State<Stall>, request: Request) -> Response {
    let digest = |bytes: &str| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest("1")]},
    });
    let (config, path) = (config.to_string(), request.uri().path());
    let stands_at = match gate {
        Gate::Manifest => path.contains("/manifests/"),
        Gate::Layer => path.ends_with(&digest("layer")),
        Gate::Upload => *request.method() == axum::http::Method::PATCH,
    };
    if stands_at {
        waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(waiting);
        reached.cancel();
        // Reads so slowly that it is seen when whoever sends gives up.
        let mut body = request.into_body().into_data_stream();
        while let Some(piece) = body.next().await {
            if piece.is_err() {
                return StatusCode::BAD_REQUEST.into_response();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        return std::future::pending().await;
    }
    let kind = |name: &str| format!("application/vnd.docker.{name}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind("distribution.manifest.v2+json"),
        "config": {"mediaType": kind("container.image.v1+json"), "size": config.len(), "digest": digest(&config)},
        "layers": [{"mediaType": kind("image.rootfs.diff.tar.gzip"), "size": 1000, "digest": digest("layer")}],
    });
    if path.contains("/manifests/") {
        let manifest = manifest.to_string();
        let headers =
            [("content-type", kind("distribution.manifest.v2+json")), ("docker-content-digest", digest(&manifest))];
        return (headers, manifest).into_response();
    }
    if path.ends_with(&digest(&config)) {
        return config.into_response();
    }
    if path.ends_with("/blobs/uploads/") {
        return (StatusCode::ACCEPTED, [("location", "/v2/team/app/blobs/uploads/1")]).into_response();
    }
    if path == "/v2/" { "{}".into_response() } else { StatusCode::NOT_FOUND.into_response() }
}

/// What a cancel of a build showed.
struct Cancelled {
    site: Site,
    built: Outcome,
    name: &'static str,
    clock: Clock,
    asked: std::time::Instant,
    acknowledged: Duration,
}

/// Builds and cancels; what `stop` does not know, `elsewhere` may.
async fn cancelled(
    name: &'static str,
    (site, request): (Site, BuildRequest),
    stop: Option<Stop<'_>>,
    elsewhere: &CancellationToken,
) -> Cancelled {
    let (clock, cancel) = (Clock::system(), elsewhere.child_token());
    let build = async {
        let built = site.build_until(request, &cancel, stop).await;
        cancel.cancel();
        built
    };
    let both = async {
        let (built, asked) = tokio::join!(build, async {
            cancel.cancelled().await;
            clock.monotonic()
        });
        (built, asked, clock.monotonic().duration_since(asked))
    };
    let both = tokio::time::timeout(REACHED, both).await;
    let (built, asked, acknowledged) = both.unwrap_or_else(|_| panic!("{name}: not ended after {REACHED:?}"));
    assert_eq!(built.result.as_ref().expect_err(name).class, FailureClass::Cancelled, "{name}: {:?}", built.result);
    assert!(acknowledged < ACKNOWLEDGED, "{name}: acknowledged after {acknowledged:?}");
    let open = built.steps.values().find(|step| matches!(step.state, StepState::Pending | StepState::Running));
    assert!(open.is_none(), "{name}: {open:?}");
    Cancelled { site, built, name, clock, asked, acknowledged }
}

impl Cancelled {
    /// Everything that the build started is gone by now; nothing of it became an image.
    async fn over(self) -> Site {
        let gone = self.clock.monotonic().duration_since(self.asked);
        eprintln!("cancelled {:<28} acknowledged in {:>8.1?}, gone in {gone:>8.1?}", self.name, self.acknowledged);
        assert_eq!(self.site.images().await, 0, "{}", self.name);
        self.site
    }
}

/// A command that prints `begun` and goes on, in a build of its own.
async fn running(name: &'static str, command: &str) {
    let Some(site) = site().await else { return };
    let dockerfile = salted(&format!("FROM {BASE}\nRUN {}\n", command.replace("DEAF", DEAF)));
    let marker = dockerfile.rsplit(": ").next().expect("the salt").split(['"', '\'', ' ', '\n']).next();
    let marker = marker.expect("the salt").to_owned();
    assert!(marker.len() > 30, "{dockerfile}");
    let request = site.request(&dockerfile, offline()).await;
    let (stop, none) = (Some(Stop::Says("begun")), CancellationToken::new());
    let begun = until("its processes run", REACHED, || runs(&marker));
    let (ended, ()) = tokio::join!(cancelled(name, (site, request), stop, &none), begun);
    assert_eq!(ended.built.step("RUN ").state, StepState::Cancelled, "{name}");
    until(name, GONE, || !runs(&marker)).await;
    ended.over().await;
}

async fn pulling(name: &'static str, gate: Gate) {
    let Some(site) = site().await else { return };
    let registry = Stalling::start(&site.life, gate).await;
    let dockerfile = salted(&format!("FROM {}/team/base:SALT\nRUN true\n", registry.address));
    let request = site.request(&dockerfile, offline()).await;
    let ended = cancelled(name, (site, request), None, &registry.reached).await;
    registry.is_left().await;
    ended.over().await;
}

async fn uploading() {
    let Some(site) = site().await else { return };
    let request = site.request(&salted(&format!("FROM {BASE}\nCOPY . /SALT\n")), offline()).await;
    let path = request.context.path.clone();
    let file = std::fs::File::options().write(true).open(&path);
    file.and_then(|file| file.set_len(4 * GIGABYTE)).expect("a sparse file");
    let none = CancellationToken::new();
    let ended =
        cancelled("context upload", (site, request), Some(Stop::Runs("load remote build context")), &none).await;
    until("the context is closed", GONE, || !is_open(&path)).await;
    ended.over().await;
}

fn is_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").expect("proc").flatten();
    open.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link == path))
}

/// What is copied half must not be taken for the whole by the next build.
async fn copying() {
    let Some(site) = site().await else { return };
    let dockerfile = salted(&format!(
        "FROM {BASE} AS big\nRUN busybox truncate -s {GIGABYTE} /big; echo SALT\n\
         FROM {BASE}\nCOPY --from=big /big /copy\n"
    ));
    let request = site.request(&format!("{dockerfile}RUN sleep 600\n"), offline()).await;
    let none = CancellationToken::new();
    let ended = cancelled("COPY of 1 GiB", (site, request), Some(Stop::Runs("COPY --from=big")), &none).await;
    assert_eq!(ended.built.step("COPY --from=big").state, StepState::Cancelled);
    let site = ended.over().await;
    let whole = format!("{dockerfile}RUN test $(busybox stat -c %s /copy) = {GIGABYTE}\n");
    let built = site.build(&whole, offline()).await;
    built.result.as_ref().expect("the next build has the whole file");
    let copy = built.step("COPY --from=big");
    eprintln!("COPY of 1 GiB, whole: {:?}", copy.finished_at.zip(copy.started_at).map(|(end, begin)| end - begin));
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

/// In the middle of a layer: an engine of API 1.41 waits for the answer to a request that is sent whole, cancelled or not.
async fn pushing() {
    let Some(site) = site().await else { return };
    let registry = Stalling::start(&site.life, Gate::Upload).await;
    // More than the buffers of two sockets hold, however it is compressed.
    let large = salted(&format!("FROM {BASE}\nRUN busybox head -c 40000000 /dev/urandom > /SALT\n"));
    site.build(&large, offline()).await.result.expect("built");
    let (image, tag) = (site.image(), format!("b{}.1", "0".repeat(32)));
    let repository = format!("{}/team/app", registry.address);
    let (log, _lines) = mpsc::channel(100);
    let request = PushRequest { image: &image, repository: &repository, tag: &tag, login: None };
    let (clock, cancel) = (Clock::system(), registry.reached.child_token());
    let pushing = tokio::time::timeout(REACHED, site.engine.push_carrier(request, &log, &cancel));
    let (pushed, asked) = tokio::join!(pushing, async {
        cancel.cancelled().await;
        clock.monotonic()
    });
    let acknowledged = clock.monotonic().duration_since(asked);
    let failure = pushed.expect("the push comes to the registry").expect_err("cancelled");
    assert_eq!(failure.class, FailureClass::Cancelled, "{failure:?}");
    assert!(acknowledged < ACKNOWLEDGED, "{acknowledged:?}");
    registry.is_left().await;
    let gone = clock.monotonic().duration_since(asked);
    eprintln!("cancelled {:<28} acknowledged in {acknowledged:>8.1?}, gone in {gone:>8.1?}", "push");
    let lane = site.engine.lane(QUESTION_TIMEOUT).expect("a lane");
    let carrier = lane.docker().inspect_image(&format!("{repository}:{tag}")).await;
    assert!(carrier.is_err(), "the carrier tag stays on the engine: {carrier:?}");
    // The image itself goes with its attempt.
    site.engine.remove_image(&image).await.expect("removed");
    assert_eq!(site.images().await, 0);
}

/// A build that goes on until it is let go.
struct Neighbour {
    marker: String,
    dockerfile: String,
}

impl Neighbour {
    fn new() -> Self {
        let marker = random_id::<JobId>().to_string();
        let dockerfile =
            format!("FROM {BASE}\nRUN while ! test -e /go; do sleep 1; done; echo went on: {marker}\nCOPY hello /\n");
        Self { marker, dockerfile }
    }

    /// Its own folders are seen from here through one of its processes.
    fn let_go(&self) {
        let pid = process_of(&self.marker).expect("it still runs");
        std::fs::write(format!("/proc/{pid}/root/go"), "").expect("a file");
    }
}

#[tokio::test]
async fn a_build_is_cancelled_in_each_phase() {
    let Some(site) = site().await else { return };
    let neighbour = Neighbour::new();
    let phases: [LocalBoxFuture<'_, ()>; 8] = [
        Box::pin(uploading()),
        Box::pin(pulling("pull, at the manifest", Gate::Manifest)),
        Box::pin(pulling("pull, at a layer", Gate::Layer)),
        Box::pin(running("RUN sleep", "echo begun; sleep 600; : SALT")),
        Box::pin(running("RUN deaf to signals", "trap '' TERM INT HUP; sh -c \"DEAF\" & echo begun; sh -c \"DEAF\"")),
        Box::pin(running(
            "RUN with a daemon",
            "busybox setsid sh -c 'sh -c \"DEAF\" & exit 0' & wait $!; echo begun; sleep 600; : SALT",
        )),
        Box::pin(copying()),
        Box::pin(pushing()),
    ];
    let cancels = async {
        until("the neighbour runs", REACHED, || runs(&neighbour.marker)).await;
        join_all(phases).await;
        neighbour.let_go();
    };
    let (built, ()) = tokio::join!(site.build(&neighbour.dockerfile, offline()), cancels);
    built.result.as_ref().expect("the neighbour ends well");
    assert!(built.log.contains(&format!("went on: {}", neighbour.marker)), "{}", built.log);
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}
