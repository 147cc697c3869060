//! Slipway itself, the real binary, as a child process that can be killed and started again on its data.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use slipway_runtime::ids::new_token;

use super::disk::Disk;
use super::host;
use super::process::{self, Process};
use super::room::Room;
use crate::api::Api;

/// How long `serve` may take to be ready; recovery after a kill included.
const READY: Duration = Duration::from_secs(60);

/// How long `serve` may drain after SIGTERM before a test gives up.
const DRAIN: Duration = Duration::from_secs(60);

/// How often another port is tried when somebody else took it first.
const TRIES: u32 = 3;

/// How much of its log is shown with a failed test.
const SHOWN_LINES: usize = 150;

/// Hosts of a test's forges and registries.
pub(super) const FETCH_ALLOW: &str = "127.0.0.0/8,localhost";

/// How a Slipway is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The database; SQLite in the data folder unless set.
    pub database_url: Option<String>,
    /// The Docker engine.
    pub engine: String,
    /// More variables; a later one wins.
    pub variables: Vec<(String, String)>,
    /// A folder of its data folder that lies on a small disk of its own; an empty path is the data folder itself.
    pub small_disk: Option<PathBuf>,
}

/// A running `slipway serve`.
#[derive(Debug)]
pub struct Slipway {
    process: Process,
    disk: Option<Disk>,
    room: Room,
    settings: Settings,
    port: u16,
    token: String,
    shows_log: bool,
}

impl Slipway {
    /// Starts the service with an empty data folder and waits until it is ready.
    pub async fn start(settings: Settings) -> Result<Self> {
        let mut result = Self::try_start(settings.clone()).await;
        for _ in 1..TRIES {
            // Only a port that was taken in between is worth another try.
            if !matches!(&result, Err(error) if format!("{error:#}").to_lowercase().contains("in use")) {
                break;
            }
            result = Self::try_start(settings.clone()).await;
        }
        result
    }

    /// Does not print the log's end on drop; for programs whose output nobody captures.
    pub fn quiet(mut self) -> Self {
        self.shows_log = false;
        self
    }

    /// `http://127.0.0.1:port`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The bootstrap token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A client with the bootstrap token.
    pub fn api(&self) -> Api {
        Api::new(&self.base_url(), Some(&self.token))
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.room.path().join("data")
    }

    /// The small disk, if it was started on one.
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("this Slipway has no small disk")
    }

    /// Its database, unless that is a file in the data folder.
    pub fn database_url(&self) -> Option<&str> {
        self.settings.database_url.as_deref()
    }

    /// Where its output goes.
    pub fn log(&self) -> PathBuf {
        self.room.path().join("slipway.log")
    }

    /// The end of its output.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log(), SHOWN_LINES)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A client command of the same binary, pointed at this service.
    pub fn client(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = process::guarded(&binary()?);
        command.env("HOME", self.room.path()).env("SLIPWAY_SERVER_URL", self.base_url());
        command.env("SLIPWAY_TOKEN", &self.token).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Dies as by `kill -9`, with everything it started.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop, without waiting.
    pub fn sigterm(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Waits until it has stopped by itself.
    pub async fn stopped(&mut self) -> Result<ExitStatus> {
        self.process.wait(DRAIN).await
    }

    /// Starts it again on the same data and port, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_with(Vec::new()).await
    }

    /// The same, with variables that replace those of the first start.
    pub async fn restart_with(&mut self, variables: Vec<(String, String)>) -> Result<()> {
        self.process.kill();
        self.settings.variables.extend(variables);
        self.process = launch(&self.room, &self.settings, self.port, &self.token)?;
        self.ready().await
    }

    async fn try_start(settings: Settings) -> Result<Self> {
        let room = Room::new()?;
        let small_disk = settings.small_disk.as_ref().map(|folder| Disk::mount(&data_dir(&room).join(folder)));
        let disk = small_disk.transpose()?;
        let (port, token) = (host::free_port()?, new_token("slw"));
        let process = launch(&room, &settings, port, &token)?;
        let mut slipway = Self { process, disk, room, settings, port, token, shows_log: true };
        slipway.ready().await?;
        Ok(slipway)
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.base_url());
        let client = reqwest::Client::new();
        let check = || async {
            let answer = client.get(&url).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        };
        self.process.ready(READY, check).await
    }
}

impl Drop for Slipway {
    fn drop(&mut self) {
        // The test harness shows this only when the test failed.
        if self.shows_log {
            eprintln!("--- {} ---\n{}\n---", self.log().display(), self.log_tail());
        }
    }
}

/// The binary that was built with these tests, or the one that `SLIPWAY_BIN` names.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SLIPWAY_BIN") {
        return Ok(PathBuf::from(path));
    }
    let here = env::current_exe().context("asking for the test program's own path")?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("slipway")).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("there is no slipway binary beside {}; run `cargo build --workspace` first", here.display()),
    }
}

/// The binary that `SLIPWAY_BIN` among these variables names, or else [`binary`].
pub fn binary_of(variables: &[(String, String)]) -> Result<PathBuf> {
    let named = variables.iter().rev().find(|(name, _)| name == "SLIPWAY_BIN");
    named.map_or_else(binary, |(_, path)| Ok(PathBuf::from(path)))
}

fn launch(room: &Room, settings: &Settings, port: u16, token: &str) -> Result<Process> {
    let mut command = process::guarded(&binary()?);
    command.arg("serve").arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--data-dir").arg(data_dir(room));
    command.env("HOME", room.path()).env("TMPDIR", room.path()).env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
    // A look at the refs of every repository is one more that its server sees; the stories of it ask for looks.
    command.env("SLIPWAY_RECONCILE_SECS", "0");
    // Engines lie on whatever disk there is, and how full that is says nothing of a story.
    command.env("SLIPWAY_CACHE_HIGH", "100");
    command.env("DOCKER_HOST", &settings.engine).env("SLIPWAY_FETCH_ALLOW", FETCH_ALLOW);
    command.env("SLIPWAY_BOOTSTRAP_TOKEN", token).env("SLIPWAY_PUBLIC_URL", format!("http://127.0.0.1:{port}"));
    if let Some(url) = &settings.database_url {
        command.env("SLIPWAY_DATABASE_URL", url);
    }
    command.envs(settings.variables.iter().map(|(name, value)| (name, value)));
    Process::start("slipway serve", command, &room.path().join("slipway.log"))
}

fn data_dir(room: &Room) -> PathBuf {
    Path::new(room.path()).join("data")
}
