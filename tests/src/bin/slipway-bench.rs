//! `make bench`: prints the table of numbers. Run by `slipway-testenv`, which starts the shared services. With an
//! argument (such as overhead or "log lag") only that row.
//! `SLIPWAY_BENCH_SHRINK=20` divides sizes and counts of the rows of large logs, to try them.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use slipway_tests::bench::{
    Row, backlog, builder_idle, claim, context_tar, docker_build, elsewhere, git_mirror, idle, idle_builders,
    large_logs, log_chromium, log_fan_out, log_ingest, log_lag, log_memory, log_range, log_search, noop, overhead,
    pending, redis_gone, roles_idle, sealed_log::SealedLog, table, viewer_assets, webhook,
};
use slipway_tests::world::{Database, World};

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("the TLS provider could not be installed");
        return ExitCode::FAILURE;
    }
    match run().await {
        Ok((rows, failed)) => {
            println!("Commit {}\n\n{}", commit(), table(&rows));
            failed.iter().for_each(|failed| eprintln!("bench: {failed}"));
            if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What runs in one `serve`.
const IN_ONE: [&str; 6] = ["overhead", "docker build", "webhook", "claim", "log lag", "idle"];
/// What reads one large log; the last one starts its log service anew.
const SEALED: [&str; 3] = ["log search", "log memory", "log range"];
/// What runs on roles of their own, or needs none.
const SPLIT: [&str; 16] = [
    "context tar",
    "git mirror",
    "builder idle",
    "large logs",
    "log ingest",
    "log fan-out",
    "viewer assets",
    "viewer in chromium",
    "webhook postgres",
    "pending",
    "noop",
    "redis gone",
    "elsewhere",
    "idle builders",
    "roles idle",
    "backlog",
];

/// The rows, and what could not be measured.
async fn run() -> Result<(Vec<Row>, Vec<String>)> {
    let only = std::env::args().nth(1);
    let wanted = |name: &&str| only.as_deref().is_none_or(|only| only == *name);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    if IN_ONE.iter().any(wanted) {
        let world = World::start(Database::Sqlite).await?.context("the bench needs an engine and a registry")?;
        for name in IN_ONE.iter().filter(|name| wanted(name)) {
            let one = |row: Row| vec![row];
            let measured = match *name {
                "overhead" => overhead::run(&world).await.map(one),
                "docker build" => docker_build::run(&world).await,
                "webhook" => webhook::run(&world).await.map(one),
                "claim" => claim::run(&world).await.map(one),
                "log lag" => log_lag::run(&world).await.map(one),
                _ => idle::run(&world).await.map(one),
            };
            match measured {
                Ok(measured) => rows.extend(measured),
                Err(error) => failed.push(format!("{name}: {error:#}")),
            }
        }
    }
    let sealed = match SEALED.iter().any(wanted) {
        true => SealedLog::make().await,
        false => Ok(None),
    };
    if let Err(error) = &sealed {
        failed.push(format!("a sealed log to read: {error:#}"));
    }
    if let Ok(Some(mut log)) = sealed {
        for name in SEALED.iter().filter(|name| wanted(name)) {
            let measured = match *name {
                "log search" => log_search::run(&log).await,
                "log memory" => log_memory::run(&log).await.map(|row| vec![row]),
                _ => log_range::run(&mut log).await.map(|row| vec![row]),
            };
            match measured {
                Ok(measured) => rows.extend(measured),
                Err(error) => failed.push(format!("{name}: {error:#}")),
            }
        }
    }
    for name in SPLIT.iter().filter(|name| wanted(name)) {
        let some = |row: Option<Row>| row.into_iter().collect::<Vec<_>>();
        let measured = match *name {
            "context tar" => context_tar::run().await.map(|row| vec![row]),
            "git mirror" => git_mirror::run().await.map(|row| vec![row]),
            "builder idle" => builder_idle::run().await.map(some),
            "large logs" => large_logs::run().await,
            "log ingest" => log_ingest::run().await,
            "log fan-out" => log_fan_out::run().await,
            "viewer assets" => viewer_assets::run().await.map(|row| vec![row]),
            "viewer in chromium" => log_chromium::run().await,
            "webhook postgres" => webhook::on_postgres().await.map(some),
            "pending" => pending::run().await.map(some),
            "noop" => noop::run().await.map(some),
            "redis gone" => redis_gone::run().await.map(some),
            "elsewhere" => elsewhere::run().await,
            "idle builders" => idle_builders::run().await.map(some),
            "roles idle" => roles_idle::run().await.map(some),
            _ => backlog::run().await.map(some),
        };
        match measured {
            Ok(measured) => rows.extend(measured),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    Ok((rows, failed))
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
