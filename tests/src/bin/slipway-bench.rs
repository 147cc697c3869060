//! `make bench`: prints the table of numbers. Run by `slipway-testenv`, which starts the shared services. With an
//! argument (overhead, webhook, claim, "log lag", idle) only that row.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use slipway_tests::bench::{Row, claim, idle, log_lag, noop, overhead, table, webhook};
use slipway_tests::world::{Database, World};

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("the TLS provider could not be installed");
        return ExitCode::FAILURE;
    }
    match run().await {
        Ok(rows) => {
            println!("Commit {}\n\n{}", commit(), table(&rows));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The rows, in the order of the table; the first ones run in one `serve`, the others on roles of their own.
const ROWS: [&str; 6] = ["overhead", "webhook", "claim", "log lag", "idle", "noop"];

async fn run() -> Result<Vec<Row>> {
    let only = std::env::args().nth(1);
    let wanted: Vec<&str> = ROWS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name)).collect();
    let mut rows = Vec::new();
    let mut world = None;
    for name in wanted {
        if world.is_none() && ["overhead", "webhook", "claim", "log lag", "idle"].contains(&name) {
            world = Some(World::start(Database::Sqlite).await?.context("the bench needs an engine and a registry")?);
        }
        let row = match (name, &world) {
            ("overhead", Some(world)) => overhead::run(world).await.map(Some),
            ("webhook", Some(world)) => webhook::run(world).await.map(Some),
            ("claim", Some(world)) => claim::run(world).await.map(Some),
            ("log lag", Some(world)) => log_lag::run(world).await.map(Some),
            ("idle", Some(world)) => idle::run(world).await.map(Some),
            _ => noop::run().await,
        };
        rows.extend(row.with_context(|| format!("measuring {name}"))?);
    }
    Ok(rows)
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
