//! From a line's writing to a builder's spool to its arrival at viewers who follow the log: many viewers of one log, and
//! many logs with a viewer each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::Utc;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::bench::log_feed::{Feed, Feeder, Spooled, chunk};
use crate::bench::log_viewer::{Place, Sent, Viewer};
use crate::bench::split::Split;
use crate::bench::{Row, cpu_secs, forget_peak, peak_mb, shrunk, stats};
use crate::env::cluster::Role;

const FEW: usize = 1000;
const MANY: usize = 10_000;
const LOGS: usize = 1000;
/// Of one log.
const EVERY: Duration = Duration::from_millis(100);
/// Where there are many logs: together 1,000 a second.
const EVERY_OF_MANY: Duration = Duration::from_secs(1);
const WRITING: Duration = Duration::from_secs(20);
/// A viewer who hears nothing for so long gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of each chunk: one line.
const LINE_BYTES: usize = 100;
/// Viewers that connect at once.
const AT_ONCE: usize = 64;
/// Files that a process needs beside its viewers.
const SPARE_FILES: u64 = 2000;

/// One run.
struct Case {
    figure: &'static str,
    logs: usize,
    /// Fewer where the process may not open so many files.
    viewers: usize,
    bell: bool,
    every: Duration,
    target: Target,
}

struct Target {
    words: &'static str,
    p99_ms: f64,
    cores: f64,
}

/// What was seen.
struct Measured {
    viewers: usize,
    lags: Vec<f64>,
    /// Of all that should have come.
    lost: usize,
    /// CPU of the log service per second, of all roles, and of the viewers and the writers here.
    cores: f64,
    all_cores: f64,
    own_cores: f64,
    secs: f64,
    peak_mb: f64,
}

/// Measures all. Empty when a backend is missing.
pub async fn run() -> Result<Vec<Row>> {
    let files = allow_files(MANY as u64 + 4 * SPARE_FILES)?;
    let Some(split) = Split::start(1).await? else { return Ok(Vec::new()) };
    let most = usize::try_from(files.saturating_sub(SPARE_FILES))?.min(MANY);
    let cases = cases();
    let mut feeder = Feeder::join(&split, shrunk(LOGS)).await?;
    let mut rows = Vec::new();
    for case in &cases {
        let measured = measure(&split, &mut feeder, (case, case.viewers.min(most))).await.context(case.figure)?;
        rows.push(row(case, &measured));
    }
    Ok(rows)
}

fn cases() -> Vec<Case> {
    let quick = || Target { words: "p99 under 100 ms", p99_ms: 100.0, cores: f64::INFINITY };
    let many = || Target { words: "p99 under 500 ms, under 1 core of server", p99_ms: 500.0, cores: 1.0 };
    let one = |figure, viewers, bell, target| Case { figure, logs: 1, viewers, bell, every: EVERY, target };
    vec![
        one("line spooled -> 1,000 viewers of one log, text", shrunk(FEW), false, quick()),
        one("line spooled -> 1,000 viewers of one log, bell", shrunk(FEW), true, quick()),
        Case {
            figure: "line spooled -> its viewer, 1,000 logs at once",
            logs: shrunk(LOGS),
            viewers: shrunk(LOGS),
            bell: false,
            every: EVERY_OF_MANY,
            target: quick(),
        },
        one("line spooled -> 10,000 viewers of one log, text", shrunk(MANY), false, many()),
        one("line spooled -> 10,000 viewers of one log, bell", shrunk(MANY), true, many()),
    ]
}

fn row(case: &Case, measured: &Measured) -> Row {
    let ms = |p| stats::percentile(&measured.lags, p) * 1e3;
    let (p50, p99) = (ms(0.5), ms(0.99));
    let lost = if measured.lost == 0 { String::new() } else { format!(", {} events LOST", measured.lost) };
    let per_event = measured.cores * measured.secs / measured.lags.len().max(1) as f64 * 1e6;
    Row {
        figure: case.figure,
        baseline: "none".to_owned(),
        ours: format!(
            "p50 {p50:.1} ms, p99 {p99:.1} ms, max {:.0} ms{lost}; {} viewers, {} logs, of each a line every {} ms; log \
             service {:.2} cores (all roles {:.2}, viewers and writers {:.2}), {:.0} MB at most",
            ms(1.0),
            measured.viewers,
            case.logs,
            case.every.as_millis(),
            measured.cores,
            measured.all_cores,
            measured.own_cores,
            measured.peak_mb,
        ),
        ratio: "-".to_owned(),
        cpu: format!("{per_event:.1} us an event"),
        target: case.target.words,
        reached: p99 < case.target.p99_ms
            && measured.cores < case.target.cores
            && measured.lost == 0
            && measured.viewers == case.viewers,
    }
}

