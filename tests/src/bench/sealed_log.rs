//! A finished log of 1 GB in object storage, and the same bytes in a file of zstd's, for the rows that read it. Made once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::Utc;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::LogEnd;
use slipway_domain::attempt::AttemptRef;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use crate::bench::log_feed::{BATCH_BYTES, Feed, Feeder, chunk};
use crate::bench::log_text::Text;
use crate::bench::split::Split;
use crate::bench::{forget_peak, peak_mb, shrunk};
use crate::env::cluster::Role;
use crate::env::host;
use crate::wait::eventually;

const BYTES: usize = 1_000_000_000;
/// Lines with what is looked for: about 20 of 1 GB.
const RARE_EVERY: usize = 500_009;
/// As the service stores segments.
const LEVEL: &str = "-3";
const SEALED: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(120);

/// The log, and who has it.
pub struct SealedLog {
    // The builder leaves before its roles end.
    _feeder: Feeder,
    /// The roles.
    pub split: Split,
    /// Whose log it is.
    pub attempt: AttemptRef,
    /// Bytes.
    pub bytes: usize,
    /// Lines.
    pub lines: u64,
    /// Lines with the text that is rare.
    pub plants: u64,
    /// The most that the log service held while it took the log in, MB.
    pub fed_peak_mb: f64,
    /// How long that took.
    pub fed_in: Duration,
    folder: TempDir,
    http: reqwest::Client,
}

impl SealedLog {
    /// Writes it. `None` when a backend is missing.
    pub async fn make() -> Result<Option<Self>> {
        let Some(split) = Split::start(1).await? else { return Ok(None) };
        let mut feeder = Feeder::join(&split, 1).await?;
        let feed = feeder.open(&split, 1).await?.pop().context("a log")?;
        let folder = tempfile::tempdir()?;
        let (attempt, logsvc) = (feed.attempt(), split.id(Role::Logsvc)?);
        let mut text = Text::new(1, shrunk(RARE_EVERY) as u64);
        forget_peak(logsvc)?;
        let began = Instant::now();
        let bytes = write(feed, &mut text, &folder.path().join("log.zst")).await?;
        let (fed_in, fed_peak_mb) = (began.elapsed(), peak_mb(logsvc)?);
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(ANSWER).build()?;
        let (lines, plants) = (text.lines(), text.plants);
        let log = Self { split, attempt, bytes, lines, plants, fed_peak_mb, fed_in, folder, http, _feeder: feeder };
        eventually("a sealed log", SEALED, || async {
            Ok((log.get("/lines?count=1").await?["state"] == "complete").then_some(()))
        })
        .await?;
        Ok(Some(log))
    }

    /// The same bytes, packed by zstd.
    pub fn packed(&self) -> std::path::PathBuf {
        self.folder.path().join("log.zst")
    }

    /// An answer about the log, from the log service itself.
    pub async fn get(&self, rest: &str) -> Result<Value> {
        serde_json::from_slice(&self.body(rest).await?).with_context(|| format!("reading the answer of {rest}"))
    }

    /// The same, as bytes.
    pub async fn body(&self, rest: &str) -> Result<Bytes> {
        Ok(self.request(rest).await?.bytes().await?)
    }

    /// How many bytes it answers, which are not kept.
    pub async fn length(&self, rest: &str) -> Result<usize> {
        let mut answer = self.request(rest).await?;
        let mut length = 0;
        while let Some(piece) = answer.chunk().await? {
            length += piece.len();
        }
        Ok(length)
    }

    /// Its size, for a row.
    pub fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }

    async fn request(&self, rest: &str) -> Result<reqwest::Response> {
        let url = format!("{}/api/v1/jobs/{}/log{rest}", self.split.url(Role::Logsvc)?, self.attempt.job);
        let answer = self.http.get(&url).bearer_auth(self.split.cluster.token()).send().await?;
        let status = answer.status();
        if !status.is_success() {
            anyhow::bail!("{url} was answered {status}: {}", answer.text().await?);
        }
        Ok(answer)
    }
}

/// Feeds the log and packs the same bytes beside it; how many they are.
async fn write(feed: Feed, text: &mut Text, packed: &Path) -> Result<usize> {
    let mut command = Command::new(host::need("zstd", "zstd")?);
    command.args(["-q", LEVEL, "-T1", "-o"]).arg(packed).stdin(Stdio::piped());
    let mut zstd = tokio::process::Command::from(command).kill_on_drop(true).spawn().context("starting zstd")?;
    let mut input = zstd.stdin.take().context("what zstd reads")?;
    let (mut bytes, mut digest) = (0, Sha256::new());
    while bytes < shrunk(BYTES) {
        let piece = Bytes::from(text.piece(BATCH_BYTES));
        digest.update(&piece);
        input.write_all(&piece).await?;
        feed.append(chunk(bytes, piece.clone(), Utc::now())?.pack()).await?;
        bytes += piece.len();
    }
    drop(input);
    ensure!(zstd.wait().await?.success(), "zstd failed");
    let end = LogEnd { end: i64::try_from(bytes)?, sha256: hex::encode(digest.finalize()) };
    feed.end(&end).await?;
    feed.finish(end).await?;
    Ok(bytes)
}
