//! What people get of a log of a million lines, measured in Chromium: when its first lines are there, what a jump takes,
//! whether the page stutters, what it holds; beside all bytes in one tab. And how long a line takes from a builder's
//! sending to its row in a page that follows, beside a script that reads the stream.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::{LogEnd, Report, StepReport};
use slipway_domain::attempt::StepState;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::bench::log_feed::{BATCH_BYTES, Feed, Feeder, chunk};
use crate::bench::split::Split;
use crate::bench::{Row, shrunk, stats};
use crate::env::room::Room;
use crate::env::services::{REQUIRED, is_required};
use crate::env::{host, process};
use crate::scripted_engine::output_pieces;

const LINES: usize = 1_000_000;
/// Lines of the short log before somebody follows it.
const FIRST_LINES: usize = 100;
/// Lines that are sent while somebody follows, and how often one.
const FOLLOWED: usize = 400;
const EVERY: Duration = Duration::from_millis(50);
/// How long the browser may take.
const OPENS: Duration = Duration::from_secs(120);
const FOLLOWS: Duration = Duration::from_secs(120);
const READS: Duration = Duration::from_secs(1800);

const PAINT_MS: f64 = 1000.0;
const JUMP_MS: f64 = 300.0;
const TASK_MS: f64 = 100.0;
const HEAP_MB: f64 = 150.0;
const MOST_ROWS: u64 = 600;
const LAG_MS: f64 = 100.0;

/// A log that is written step by step.
struct Written {
    feed: Feed,
    bytes: usize,
    digest: Sha256,
    began: DateTime<Utc>,
}

/// `tests/browser/bench.mjs` at work; it and its browser end on drop.
struct Script {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    _room: Room,
}

/// What it saw of a finished log.
#[derive(Debug, Deserialize)]
struct Read {
    viewer: Vec<Shown>,
    /// Until the beginning of plain text in a tab is painted.
    plain_paint_ms: Vec<f64>,
    plain: Plain,
    used: Used,
}

#[derive(Debug, Deserialize)]
struct Shown {
    /// Until the first paint of anything.
    paint_ms: f64,
    /// Until lines of the log are painted.
    row_ms: f64,
}

/// All bytes as plain text in one tab.
#[derive(Debug, Deserialize)]
struct Plain {
    /// Until the last line can be seen; the browser may not come so far.
    end_ms: Option<f64>,
    resident_mb: f64,
    peak_mb: f64,
}

/// A page that was jumped about and scrolled through in.
#[derive(Debug, Deserialize)]
struct Used {
    last_ms: f64,
    first_ms: f64,
    jumps_ms: Vec<f64>,
    /// Long tasks while scrolling.
    tasks_ms: Vec<f64>,
    /// The most row elements at any time.
    rows: u64,
    heap_mb: f64,
    /// After a collection of garbage.
    kept_mb: f64,
    nodes: f64,
    resident_mb: f64,
    peak_mb: f64,
}

/// What it saw of a log that grew.
#[derive(Debug, Deserialize)]
struct Followed {
    lags_ms: Vec<f64>,
    stream_ms: Vec<f64>,
    tasks_ms: Vec<f64>,
    rows: u64,
    /// CPU of all roles, filled in here.
    #[serde(default)]
    cpu_secs: f64,
}

/// Measures all. Empty when a backend or the browser is missing.
pub async fn run() -> Result<Vec<Row>> {
    let missing = missing();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        ensure!(!is_required(), "{REQUIRED}=1 and for the viewer in Chromium is missing: {missing}");
        eprintln!("SKIPPED: the viewer in Chromium; missing: {missing}. tests/scripts/setup.sh installs them as root.");
        return Ok(Vec::new());
    }
    let Some(split) = Split::start(1).await? else { return Ok(Vec::new()) };
    let mut feeder = Feeder::join(&split, 2).await?;
    let mut open = feeder.open(&split, 2).await?;
    let (short, long) = (open.pop().context("a log")?, open.pop().context("a log")?);

    let mut short = Written::begin(short).await?;
    short.put_lines(FIRST_LINES).await?;
    let near = follow(&split, &mut short).await.context("following a short log")?;
    short.finish().await?;

    let mut long = Written::begin(long).await?;
    let lines = shrunk(LINES);
    long.put_lines(lines).await?;
    let far = follow(&split, &mut long).await.context("following a long log")?;
    let (build, bytes) = (long.feed.build().to_string(), long.bytes);
    long.finish().await?;
    let lines = lines + FOLLOWED;
    let read: Read = Script::start(&split, &["read", &build, &lines.to_string()])?.told(READS).await?;

    let size = format!("{lines} lines, {:.0} MB", bytes as f64 / 1e6);
    Ok(vec![
        paint_row(&read, &size),
        jump_row(&read, &size),
        scroll_row(&read.used),
        memory_row(&read),
        follow_row("line sent -> row in chromium, short log", &near),
        follow_row("line sent -> row in chromium, log of a million lines", &far),
    ])
}

