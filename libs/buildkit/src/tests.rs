//! Against a real engine: run them by `slipway-testenv`, which names it in `TEST_DOCKER_HOST` and has put the base
//! image into it. Tests that measure run alone; all others may run beside each other.

mod buildkitd;
mod builds;
mod endings;
mod leavings;
mod proxy;

use std::path::PathBuf;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex};
use slipway_domain::spec::NetworkMode;
use slipway_runtime::ids::random_bytes;
use slipway_runtime::lifecycle::Life;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use tokio_util::sync::CancellationToken;

use crate::client::BuildKit;
use crate::endpoint::Endpoint;
use crate::error::{Said, SolveError};
use crate::socket::Address;
use crate::solve::{Export, Solve, Solved};

/// What `slipway-testenv` imports.
const BASE: &str = "slipway-test/base:1";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

static QUIET: RwLock<()> = RwLock::const_new(());

#[expect(dead_code, reason = "held for its drop")]
enum Turn {
    Beside(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// An engine, a folder and a word that no other test has.
struct Site {
    life: Life,
    address: Address,
    folder: tempfile::TempDir,
    salt: String,
    _turn: Turn,
}

/// What came out of a build.
struct Outcome {
    result: Result<Solved, SolveError>,
    vertices: Vec<Vertex>,
    log: Vec<u8>,
}

impl Site {
    async fn beside() -> Option<Self> {
        Self::new(Turn::Beside(QUIET.read().await))
    }

    async fn alone() -> Option<Self> {
        Self::new(Turn::Alone(QUIET.write().await))
    }

    /// `None` with a loud word where there is no engine: a laptop may have none, CI must.
    fn new(turn: Turn) -> Option<Self> {
        let Ok(host) = std::env::var("TEST_DOCKER_HOST") else {
            assert!(std::env::var_os("REQUIRE_BACKENDS").is_none(), "TEST_DOCKER_HOST is not set");
            eprintln!("SKIPPED: TEST_DOCKER_HOST is not set, so nothing was built");
            return None;
        };
        Some(Self {
            life: Life::new(),
            address: host.parse().expect("an address"),
            folder: tempfile::tempdir().expect("a folder"),
            salt: hex::encode(random_bytes::<8>()),
            _turn: turn,
        })
    }

    fn buildkit(&self) -> BuildKit {
        BuildKit::new(self.life.clone(), Endpoint::Docker(self.address.clone()))
    }

    fn docker(&self) -> bollard::Docker {
        match &self.address {
            Address::Unix(path) => {
                let path = path.to_str().expect("a path");
                bollard::Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).expect("a client")
            }
            Address::Tcp(host) => {
                bollard::Docker::connect_with_http(host, 60, bollard::API_DEFAULT_VERSION).expect("a client")
            }
        }
    }

    fn image(&self) -> String {
        format!("slipway-test/buildkit:{}", self.salt)
    }

    fn written(&self, dockerfile: &str) -> String {
        dockerfile.replace("BASE", BASE).replace("SALT", &self.salt)
    }

    /// A context with this Dockerfile, in which BASE and SALT are replaced.
    fn context(&self, dockerfile: &str) -> PathBuf {
        let text = self.written(dockerfile);
        let path = self.folder.path().join("context.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&path).expect("a file"));
        for (name, content) in [("Dockerfile", text.as_str()), ("hello", "hello\n")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(1);
            tar.append_data(&mut header, name, content.as_bytes()).expect("a tar");
        }
        tar.finish().expect("a tar");
        path
    }

    /// Steps have no network, so that the engine needs none either.
    fn request(&self, dockerfile: &str) -> Solve {
        let scratch = self.folder.path().to_owned();
        let export = Export::Image(self.image());
        Solve { network: NetworkMode::None, ..Solve::new(self.context(dockerfile), scratch, export) }
    }

    async fn build(&self, request: Solve) -> Outcome {
        self.build_by(&self.buildkit(), request, |_, _| {}).await
    }

    /// Builds; `seen` is told the log so far, and may cancel.
    async fn build_by(
        &self,
        buildkit: &BuildKit,
        request: Solve,
        mut seen: impl FnMut(&Outcome, &CancellationToken),
    ) -> Outcome {
        let (reader, mut messages) = mpsc::channel::<StatusResponse>(4);
        let cancel = CancellationToken::new();
        let mut outcome = Outcome { result: Err(SolveError::Cancelled), vertices: Vec::new(), log: Vec::new() };
        let listen = async {
            while let Some(message) = messages.recv().await {
                outcome.take(message);
                seen(&outcome, &cancel);
            }
        };
        let solving = tokio::time::timeout(PATIENCE * 5, buildkit.solve(request, reader, &cancel));
        let (result, ()) = tokio::join!(solving, listen);
        outcome.result = result.expect("the build ends in time");
        outcome
    }

    async fn remove_image(&self) {
        let options = None::<bollard::query_parameters::RemoveImageOptions>;
        let gone = self.docker().remove_image(&self.image(), options, None).await;
        gone.expect("removed");
    }
}

impl Outcome {
    fn take(&mut self, message: StatusResponse) {
        for vertex in message.vertexes {
            match self.vertices.iter_mut().find(|known| known.digest == vertex.digest) {
                Some(known) => *known = vertex,
                None => self.vertices.push(vertex),
            }
        }
        self.log.extend(message.logs.into_iter().flat_map(|log| log.msg));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
    }

    fn said(&self) -> &Said {
        match &self.result {
            Err(SolveError::Said(said)) => said,
            other => panic!("{other:?}"),
        }
    }

    fn step(&self, part: &str) -> &Vertex {
        let found = self.vertices.iter().find(|vertex| vertex.name.contains(part));
        found.unwrap_or_else(|| panic!("{part}: {:?}", self.vertices))
    }
}

/// True while some process of this host has the word in its command line.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    })
}

/// Waits for a condition.
async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| panic!("not within {patience:?}: {what}"));
}
