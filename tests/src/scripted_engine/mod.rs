//! An engine that executes nothing: it speaks as much of the Docker Engine API and BuildKit on a unix socket as a builder uses,
//! and does what the Dockerfile's comments say, so that chaos runs and load need no containers. Images are small
//! and really pushed. `GET /_scripted/state` tells what it did ([`Told`]).
//!
//! A line `# script: …` belongs to the FROM, RUN, COPY, ADD or WORKDIR below it (the last one, when none follows):
//!
//! * `log 2000` writes that many lines ([`log_lines`]); `log 2000 over 3s` takes its time
//! * `output 2000` writes that many longer ones as compilers and tests do, with colours
//! * `say ::group::Install` writes that line; `\e` and `\r` in it are the control characters
//! * `move 80100000 over 3s` pulls a layer of that many bytes
//! * `sleep 1500ms`, `sleep 2s`
//! * `fail exit 7` ends the step and the build with that code
//! * `infra` ends the build by a fault of the engine; `infra 2` in the first two attempts of the job only
//! * `bytes 68690a` writes just these bytes, in small pieces
//! * `steps 3` puts that many more RUN steps behind the FROM
//!
//! A Dockerfile without such a line writes 20 lines in each RUN. A build that is given up by its client stops at
//! once. Nothing is on disk: a restarted engine knows no image.

mod build;
mod control;
mod image;
mod jobs;
mod ledger;
mod output;
mod push;
mod script;
mod server;
mod sessions;
#[cfg(test)]
mod tests;
mod trace;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::env::process::{self, Process};
use crate::env::room::Room;

pub use ledger::{RunningBuild, Told};
pub use output::output_pieces;
pub use script::log_lines;
pub use server::router;

/// How long it may take to answer.
const READY: Duration = Duration::from_secs(30);
/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(10);

/// The engine as a process of its own.
#[derive(Debug)]
pub struct ScriptedEngine {
    // Stopped by its drop, before the room goes.
    process: Process,
    place: Place,
}

/// The engine inside this process; takes no more connections once it is dropped.
#[derive(Debug)]
pub struct InsideEngine {
    task: JoinHandle<()>,
    place: Place,
}

/// Where an engine listens, with a client for its control route.
#[derive(Debug)]
struct Place {
    room: Room,
    client: reqwest::Client,
}

impl ScriptedEngine {
    /// Starts an engine and waits until it answers.
    pub async fn start() -> Result<Self> {
        let place = Place::new()?;
        let mut engine = Self { process: launch(&place)?, place };
        engine.ready().await?;
        Ok(engine)
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        self.place.host()
    }

    /// What it did since it was started, and does now.
    pub async fn state(&self) -> Result<Told> {
        self.place.state().await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal, such as SIGSTOP.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Dies as by `kill -9`, with its images and counts.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same socket.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.place)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let client = self.place.client.clone();
        self.process.ready(READY, || async { Ok(client.get("http://engine/_ping").send().await.ok().map(drop)) }).await
    }
}

impl InsideEngine {
    /// Starts an engine.
    pub fn start() -> Result<Self> {
        let place = Place::new()?;
        let listener = UnixListener::bind(place.socket()).context("listening as an engine")?;
        let router = router()?;
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the scripted engine ended: {error}");
            }
        });
        Ok(Self { task, place })
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        self.place.host()
    }

    /// What it did since it was started, and does now.
    pub async fn state(&self) -> Result<Told> {
        self.place.state().await
    }
}

impl Drop for InsideEngine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Place {
    fn new() -> Result<Self> {
        let room = Room::new()?;
        let client = reqwest::Client::builder().unix_socket(socket(&room)).timeout(QUESTION).build()?;
        Ok(Self { room, client })
    }

    fn socket(&self) -> PathBuf {
        socket(&self.room)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    async fn state(&self) -> Result<Told> {
        let answer = self.client.get("http://engine/_scripted/state").send().await.context("asking the engine")?;
        answer.error_for_status()?.json().await.context("reading what the engine tells")
    }
}

fn socket(room: &Room) -> PathBuf {
    room.path().join("docker.sock")
}

fn launch(place: &Place) -> Result<Process> {
    let mut command = process::guarded(&binary()?);
    command.arg(place.socket());
    Process::start("the scripted engine", command, &place.room.path().join("engine.log"))
}

/// The program beside this one.
fn binary() -> Result<PathBuf> {
    let name = "slipway-scripted-engine";
    let here = env::current_exe().context("asking for the test program's own path")?;
    match here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("there is no {name} beside {}; run `cargo build --workspace` first", here.display()),
    }
}