/// What the script needs and this host has not.
fn missing() -> Vec<&'static str> {
    let programs = [("node", "nodejs"), ("chromium", "chromium")];
    let packages = folder().join("node_modules/.package-lock.json").is_file();
    let programs = programs.into_iter().filter_map(|(name, package)| host::find(name).is_none().then_some(package));
    programs.chain((!packages).then_some("tests/browser/node_modules (npm)")).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// Sends lines that tell when, to a log that a browser follows.
async fn follow(split: &Split, log: &mut Written) -> Result<Followed> {
    let build = log.feed.build().to_string();
    let mut script = Script::start(split, &["follow", &build, &FOLLOWED.to_string()])?;
    let said = script.line(OPENS).await?;
    ensure!(said == "ready", "the browser's script said {said:?}");
    let cpu_secs = split.cpu_secs()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=FOLLOWED {
        ticks.tick().await;
        let line =
            format!("sent at {}, line {number}; of those that somebody follows\n", Utc::now().timestamp_millis());
        log.put(line.into_bytes()).await?;
    }
    let followed: Followed = script.told(FOLLOWS).await?;
    Ok(Followed { cpu_secs: split.cpu_secs()? - cpu_secs, ..followed })
}

impl Written {
    async fn begin(feed: Feed) -> Result<Self> {
        let log = Self { feed, bytes: 0, digest: Sha256::new(), began: Utc::now() };
        log.tell(StepState::Running).await?;
        Ok(log)
    }

    /// The page has the log's step from reports.
    async fn tell(&self, state: StepState) -> Result<()> {
        let step: StepReport = serde_json::from_value(json!({
            "digest": "sha256:everything",
            "number": 1,
            "name": "[2/2] RUN make everything",
            "state": state,
            "cached": false,
            "started_at": self.began,
            "finished_at": (state == StepState::Succeeded).then(Utc::now),
        }))?;
        self.feed.report(&Report { phase: None, steps: vec![step] }).await
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.digest.update(&bytes);
        let length = bytes.len();
        self.feed.append(chunk(self.bytes, Bytes::from(bytes), Utc::now())?.pack()).await?;
        self.bytes += length;
        Ok(())
    }

    async fn put_lines(&mut self, lines: usize) -> Result<()> {
        for piece in output_pieces(lines, BATCH_BYTES) {
            self.put(piece).await?;
        }
        Ok(())
    }

    async fn finish(self) -> Result<()> {
        self.tell(StepState::Succeeded).await?;
        let end = LogEnd { end: i64::try_from(self.bytes)?, sha256: hex::encode(self.digest.finalize()) };
        self.feed.end(&end).await?;
        self.feed.finish(end).await
    }
}

impl Script {
    fn start(split: &Split, words: &[&str]) -> Result<Self> {
        let room = Room::new()?;
        let mut command = process::guarded(&host::need("node", "nodejs")?);
        let (url, token) = (split.cluster.base_url(), split.cluster.token());
        let site = json!({ "url": url, "token": token, "builds": {}, "projects": {} });
        command.arg(folder().join("bench.mjs")).args(words).env("SLIPWAY_SITE", site.to_string());
        command.env("HOME", room.path()).env("TMPDIR", room.path()).stdout(Stdio::piped());
        let mut child = Command::from(command).kill_on_drop(true).spawn().context("starting node")?;
        let said = BufReader::new(child.stdout.take().context("what node says")?).lines();
        Ok(Self { child, said, _room: room })
    }

    async fn line(&mut self, patience: Duration) -> Result<String> {
        let line = timeout(patience, self.said.next_line()).await.context("the browser's script says nothing")??;
        line.context("the browser's script ended early; it says why above")
    }

    /// Its last word.
    async fn told<T: DeserializeOwned>(mut self, patience: Duration) -> Result<T> {
        let line = self.line(patience).await?;
        serde_json::from_str(&line).with_context(|| format!("what the browser's script found: {line}"))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Its browser ends with the pipe between them.
        self.child.id().into_iter().for_each(process::kill_group);
    }
}

