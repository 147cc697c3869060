//! `make bench`: prints the table of numbers. Run by `slipway-testenv`, which starts the shared services. With an
//! argument (overhead, webhook, claim, "log lag", idle) only that row.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use slipway_tests::bench::{Row, claim, idle, log_lag, overhead, table, webhook};
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

async fn run() -> Result<Vec<Row>> {
    let world = World::start(Database::Sqlite).await?.context("the bench needs an engine and a registry")?;
    let mut rows = Vec::new();
    let only = std::env::args().nth(1);
    for name in ["overhead", "webhook", "claim", "log lag", "idle"] {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let row = match name {
            "overhead" => overhead::run(&world).await,
            "webhook" => webhook::run(&world).await,
            "claim" => claim::run(&world).await,
            "log lag" => log_lag::run(&world).await,
            _ => idle::run(&world).await,
        };
        rows.push(row.with_context(|| format!("measuring {name}"))?);
    }
    Ok(rows)
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
