//! Builders that build nothing, for the bench: in a process of their own, so that what they cost is not counted.
//!
//! `slipway-bench-load COUNT SLOTS`, with `AGENT_URL`, `LOGS_URL`, `JOIN_TOKEN` and, to take offers from the broker,
//! `BUS_URL`; with `HOLDS` they never end what they claimed. Says `joined` once all have; ends when its input does.

use std::process::ExitCode;

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt as _};
use slipway_bus::Bus;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;
use slipway_tests::bench::fake_builder::{FakeBuilder, Places};
use tokio::sync::mpsc;

/// Builders that join at once.
const AT_ONCE: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipway-bench-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &str| -> Result<i64> {
        arguments.next().and_then(|text| text.parse().ok()).with_context(|| format!("how many {what}?"))
    };
    let (count, slots) = (number("builders")?, number("slots")?);
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let places =
        Places { agent: variable("AGENT_URL")?, logs: variable("LOGS_URL")?, join_token: variable("JOIN_TOKEN")? };
    let life = Life::new();
    let bus = match std::env::var("BUS_URL") {
        Ok(url) => Some(Bus::open(&url, &life, &Clock::system())?),
        Err(_) => None,
    };
    let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let holds = std::env::var_os("HOLDS").is_some();
    let join = |_| {
        let builder = FakeBuilder::new(http.clone(), places.clone(), slots, bus.clone());
        let builder = if holds { builder.holding() } else { builder };
        let (joined, mut told) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(error) = builder.run(joined).await {
                eprintln!("fake builder: {error:#}");
            }
        });
        async move { told.recv().await.context("a builder could not join") }
    };
    let joined: Vec<Result<()>> = stream::iter(0..count).map(join).buffer_unordered(AT_ONCE).collect().await;
    joined.into_iter().collect::<Result<()>>()?;
    println!("joined");
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    Ok(())
}
