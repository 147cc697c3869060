//! Everything dies, and no build is lost or doubled. `SLIPWAY_CHAOS_SECS` and `SLIPWAY_CHAOS_SEEDS` (numbers with commas)
//! make it longer.

use std::time::Duration;

use anyhow::{Context, Result};
use slipway_tests::chaos::{Plan, run};

/// What every change is tried with.
const SECS: u64 = 90;
const SEEDS: &str = "1";

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_build_is_lost_or_doubled_whatever_dies() -> Result<()> {
    let secs = setting("SLIPWAY_CHAOS_SECS", &SECS.to_string()).parse().context("SLIPWAY_CHAOS_SECS")?;
    for seed in setting("SLIPWAY_CHAOS_SEEDS", SEEDS).split(',') {
        let seed = seed.trim().parse().context("SLIPWAY_CHAOS_SEEDS")?;
        match run(Plan { seed, lasts: Duration::from_secs(secs) }).await? {
            Some(summary) => println!("{summary}"),
            None => return Ok(()),
        }
    }
    Ok(())
}
