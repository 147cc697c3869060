//! The command line: every setting of `runtime::config` is a flag of the commands that run a role.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Parser, Subcommand};
use slipway_runtime::config::{Config, RawConfig, SETTINGS, Setting};

use crate::client::{ClientArgs, ClientCommand};

/// Turns a Git push into a tested, pushed container image, and shows the log while it happens.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where the service is, for the client commands.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: API, scheduler, dispatcher, logs and a local builder
    Serve,
    /// Run only the API: hooks, REST, pages, commit statuses
    Api,
    /// Run only the scheduler; of several, one leads
    Scheduler,
    /// Run only the dispatcher, which builders connect to
    Dispatcher,
    /// Run only the log service
    Logsvc,
    /// Run a builder that joins a control plane elsewhere
    Builder,
    /// Look at the configuration
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    #[command(flatten)]
    Client(ClientCommand),
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every setting and print what is in force, secrets masked
    Check,
}

/// The commands that take settings as flags.
const WITH_SETTINGS: &[&str] = &["serve", "api", "scheduler", "dispatcher", "logsvc", "builder"];

/// Adds a flag per setting to the commands that run a role and to `config check`.
pub fn with_setting_flags(command: clap::Command) -> clap::Command {
    let command = WITH_SETTINGS.iter().fold(command, |command, name| command.mut_subcommand(name, add_flags));
    command.mut_subcommand("config", |config| config.mut_subcommand("check", add_flags))
}

/// The settings of the command that was called, parsed.
pub fn config(matches: &ArgMatches) -> anyhow::Result<Config> {
    Ok(Config::parse(&raw(matches)?)?)
}

/// `slipway config check`
pub fn check(matches: &ArgMatches, json: bool) -> ExitCode {
    let checked = raw(matches).and_then(|raw| {
        Config::parse(&raw)?;
        Ok(raw)
    });
    match checked {
        Ok(raw) if json => {
            let settings: Vec<_> = raw
                .masked()
                .into_iter()
                .map(|(key, value, source)| serde_json::json!({"key": key, "value": value, "source": source}))
                .collect();
            println!("{}", serde_json::json!({ "settings": settings }));
            ExitCode::SUCCESS
        }
        Ok(raw) => {
            for (key, value, source) in raw.masked() {
                println!("{key} = {value:?}  # {source}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("slipway: {error:#}");
            ExitCode::from(crate::USAGE)
        }
    }
}

fn raw(matches: &ArgMatches) -> anyhow::Result<RawConfig> {
    let matches = innermost(matches);
    let flags: Vec<(String, String)> = SETTINGS
        .iter()
        .filter(|setting| !setting.secret && matches.value_source(setting.key) == Some(ValueSource::CommandLine))
        .filter_map(|setting| Some((setting.key.to_owned(), matches.get_one::<String>(setting.key)?.clone())))
        .collect();
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let file = matches.get_one::<PathBuf>("config").cloned();
    Ok(RawConfig::collect(&flags, &environment, file.as_deref())?)
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

fn add_flags(command: clap::Command) -> clap::Command {
    let file = Arg::new("config")
        .long("config")
        .env("SLIPWAY_CONFIG")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("TOML file with settings");
    // Secrets have no flag: an argument can be read by every user of the machine.
    SETTINGS
        .iter()
        .filter(|setting| !setting.secret)
        .fold(command.arg(file), |command, setting| command.arg(flag(setting)))
}

fn flag(setting: &'static Setting) -> Arg {
    let default = if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    Arg::new(setting.key).long(setting.key.replace('_', "-")).value_name("VALUE").help(format!(
        "{}{default} [env: SLIPWAY_{}]",
        setting.help,
        setting.key.to_uppercase()
    ))
}
