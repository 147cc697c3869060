//! The one binary `slipway`: `serve` with every role in one process, single roles, and the client.

mod args;
mod client;
mod control;
mod files;
mod gate;
mod listen;
mod notify;
mod remote_builder;
mod roles;
mod serve;
mod sign_ins;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use slipway_runtime::config::Config;

use crate::args::{Cli, Command, ConfigCommand};
use crate::roles::Role;

/// Exit code of a wrong call or a wrong configuration.
const USAGE: u8 = 2;
/// Exit code of a service that failed.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    // Some crates bring no provider of their own; without this the first TLS connection would panic.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("slipway: the TLS provider could not be installed");
        return ExitCode::from(FAILED);
    }
    slipway_runtime::crash::arm_from_environment();
    let matches = args::with_setting_flags(Cli::command()).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slipway: cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    runtime.block_on(run(cli, &matches))
}

async fn run(cli: Cli, matches: &clap::ArgMatches) -> ExitCode {
    match cli.command {
        Command::Serve => with_config(matches, serve::run).await,
        Command::Api => role(Role::Api, matches).await,
        Command::Scheduler => role(Role::Scheduler, matches).await,
        Command::Dispatcher => role(Role::Dispatcher, matches).await,
        Command::Logsvc => role(Role::Logsvc, matches).await,
        Command::Builder => with_config(matches, remote_builder::run).await,
        Command::Config { command: ConfigCommand::Check } => args::check(matches, cli.client.json),
        Command::Client(command) => client::run(command, &cli.client).await,
    }
}

async fn role(role: Role, matches: &clap::ArgMatches) -> ExitCode {
    match args::config(matches).and_then(|config| role.check(&config).map(|()| config)) {
        Ok(config) => service(roles::run(role, config)).await,
        Err(error) => misconfigured(&error),
    }
}

async fn with_config<F>(matches: &clap::ArgMatches, run: impl FnOnce(Config) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    match args::config(matches) {
        Ok(config) => service(run(config)).await,
        Err(error) => misconfigured(&error),
    }
}

fn misconfigured(error: &anyhow::Error) -> ExitCode {
    eprintln!("slipway: {error:#}");
    ExitCode::from(USAGE)
}

async fn service(running: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    slipway_runtime::telemetry::init();
    let ended = tokio::select! {
        ended = running => ended,
        never = notify::watchdog() => match never {},
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipway: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
