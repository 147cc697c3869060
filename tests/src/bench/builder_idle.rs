//! `slipway builder`, joined and with nothing to do: what it costs the host that it waits on.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::split::Split;
use crate::bench::{Row, cpu_secs, ended_children_cpu_secs, resident_mb};
use crate::env::services::{ENGINE, shared};

/// Joining and the first rounds of its loops are over by then.
const SETTLE: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(60);

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let (Some(split), Some(engine)) = (Split::start(1).await?, shared(ENGINE)?) else { return Ok(None) };
    let builder = split.builder("idle", engine).await?;
    tokio::time::sleep(SETTLE).await;
    let pid = builder.id();
    // What it starts and waits for is its cost too.
    let used = || anyhow::Ok(cpu_secs(pid)? + ended_children_cpu_secs(pid)?);
    let (before, began) = (used()?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let percent = (used()? - before) / began.elapsed().as_secs_f64() * 100.0;
    let open: i64 =
        sqlx::query_scalar("select count(*) from sessions where state = 'open'").fetch_one(&split.pool).await?;
    anyhow::ensure!(open == 1, "{open} sessions are open\n{}", builder.log_tail());
    let resident = resident_mb(pid)?;
    Ok(Some(Row {
        figure: "a builder, idle",
        baseline: "none".to_owned(),
        ours: format!("{resident:.1} MB resident, {percent:.2} % of a core"),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "under 25 MB, under 0.2 % of a core",
        reached: resident < 25.0 && percent < 0.2,
    }))
}
