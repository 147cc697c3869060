//! How fast the log service makes logs durable, one log and 1,000 at once, against `zstd -1` on one core over the same
//! bytes. The chunks are packed beforehand, as builders pack them: a spool that is fed directly.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::Utc;
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::LogEnd;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::bench::log_feed::{BATCH_BYTES, Feed, Feeder, chunk};
use crate::bench::log_text::Text;
use crate::bench::split::Split;
use crate::bench::{Row, cpu_secs, forget_peak, peak_mb, shrunk, stats};
use crate::env::cluster::Role;
use crate::env::host;

const ROUNDS: usize = 5;
const BYTES: usize = 256 << 20;
/// That many bytes are divided among so many logs.
const LOGS: usize = 1000;
/// Where many logs grow at once, none sends all of its own in one request.
const SMALL_BYTES: usize = 64 << 10;

/// What one log is made of.
struct Load {
    chunks: Vec<Bytes>,
    end: LogEnd,
}

/// Figures of all rounds.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    cpu_secs: f64,
    peak_mb: f64,
}

/// Measures both. Empty when a backend is missing.
pub async fn run() -> Result<Vec<Row>> {
    let Some(split) = Split::start(1).await? else { return Ok(Vec::new()) };
    let count = shrunk(LOGS);
    let mut feeder = Feeder::join(&split, count + 1).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("log");
    let text = Bytes::from(Text::new(2, 500_009).piece(shrunk(BYTES)));
    fs::write(&file, &text)?;
    let whole = load(&text, BATCH_BYTES)?;
    let parts: Vec<Load> = text
        .chunks(text.len().div_ceil(count))
        .map(|part| load(&text.slice_ref(part), SMALL_BYTES))
        .collect::<Result<_>>()?;
    let (mut theirs, mut one, mut many) = (Vec::new(), Rounds::default(), Rounds::default());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            theirs.push(zstd(&file, text.len()).await?);
        }
        feed(&split, &mut feeder, &[&whole], &mut one).await?;
        feed(&split, &mut feeder, &parts.iter().collect::<Vec<_>>(), &mut many).await?;
        if round % 2 == 1 {
            theirs.push(zstd(&file, text.len()).await?);
        }
    }
    let size = text.len() as f64 / 1e6;
    let each = size * 1e3 / parts.len() as f64;
    Ok(vec![
        row("ingest of one log, fed directly -> durable", format!("of {size:.0} MB"), size, (&one, &theirs)),
        row(
            "ingest of 1,000 logs at once -> durable, in sum",
            format!("of {} logs of {each:.0} KB", parts.len()),
            size,
            (&many, &theirs),
        ),
    ])
}

fn row(figure: &'static str, what: String, megabytes: f64, (ours, theirs): (&Rounds, &[f64])) -> Row {
    let ratios: Vec<f64> = ours.rates.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    let cpu = ours.cpu_secs / ROUNDS as f64 / megabytes * 1e3;
    Row {
        figure,
        baseline: format!("{:.0} MB/s (zstd -1 -T1)", stats::median(theirs)),
        ours: format!("{:.0} MB/s {what}, log service {:.0} MB at most", stats::median(&ours.rates), ours.peak_mb),
        ratio: stats::shown(&ratios),
        cpu: format!("{cpu:.1} s a GB"),
        target: "at least 0.5x",
        reached: stats::median(&ratios) >= 0.5,
    }
}

fn load(bytes: &Bytes, each: usize) -> Result<Load> {
    let mut chunks = Vec::new();
    for part in bytes.chunks(each) {
        chunks.push(chunk(chunks.len() * each, bytes.slice_ref(part), Utc::now())?.pack());
    }
    Ok(Load { chunks, end: LogEnd { end: i64::try_from(bytes.len())?, sha256: hex::encode(Sha256::digest(bytes)) } })
}

/// Feeds a new log with each of these, all at once, until the last one is durable.
async fn feed(split: &Split, feeder: &mut Feeder, loads: &[&Load], rounds: &mut Rounds) -> Result<()> {
    let logsvc = split.id(Role::Logsvc)?;
    let feeds = feeder.open(split, loads.len()).await?;
    let mut running = JoinSet::new();
    forget_peak(logsvc)?;
    let (began, cpu) = (Instant::now(), cpu_secs(logsvc)?);
    for (feed, load) in feeds.into_iter().zip(loads) {
        running.spawn(feed_one(feed, load.chunks.clone(), load.end.clone()));
    }
    let mut fed = Vec::new();
    while let Some(one) = running.join_next().await {
        fed.push(one??);
    }
    let took = began.elapsed().as_secs_f64();
    rounds.cpu_secs += cpu_secs(logsvc)? - cpu;
    rounds.peak_mb = rounds.peak_mb.max(peak_mb(logsvc)?);
    let bytes: i64 = loads.iter().map(|load| load.end.end).sum();
    rounds.rates.push(bytes as f64 / 1e6 / took);
    // Their places are needed for the next round.
    for (feed, end) in fed {
        feed.finish(end).await?;
    }
    Ok(())
}

async fn feed_one(feed: Feed, chunks: Vec<Bytes>, end: LogEnd) -> Result<(Feed, LogEnd)> {
    for chunk in chunks {
        feed.append(chunk).await?;
    }
    feed.end(&end).await?;
    Ok((feed, end))
}

/// MB a second.
async fn zstd(file: &Path, bytes: usize) -> Result<f64> {
    let mut command = Command::new(host::need("zstd", "zstd")?);
    command.args(["-q", "-1", "-T1", "-c"]).arg(file).stdout(Stdio::null()).kill_on_drop(true);
    let began = Instant::now();
    ensure!(command.status().await.context("starting zstd")?.success(), "zstd failed");
    Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}
