//! `slipway hook inspect`: what Slipway makes of a stored delivery, without a server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::ForgeKind;
use slipway_forges::headers::from_map;
use slipway_forges::hook::Received;
use slipway_forges::inspect::{Exit as Verdict, inspect};

use crate::client::Setting;
use crate::client::exit::{Exit, Failed};
use crate::client::screen::Screen;

#[derive(Debug, clap::Subcommand)]
pub enum HookCommand {
    /// Verify and read a delivery; prints one JSON object
    Inspect(InspectArgs),
}

#[derive(clap::Args)]
pub struct InspectArgs {
    /// The forge that sent it: github, gitlab, bitbucket, bitbucket_dc, gitea, gitee or coding
    #[arg(long)]
    forge: ForgeKind,
    /// File with the headers, one flat JSON object of names and values
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// File with the body, byte for byte as it came
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Secret of the hook, may be repeated; without one nothing is verified
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,
    /// Time at which it came in, RFC 3339; now unless given
    #[arg(long, value_name = "TIME", value_parser = rfc3339)]
    at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for InspectArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InspectArgs").field("forge", &self.forge).finish_non_exhaustive()
    }
}

/// Prints the verdict; the exit code says it as well.
pub fn run(command: HookCommand, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let HookCommand::Inspect(args) = command;
    let headers = headers(&args.headers)?;
    let body = file(&args.body)?;
    let received = Received { kind: args.forge, headers: &headers, body: &body };
    let inspection = inspect(&received, &args.secrets, args.at.unwrap_or_else(|| setting.clock.now()));
    screen.object(&inspection)?;
    Ok(match inspection.exit {
        Verdict::Fine => Exit::Fine,
        Verdict::Malformed => Exit::Usage,
        Verdict::NotVerified => Exit::NotAuthorised,
    })
}

fn headers(path: &Path) -> Result<HeaderMap, Failed> {
    let bad = |why: String| Failed::usage(format!("--headers {}: {why}.", path.display()));
    let map: BTreeMap<String, String> = serde_json::from_slice(&file(path)?).map_err(|error| {
        bad(format!("it must be one JSON object of header names and texts, {{\"X-GitHub-Event\": \"push\"}} ({error})"))
    })?;
    from_map(&map).map_err(bad)
}

fn file(path: &Path) -> Result<Vec<u8>, Failed> {
    fs::read(path).map_err(|error| Failed::usage(format!("{} cannot be read: {error}.", path.display())))
}

fn rfc3339(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .map_err(|error| format!("{error}; write it as 2026-01-31T12:00:00Z"))
}
