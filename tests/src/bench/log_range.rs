//! A window of 100 lines at a random place of a sealed log, as the viewer asks for it when somebody jumps there.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use slipway_runtime::ids::random_bytes;
use url::Url;

use crate::bench::object_reads::ObjectReads;
use crate::bench::sealed_log::SealedLog;
use crate::bench::{Row, cpu_secs, stats};
use crate::env::cluster::Role;

const WINDOWS: usize = 500;
/// So many again over a way to the object store that counts.
const COUNTED: usize = 100;
const LINES: u64 = 100;

/// Measures. The log service is started anew on the way; nothing of the log is read through it afterwards.
pub async fn run(log: &mut SealedLog) -> Result<Row> {
    let logsvc = log.split.id(Role::Logsvc)?;
    // The first ones are not counted.
    for _ in 0..10 {
        window(log).await?;
    }
    let cpu = cpu_secs(logsvc)?;
    let mut took = Vec::with_capacity(WINDOWS);
    for _ in 0..WINDOWS {
        let began = Instant::now();
        window(log).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let cpu_ms = (cpu_secs(logsvc)? - cpu) / WINDOWS as f64 * 1e3;
    let reads = reads(log).await?;
    let most = reads.iter().max().copied().unwrap_or(0);
    let mean = reads.iter().sum::<u64>() as f64 / reads.len() as f64;
    let (p50, p99) = (stats::median(&took), stats::percentile(&took, 0.99));
    Ok(Row {
        figure: "100 lines at any place of a sealed log of 1 GB",
        baseline: "none".to_owned(),
        ours: format!(
            "p50 {p50:.1} ms, p99 {p99:.1} ms of {:.0} MB, {mean:.2} object reads, {most} at most",
            log.megabytes()
        ),
        ratio: "-".to_owned(),
        cpu: format!("{cpu_ms:.1} ms"),
        target: "p99 under 30 ms, at most 2 object reads",
        reached: p99 < 30.0 && most <= 2,
    })
}

/// How many objects are read for each window.
async fn reads(log: &mut SealedLog) -> Result<Vec<u64>> {
    let url = Url::parse(&log.split.backends.blob_url)?;
    let endpoint = url.query_pairs().find(|(key, _)| key == "endpoint").context("the object store's address")?.1;
    let store = Url::parse(&endpoint)?;
    let host = store.host_str().context("the object store's host")?;
    let way = ObjectReads::start(format!("{host}:{}", store.port_or_known_default().context("its port")?)).await?;
    let through = log.split.backends.blob_url.replace(endpoint.as_ref(), &format!("http://{}", way.address()));
    let at = *log.split.cluster.of(Role::Logsvc).first().context("a log service")?;
    let member = &mut log.split.cluster.members[at];
    member.start_again(&[("SLIPWAY_BLOB_URL".to_owned(), through)])?;
    member.ready().await?;
    window(log).await?;
    let mut reads = Vec::with_capacity(COUNTED);
    for _ in 0..COUNTED {
        let before = way.count();
        window(log).await?;
        reads.push(way.count() - before);
    }
    ensure!(reads.iter().any(|reads| *reads > 0), "no object was seen to be read");
    Ok(reads)
}

/// One window, anywhere.
async fn window(log: &SealedLog) -> Result<()> {
    let from = u64::from_be_bytes(random_bytes()) % log.lines.saturating_sub(LINES).max(1) + 1;
    let body = log.body(&format!("/lines?from={from}&count={LINES}&runs=1")).await?;
    let lines = memchr::memmem::find_iter(&body, b"\"line\":").count() as u64;
    ensure!(lines == LINES.min(log.lines), "from line {from} came {lines} lines");
    Ok(())
}