async fn measure(split: &Split, feeder: &mut Feeder, (case, viewer_count): (&Case, usize)) -> Result<Measured> {
    let feeds = feeder.open(split, case.logs).await?;
    let logsvc = split.id(Role::Logsvc)?;
    let address = split.url(Role::Logsvc)?.trim_start_matches("http://").to_owned();
    let place = Place { address, token: split.cluster.token().to_owned(), bell: case.bell };
    let count = usize::try_from(WRITING.as_millis() / case.every.as_millis())?;
    let dir = tempfile::tempdir()?;
    let sent: Vec<Arc<Sent>> = feeds.iter().map(|_| Arc::new(Sent::new(count, LINE_BYTES))).collect();
    let viewers: Vec<(usize, Viewer)> = stream::iter(0..viewer_count)
        .map(|number| number % feeds.len())
        .map(|log| {
            let connected = Viewer::connect(&place, feeds[log].attempt());
            async move { Ok::<_, anyhow::Error>((log, connected.await?)) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut watching = JoinSet::new();
    for (log, viewer) in viewers {
        watching.spawn(viewer.watch(Arc::clone(&sent[log]), PATIENCE));
    }
    forget_peak(logsvc)?;
    let (cpu, all_cpu, own_cpu) = (cpu_secs(logsvc)?, split.cpu_secs()?, cpu_secs(std::process::id())?);
    let began = Instant::now();
    let mut writing = JoinSet::new();
    for (number, (feed, sent)) in feeds.into_iter().zip(&sent).enumerate() {
        let spooled = feed.spooled(dir.path())?;
        // Spread over the time from one line to the next.
        let first = case.every.mul_f64(number as f64 / case.logs as f64);
        writing.spawn(write((feed, spooled), Arc::clone(sent), first, (count, case.every)));
    }
    let mut written = Vec::with_capacity(case.logs);
    while let Some(log) = writing.join_next().await {
        written.push(log??);
    }
    let mut lags = Vec::with_capacity(viewer_count * count);
    while let Some(seen) = watching.join_next().await {
        lags.extend(seen?);
    }
    let secs = began.elapsed().as_secs_f64();
    let measured = Measured {
        viewers: viewer_count,
        lost: viewer_count * count - lags.len(),
        lags,
        cores: (cpu_secs(logsvc)? - cpu) / secs,
        all_cores: (split.cpu_secs()? - all_cpu) / secs,
        own_cores: (cpu_secs(std::process::id())? - own_cpu) / secs,
        secs,
        peak_mb: peak_mb(logsvc)?,
    };
    finish(written).await?;
    Ok(measured)
}

/// Ends all logs, so that nothing of this run is left in the next one.
async fn finish(written: Vec<(Feed, Spooled)>) -> Result<()> {
    let end = |(feed, spooled): (Feed, Spooled)| async move { feed.finish(spooled.end().await?).await };
    stream::iter(written).map(end).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
}

/// Writes a line now and then.
async fn write(
    (feed, spooled): (Feed, Spooled),
    sent: Arc<Sent>,
    first: Duration,
    (count, every): (usize, Duration),
) -> Result<(Feed, Spooled)> {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..count {
        ticks.tick().await;
        let now = Utc::now();
        let line = format!("{} line {number} ", now.to_rfc3339());
        let line = format!("{line:.<width$}\n", width = LINE_BYTES - 1);
        let chunk = chunk(number * LINE_BYTES, Bytes::from(line), now)?;
        sent.sends(number);
        spooled.shelf.append(&chunk)?;
    }
    Ok((feed, spooled))
}

/// Lets this process and those that it starts open so many files, or as many as it may; how many.
fn allow_files(wanted: u64) -> Result<u64> {
    let known = getrlimit(Resource::Nofile);
    if known.current.is_none_or(|current| current >= wanted) {
        return Ok(wanted);
    }
    let maximum = known.maximum.filter(|maximum| *maximum < wanted);
    // Only root may ask for more than it was given, and not everywhere.
    let more = Rlimit { current: Some(wanted), maximum: Some(known.maximum.map_or(wanted, |most| most.max(wanted))) };
    if setrlimit(Resource::Nofile, more).is_ok() {
        return Ok(wanted);
    }
    setrlimit(Resource::Nofile, Rlimit { current: known.maximum, maximum: known.maximum }).context("allowing files")?;
    let allowed = maximum.unwrap_or(wanted);
    ensure!(allowed > SPARE_FILES, "only {allowed} files may be open");
    Ok(allowed)
}
