//! `slipway builder`, the real binary, as a child process that can be killed.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::net_host::NetHost;
use super::process::{self, Process};
use super::room::Room;
use super::slipway::{FETCH_ALLOW, binary_of};

/// How long it may take to leave.
const LEAVES: Duration = Duration::from_secs(60);

/// How much of its log is shown with a failed test.
const SHOWN_LINES: usize = 80;

/// How a builder joins.
#[derive(Debug, Clone)]
pub struct Joining {
    /// The control plane's listener for builders.
    pub server_url: String,
    /// By which it joins.
    pub token: String,
    /// The Docker engine.
    pub engine: String,
    /// Its name for people.
    pub name: String,
    /// More variables; a later one wins, and `SLIPWAY_BIN` names another binary.
    pub variables: Vec<(String, String)>,
}

/// A running builder with a data folder of its own and one slot.
#[derive(Debug)]
pub struct RemoteBuilder {
    process: Process,
    room: Room,
    /// Shows its log when it is dropped; for programs whose output nobody captures, not.
    pub shows_log: bool,
}

impl RemoteBuilder {
    /// Starts it; whether it has joined, the control plane says.
    pub fn start(joining: &Joining) -> Result<Self> {
        Self::run(joining, process::guarded(&binary_of(&joining.variables)?))
    }

    /// The same, on a host of its own.
    pub fn start_on(host: &NetHost, joining: &Joining) -> Result<Self> {
        Self::run(joining, host.command(&binary_of(&joining.variables)?))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Starts it again on its data, on the same host; the older process dies.
    pub fn start_again(&mut self, host: Option<&NetHost>, joining: &Joining) -> Result<()> {
        self.process.kill();
        let program = binary_of(&joining.variables)?;
        let command = host.map_or_else(|| process::guarded(&program), |host| host.command(&program));
        self.process = launch(&self.room, joining, command)?;
        Ok(())
    }

    fn run(joining: &Joining, command: Command) -> Result<Self> {
        let room = Room::new()?;
        let process = launch(&room, joining, command)?;
        Ok(Self { process, room, shows_log: true })
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.process.exited()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
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
        self.process.wait(LEAVES).await
    }

    /// The end of its output.
    pub fn log_tail(&self) -> String {
        process::tail(&self.room.path().join("builder.log"), SHOWN_LINES)
    }
}

fn launch(room: &Room, joining: &Joining, mut command: Command) -> Result<Process> {
    command.arg("builder").arg("--data-dir").arg(room.path().join("data"));
    command.env("HOME", room.path()).env("TMPDIR", room.path()).env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
    command.env("DOCKER_HOST", &joining.engine).env("SLIPWAY_FETCH_ALLOW", FETCH_ALLOW);
    command.env("SLIPWAY_SERVER_URL", &joining.server_url).env("SLIPWAY_JOIN_TOKEN", &joining.token);
    command.env("SLIPWAY_BUILDER_NAME", &joining.name).env("SLIPWAY_SLOTS", "1").env("SLIPWAY_CACHE_HIGH", "100");
    command.envs(joining.variables.iter().map(|(name, value)| (name, value))).env_remove("SLIPWAY_BIN");
    Process::start("slipway builder", command, &room.path().join("builder.log"))
}

impl Drop for RemoteBuilder {
    fn drop(&mut self) {
        // The test harness shows this only when the test failed.
        if self.shows_log {
            eprintln!("--- a builder ---\n{}\n---", self.log_tail());
        }
    }
}
