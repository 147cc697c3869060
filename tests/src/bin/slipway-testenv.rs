//! Runs a command with the tests' shared services around it: PostgreSQL, Redis, an S3 server, a Docker
//! engine with a base image, two registries. Everything is stopped when the command ends, fails, or somebody interrupts.
//!
//! `slipway-testenv -- cargo test --workspace`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use slipway_tests::env::services::{REQUIRED, Services, is_required};
use slipway_tests::env::{net_host, process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a shell whose command was interrupted.
const INTERRUPTED: u8 = 130;

/// One thread, the main one: the services live as long as the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("slipway-testenv: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<u8> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, rest @ ..] = words.as_slice()
        && word == net_host::FORWARD
    {
        net_host::forward_all(rest).await?;
        return Ok(0);
    }
    let mut arguments = std::env::args_os().skip(1);
    let (Some(separator), Some(program)) = (arguments.next(), arguments.next()) else {
        bail!("usage: slipway-testenv -- PROGRAM [ARGUMENT]...");
    };
    if separator != "--" {
        bail!("usage: slipway-testenv -- PROGRAM [ARGUMENT]...");
    }
    let mut stop = Stop::listen()?;
    let services = tokio::select! {
        services = Services::start() => services.context("starting the services")?,
        () = stop.asked() => return Ok(INTERRUPTED),
    };
    if let Some(missing) = services.missing() {
        if is_required() {
            bail!("{REQUIRED}=1 and components are missing:\n{missing}");
        }
        eprint!("{}", banner(&missing));
    }
    let mut command = process::guarded_here(&program);
    command.args(arguments).envs(services.variables());
    let mut child = Command::from(command).spawn().context("starting the command")?;
    let code = tokio::select! {
        status = child.wait() => u8::try_from(status?.code().unwrap_or(1)).unwrap_or(1),
        () = stop.asked() => {
            end(&mut child).await;
            INTERRUPTED
        }
    };
    if let Some(missing) = services.missing() {
        eprint!("{}", banner(&missing));
    }
    Ok(code)
}

fn banner(missing: &str) -> String {
    let line = "!".repeat(78);
    format!("{line}\nTESTS ARE SKIPPED because components are missing:\n{missing}{line}\n")
}

/// The command and what it started: a test program must not outlive its services.
async fn end(child: &mut Child) {
    if let Some(id) = child.id() {
        process::kill_group(id);
    }
    let _ = child.wait().await;
}

struct Stop {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listening to signals");
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
