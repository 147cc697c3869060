//! Ten thousand builders that wait: what each costs the dispatcher that keeps their sessions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::split::Split;
use crate::bench::{Row, cpu_secs, resident_mb};
use crate::env::cluster::Role;

const BUILDERS: usize = 10_000;
/// The load's own start is over by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Several heartbeats of each.
const WATCHED: Duration = Duration::from_secs(30);

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let Some(split) = Split::start(1).await? else { return Ok(None) };
    let dispatcher = split.cluster.members.iter().find(|member| member.role == Role::Dispatcher);
    let pid = dispatcher.context("a dispatcher")?.id();
    let before = resident_mb(pid)?;
    let load = split.join(BUILDERS, 2, false).await?;
    tokio::time::sleep(SETTLE).await;
    let (cpu, all, began) = (cpu_secs(pid)?, split.cpu_secs()?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let took = began.elapsed().as_secs_f64();
    let (cpu, all) = ((cpu_secs(pid)? - cpu) / took * 100.0, (split.cpu_secs()? - all) / took * 100.0);
    let each_kb = (resident_mb(pid)? - before) * 1024.0 / BUILDERS as f64;
    let open: i64 =
        sqlx::query_scalar("select count(*) from sessions where state = 'open'").fetch_one(&split.pool).await?;
    anyhow::ensure!(usize::try_from(open)? == BUILDERS, "{open} sessions are open");
    drop(load);
    Ok(Some(Row {
        figure: "10,000 idle builders on one dispatcher",
        baseline: "none".to_owned(),
        ours: format!("{each_kb:.1} KB each, {cpu:.0} % of a core (all roles {all:.0} %)"),
        ratio: "-".to_owned(),
        cpu: format!("{:.0} us per heartbeat", cpu / 100.0 / (BUILDERS as f64 / 5.0) * 1e6),
        target: "at most 32 KB each and 20 % of a core",
        reached: each_kb <= 32.0 && cpu <= 20.0,
    }))
}
