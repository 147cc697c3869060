//! The command line client: asks a server over its API and shows the answer. Results go to standard output,
//! messages to standard error; the exit code says how it went.

mod api;
mod builders;
mod builds;
mod cursor;
mod deliveries;
mod dockerfiles;
mod exit;
mod follow;
mod hooks;
mod login;
mod logs;
mod names;
mod pages;
mod problem;
mod progress;
mod projects;
mod screen;
mod secrets;
mod shapes;
mod span;
mod sse;
mod summary;
mod table;
mod terminal;
mod token;
mod window;

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use slipway_runtime::clock::Clock;

use crate::args::{Cli, with_setting_flags};
use crate::client::api::{Api, parse_server};
use crate::client::exit::{CODES, Exit, Failed};
use crate::client::screen::Screen;
use crate::client::token::Environment;

/// Where `slipway serve` listens unless told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// The variable that names the server.
const SERVER_VARIABLE: &str = "SLIPWAY_SERVER_URL";

/// Which server, and in what form the answer is wanted. Beside the system's certificate authorities those in the file
/// that `SLIPWAY_CA_FILE` names are believed. The token comes from `SLIPWAY_TOKEN`, from the file that
/// `SLIPWAY_TOKEN_FILE` names, or from `slipway login`; never from an argument, which everybody on the machine sees.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientArgs {
    /// Address of the Slipway server
    #[arg(long, global = true, env = SERVER_VARIABLE, default_value = DEFAULT_SERVER, value_name = "URL")]
    pub server: String,
    /// Print JSON as the API gives it, instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands that ask a server, and three that only work on files.
#[derive(Debug, clap::Subcommand)]
pub enum ClientCommand {
    /// Keep a token for a server; it is read from the terminal or from standard input
    Login,
    /// Projects: one repository each
    Projects {
        #[command(subcommand)]
        command: Option<projects::ProjectsCommand>,
    },
    /// Builds of your projects
    Builds {
        #[command(subcommand)]
        command: Option<builds::BuildsCommand>,
    },
    /// Print the log of a build or job as it is stored; -f follows it while it grows, --progress plain adds steps and
    /// times
    #[command(after_help = CODES)]
    Logs(logs::LogsArgs),
    /// Build a branch, tag or commit now
    #[command(after_help = CODES)]
    Build(builds::BuildArgs),
    /// Stop a build
    Cancel(builds::CancelArgs),
    /// Build the same commit again
    #[command(after_help = CODES)]
    Retry(builds::RetryArgs),
    /// Builders: the machines that build
    Builders {
        #[command(subcommand)]
        command: Option<builders::BuildersCommand>,
    },
    /// Deliveries: what the forges sent, and what became of it
    Deliveries {
        #[command(subcommand)]
        command: Option<deliveries::DeliveriesCommand>,
    },
    /// Secrets: what builds may read as secret mounts
    Secrets {
        #[command(subcommand)]
        command: Option<secrets::SecretsCommand>,
    },
    /// A stored request of a forge's webhook, without a server
    Hook {
        #[command(subcommand)]
        command: hooks::HookCommand,
    },
    /// A Dockerfile, without a server and without an engine
    Dockerfile {
        #[command(subcommand)]
        command: dockerfiles::DockerfileCommand,
    },
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// What a command knows beside its arguments.
pub struct Setting<'a> {
    /// Which server, and the form of the answer.
    pub connection: &'a ClientArgs,
    /// Where tokens come from.
    pub environment: Environment,
    /// Time.
    pub clock: Clock,
}

/// Runs a command of this process.
pub async fn run(command: ClientCommand, connection: &ClientArgs) -> ExitCode {
    let mut screen = Screen::of_process(connection.json);
    let setting = Setting { connection, environment: Environment::of_process(), clock: Clock::system() };
    execute(command, &setting, &mut screen).await.into()
}

/// Runs a command and tells the user what went wrong.
async fn execute(command: ClientCommand, setting: &Setting<'_>, screen: &mut Screen) -> Exit {
    match dispatch(command, setting, screen).await {
        Ok(exit) => exit,
        Err(failed) => {
            if let Failed::Said { message, .. } = &failed {
                screen.say(&format!("slipway: {message}"));
            }
            failed.exit()
        }
    }
}

async fn dispatch(command: ClientCommand, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    match command {
        ClientCommand::Login => login::run(setting, screen).await,
        ClientCommand::Hook { command } => hooks::run(command, setting, screen),
        ClientCommand::Dockerfile { command } => dockerfiles::run(command, screen).await,
        ClientCommand::Completion { shell } => completion(shell, screen),
        ClientCommand::Projects { command } => {
            projects::run(command.unwrap_or(projects::ProjectsCommand::List), &api(setting, screen)?, screen).await
        }
        ClientCommand::Builds { command } => {
            let command = command.unwrap_or_default();
            builds::run(command, &api(setting, screen)?, setting, screen).await
        }
        ClientCommand::Logs(args) => logs::run(args, &api(setting, screen)?, setting, screen).await,
        ClientCommand::Build(args) => builds::build(args, &api(setting, screen)?, setting, screen).await,
        ClientCommand::Cancel(args) => builds::cancel(args, &api(setting, screen)?, screen).await,
        ClientCommand::Retry(args) => builds::retry(args, &api(setting, screen)?, setting, screen).await,
        ClientCommand::Builders { command } => {
            let command = command.unwrap_or(builders::BuildersCommand::List);
            builders::run(command, &api(setting, screen)?, setting, screen).await
        }
        ClientCommand::Deliveries { command } => {
            let command = command.unwrap_or_default();
            deliveries::run(command, &api(setting, screen)?, setting, screen).await
        }
        ClientCommand::Secrets { command } => {
            let command = command.unwrap_or_default();
            secrets::run(command, &api(setting, screen)?, setting, screen).await
        }
    }
}

fn api(setting: &Setting<'_>, screen: &mut Screen) -> Result<Api, Failed> {
    let server = parse_server(&setting.connection.server)?;
    let token = setting.environment.token_for(&server)?;
    let api = Api::new(server, token, &setting.environment.trust()?)?;
    if api.exposes_token() {
        screen.say(&format!("slipway: your token goes to {} in clear text; use https.", api.server()));
    }
    Ok(api)
}

fn completion(shell: Shell, screen: &mut Screen) -> Result<Exit, Failed> {
    let mut command = with_setting_flags(Cli::command());
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    screen.bytes(&script)?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests;