fn paint_row(read: &Read, size: &str) -> Row {
    let all = |value: fn(&Shown) -> f64| read.viewer.iter().map(value).collect::<Vec<_>>();
    let (rows, paints) = (all(|shown| shown.row_ms), all(|shown| shown.paint_ms));
    let plain = &read.plain_paint_ms;
    let ratios: Vec<f64> = rows.iter().zip(plain).map(|(ours, theirs)| ours / theirs).collect();
    let most = stats::percentile(&rows, 1.0);
    Row {
        figure: "log of a million lines in chromium -> first lines painted",
        baseline: format!("{:.0} ms (the beginning of plain text in a tab)", stats::median(plain)),
        ours: format!(
            "p50 {:.0} ms, at most {most:.0} ms, anything of the page {:.0} ms; {size}",
            stats::median(&rows),
            stats::median(&paints),
        ),
        ratio: stats::shown(&ratios),
        cpu: "-".to_owned(),
        target: "under 1 s",
        reached: most < PAINT_MS,
    }
}

fn jump_row(read: &Read, size: &str) -> Row {
    let Used { last_ms, first_ms, jumps_ms, .. } = &read.used;
    let end = read.plain.end_ms.map_or_else(|| "over 3 minutes".to_owned(), |ms| format!("{:.1} s", ms / 1e3));
    let most = stats::percentile(jumps_ms, 1.0).max(*last_ms).max(*first_ms);
    Row {
        figure: "log of a million lines in chromium -> jump to a line",
        baseline: format!("{end} until the last line of plain text in a tab"),
        ours: format!(
            "to {} lines by address p50 {:.0} ms, at most {:.0} ms; to the last line {last_ms:.0} ms, to the first \
             {first_ms:.0} ms; {size}",
            jumps_ms.len(),
            stats::median(jumps_ms),
            stats::percentile(jumps_ms, 1.0),
        ),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "under 300 ms",
        reached: most < JUMP_MS,
    }
}

fn scroll_row(used: &Used) -> Row {
    let longest = stats::percentile(&used.tasks_ms, 1.0);
    Row {
        figure: "log of a million lines in chromium, scrolled through",
        baseline: "none".to_owned(),
        ours: format!("{}, {} row elements at most", tasks(&used.tasks_ms), used.rows),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "no task over 100 ms, at most 600 rows",
        reached: longest <= TASK_MS && used.rows <= MOST_ROWS,
    }
}

fn memory_row(read: &Read) -> Row {
    let Used { heap_mb, kept_mb, nodes, resident_mb, peak_mb, .. } = &read.used;
    let (theirs, most) = (read.plain.resident_mb, read.plain.peak_mb);
    Row {
        figure: "log of a million lines in chromium, what the page holds",
        baseline: format!("{theirs:.0} MB resident, {most:.0} at most (plain text in a tab)"),
        ours: format!(
            "JS heap {heap_mb:.1} MB, {kept_mb:.1} without garbage, {nodes:.0} DOM nodes; {resident_mb:.0} MB resident, \
             {peak_mb:.0} at most"
        ),
        ratio: format!("{:.2}", resident_mb / theirs),
        cpu: "-".to_owned(),
        target: "at most 150 MB of JS heap",
        reached: *heap_mb <= HEAP_MB,
    }
}

fn follow_row(figure: &'static str, followed: &Followed) -> Row {
    let Followed { lags_ms, stream_ms, tasks_ms, rows, cpu_secs } = followed;
    let p99 = stats::percentile(lags_ms, 0.99);
    let lost = FOLLOWED.saturating_sub(lags_ms.len());
    let missed = if lost == 0 { String::new() } else { format!(", {lost} lines NOT SEEN") };
    Row {
        figure,
        baseline: format!(
            "p50 {:.0} ms, p99 {:.0} ms (a script that reads the stream)",
            stats::median(stream_ms),
            stats::percentile(stream_ms, 0.99),
        ),
        ours: format!(
            "p50 {:.0} ms, p99 {p99:.0} ms, at most {:.0} ms{missed}; {FOLLOWED} lines, one every {} ms; {}, {rows} row \
             elements at most",
            stats::median(lags_ms),
            stats::percentile(lags_ms, 1.0),
            EVERY.as_millis(),
            tasks(tasks_ms),
        ),
        ratio: "-".to_owned(),
        cpu: format!("{:.1} ms a line, all roles", cpu_secs / FOLLOWED as f64 * 1e3),
        target: "p99 under 100 ms",
        reached: lost == 0 && p99 < LAG_MS,
    }
}

/// How many long tasks there were.
fn tasks(tasks_ms: &[f64]) -> String {
    match tasks_ms {
        [] => "no task over 50 ms".to_owned(),
        all => format!("{} tasks over 50 ms, the longest {:.0} ms", all.len(), stats::percentile(all, 1.0)),
    }
}
