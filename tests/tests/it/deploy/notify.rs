//! What systemd hears of a process: ready when the gate opens, alive as long as it is, stopping when it is asked to.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use slipway_tests::env::process::{Process, guarded};
use slipway_tests::env::{host, slipway};
use tempfile::TempDir;

/// How long a word may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process under something that listens as systemd does.
struct Unit {
    process: Process,
    socket: UnixDatagram,
    _folder: TempDir,
}

impl Unit {
    fn start(role: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut command = guarded(&slipway::binary()?);
        command.arg(role).arg("--listen").arg(format!("127.0.0.1:{}", host::free_port()?));
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000").envs(variables.iter().copied());
        let process = Process::start(role, command, &folder.path().join("log"))?;
        Ok(Self { process, socket, _folder: folder })
    }

    /// The words until `wanted` comes, that one included.
    fn until(&self, wanted: &str) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        let mut heard: Vec<String> = Vec::new();
        while Instant::now() < end {
            let mut word = [0; 4096];
            let Ok(length) = self.socket.recv(&mut word) else { continue };
            heard.extend(String::from_utf8_lossy(&word[..length]).lines().map(str::to_owned));
            if heard.iter().any(|word| word == wanted) {
                return Ok(heard);
            }
        }
        bail!("{wanted} was not said within {PATIENCE:?}, but {heard:?}")
    }
}

#[test]
fn a_unit_is_ready_once_its_gate_is_open_and_stays_alive_to_its_end() -> Result<()> {
    let mut unit = Unit::start("serve", &[("SLIPWAY_SLOTS", "0")])?;
    let heard = unit.until("READY=1")?;
    ensure!(heard.iter().any(|word| word.starts_with("STATUS=starting")), "{heard:?}");
    for _ in 0..3 {
        unit.until("WATCHDOG=1")?;
    }
    unit.process.signal(Signal::TERM)?;
    unit.until("STOPPING=1")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(unit.process.wait(PATIENCE))?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn a_unit_that_waits_for_its_database_is_alive_and_not_ready() -> Result<()> {
    let port = host::free_port()?;
    let nobody = format!("postgres://nobody@127.0.0.1:{port}/none");
    let variables = [("SLIPWAY_DATABASE_URL", nobody.as_str()), ("SLIPWAY_LIVE_URL", "redis://127.0.0.1:1")];
    let unit = Unit::start("scheduler", &variables)?;
    for _ in 0..5 {
        let heard = unit.until("WATCHDOG=1")?;
        ensure!(!heard.iter().any(|word| word == "READY=1"), "{heard:?}");
    }
    Ok(())
}

#[test]
fn a_stopped_process_is_not_alive() -> Result<()> {
    let unit = Unit::start("serve", &[("SLIPWAY_SLOTS", "0")])?;
    unit.until("READY=1")?;
    unit.process.signal(Signal::STOP)?;
    // What it said before it was stopped is in the socket still.
    while unit.socket.recv(&mut [0; 4096]).is_ok() {}
    let mut word = [0; 4096];
    unit.socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let silence = unit.socket.recv(&mut word);
    unit.process.signal(Signal::CONT)?;
    ensure!(silence.is_err(), "a stopped process said {:?}", String::from_utf8_lossy(&word));
    unit.until("WATCHDOG=1").context("it goes on")?;
    Ok(())
}

#[test]
fn nobody_listens_and_nothing_breaks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = guarded(&slipway::binary()?);
    command.arg("serve").arg("--listen").arg(format!("127.0.0.1:{}", host::free_port()?));
    command.arg("--data-dir").arg(folder.path().join("data")).env("SLIPWAY_SLOTS", "0");
    command.env("NOTIFY_SOCKET", Path::new("/nonexistent/socket")).env("WATCHDOG_USEC", "300000");
    let mut process = Process::start("serve", command, &folder.path().join("log"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let log = folder.path().join("log");
    let ready = process
        .ready(PATIENCE, || async { Ok(slipway_tests::env::process::tail(&log, 50).contains(" ready").then_some(())) });
    runtime.block_on(ready)
}
