//! Logs that the bench writes itself: a builder without an engine claims real jobs, and their logs are fed to the log
//! service from a builder's spool, or as one would be, but as fast as it takes them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use slipway_builder::client::AgentClient;
use slipway_builder::logship::ship;
use slipway_builder::shelf::Shelf;
use slipway_builder::spool::{Owner, Spool};
use slipway_domain::agent::{LogAck, LogEnd, Report};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::BuildId;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_runtime::clock::Clock;
use slipway_runtime::trust::Trust;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::Project;
use crate::bench::fake_builder::{FakeBuilder, HandedOver, Places, succeeded};
use crate::bench::noop::push;
use crate::bench::split::Split;
use crate::env::cluster::Role;
use crate::env::git_server::GitServer;
use crate::env::repo::Repo;

/// Stream bytes of a request, as a builder sends where a log is behind.
pub const BATCH_BYTES: usize = 256 << 10;
/// Bytes of a span: what a step writes at once.
const SPAN_BYTES: usize = 4 << 10;
/// Until a refused request is sent again: doubled each time up to the longest, so that 1,000 logs that are refused cost
/// the log service little. A builder waits longer.
const BUSY_AGAIN: Duration = Duration::from_millis(5);
const BUSY_LONGEST: Duration = Duration::from_millis(80);
/// Between two looks whether all is durable; the log service itself waits for it up to 5 s.
const DURABLE_AGAIN: Duration = Duration::from_millis(20);
/// Pushes on their way at once.
const AT_ONCE: usize = 16;
/// A log that does not go on for so long never will.
const STUCK: Duration = Duration::from_secs(120);
const CLAIMED: Duration = Duration::from_secs(120);

/// A builder whose jobs the bench does; it leaves on drop.
pub struct Feeder {
    http: reqwest::Client,
    logs: AgentClient,
    places: Places,
    _git: GitServer,
    repo: Repo,
    project: Project,
    claimed: mpsc::UnboundedReceiver<HandedOver>,
    builder: JoinHandle<()>,
    pushed: usize,
}

/// A log that a builder's own spool holds and its shipper sends.
pub struct Spooled {
    /// Where it is written.
    pub shelf: Arc<Shelf>,
    shipping: JoinHandle<()>,
}

/// One log, open until it is finished.
pub struct Feed {
    http: reqwest::Client,
    logs: AgentClient,
    places: Places,
    handed: HandedOver,
}

impl Feeder {
    /// Lets the builder join, with places for so many open logs.
    pub async fn join(split: &Split, slots: usize) -> Result<Self> {
        let git = GitServer::start().await?;
        let repo = git.repo("bench/log-feed")?;
        let body = json!({
            "name": repo.full_path(),
            "forge": { "kind": "github" },
            "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
        });
        let project = split.api().create_project(&body).await?;
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let places = Places {
            agent: split.url(Role::Dispatcher)?,
            logs: split.url(Role::Logsvc)?,
            join_token: split.join_token().await?,
        };
        let logs = AgentClient::new(&places.logs.parse()?, &Trust::default())?;
        let (hand, claimed) = mpsc::unbounded_channel();
        let builder = FakeBuilder::new(http.clone(), places.clone(), i64::try_from(slots)?, None).handing_over(hand);
        let (joined, mut told) = mpsc::channel(1);
        let builder = tokio::spawn(async move {
            if let Err(error) = builder.run(joined).await {
                eprintln!("feeder: {error:#}");
            }
        });
        told.recv().await.context("the feeder could not join")?;
        Ok(Self { http, logs, places, _git: git, repo, project, claimed, builder, pushed: 0 })
    }

    /// So many new logs.
    pub async fn open(&mut self, split: &Split, count: usize) -> Result<Vec<Feed>> {
        let first = self.pushed;
        self.pushed += count;
        let (repo, project) = (&self.repo, &self.project);
        stream::iter(first..first + count)
            .map(|number| async move { push(split, repo, project, &format!("refs/heads/feed-{number}")).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let mut feeds = Vec::with_capacity(count);
        while feeds.len() < count {
            let handed = tokio::time::timeout(CLAIMED, self.claimed.recv()).await.context("a job was not claimed")?;
            let handed = handed.context("the feeder left")?;
            let (http, logs) = (self.http.clone(), self.logs.clone());
            feeds.push(Feed { http, logs, places: self.places.clone(), handed });
        }
        Ok(feeds)
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.builder.abort();
    }
}

impl Feed {
    /// Whose log it is.
    pub fn attempt(&self) -> AttemptRef {
        self.handed.claimed.attempt
    }

    /// The build that it is of.
    pub fn build(&self) -> BuildId {
        self.handed.claimed.spec.build
    }

    /// Tells the dispatcher how the job goes.
    pub async fn report(&self, report: &Report) -> Result<()> {
        let body = serde_json::to_vec(report)?.into();
        let (status, text) = self.post(&self.places.agent, "report", "application/json", body).await?;
        ensure!(status.is_success(), "a report was answered {status}: {}", String::from_utf8_lossy(&text));
        Ok(())
    }

    /// Lets the log be written to a spool in this folder, as builders do, from which it is sent.
    pub fn spooled(&self, dir: &Path) -> Result<Spooled> {
        let (attempt, token) = (self.attempt(), self.handed.claimed.token.clone());
        let spool = Spool::create(&dir.join(attempt.to_string()), &Owner { attempt, token: token.clone() })?;
        let shelf = Arc::new(Shelf::new(spool));
        let shipping = tokio::spawn(ship(Arc::clone(&shelf), self.logs.attempt(attempt, token), Clock::system()));
        Ok(Spooled { shelf, shipping })
    }

    /// Sends an encoded chunk, again while the log service has no room.
    pub async fn append(&self, chunk: Bytes) -> Result<LogAck> {
        let mut pause = BUSY_AGAIN;
        let began = Instant::now();
        loop {
            ensure!(began.elapsed() < STUCK, "a chunk was not taken");
            let (status, text) = self.post(&self.places.logs, "log", "application/octet-stream", chunk.clone()).await?;
            if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BUSY_LONGEST);
                continue;
            }
            ensure!(status.is_success(), "a chunk was answered {status}: {}", String::from_utf8_lossy(&text));
            return serde_json::from_slice(&text).context("the answer to a chunk");
        }
    }

    /// Announces the end and waits until all is durable.
    pub async fn end(&self, end: &LogEnd) -> Result<()> {
        let body = Bytes::from(serde_json::to_vec(end)?);
        let began = Instant::now();
        loop {
            ensure!(began.elapsed() < STUCK, "a log did not become durable");
            let (status, text) = self.post(&self.places.logs, "log/end", "application/json", body.clone()).await?;
            ensure!(status.is_success(), "the end was answered {status}: {}", String::from_utf8_lossy(&text));
            if serde_json::from_slice::<LogAck>(&text)?.durable >= end.end {
                return Ok(());
            }
            tokio::time::sleep(DURABLE_AGAIN).await;
        }
    }

    /// Tells the dispatcher that the job succeeded.
    pub async fn finish(self, end: LogEnd) -> Result<()> {
        let body = serde_json::to_vec(&succeeded(end))?.into();
        let (status, text) = self.post(&self.places.agent, "finish", "application/json", body).await?;
        ensure!(status.is_success(), "the finish was answered {status}: {}", String::from_utf8_lossy(&text));
        Ok(())
    }

    async fn post(&self, base: &str, what: &str, kind: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let AttemptRef { job, epoch } = self.attempt();
        let url = format!("{base}/agent/v1/attempts/{job}/{epoch}/{what}");
        let request = self.http.post(url).bearer_auth(&self.handed.claimed.token).header(CONTENT_TYPE, kind);
        let answer = request.body(body).send().await.with_context(|| format!("sending {what}"))?;
        Ok((answer.status(), answer.bytes().await?))
    }
}

impl Spooled {
    /// Nothing more is written: waits until all is durable and the end is announced; that end.
    pub async fn end(self) -> Result<LogEnd> {
        self.shelf.close();
        tokio::time::timeout(STUCK, self.shipping).await.context("a log was not sent")??;
        ensure!(!self.shelf.marks().given_up, "a log was given up");
        self.shelf.log_end().context("a log has a hash")
    }
}

/// What step 1 wrote, from `offset` of its log on.
pub fn chunk(offset: usize, bytes: Bytes, now: DateTime<Utc>) -> Result<Chunk> {
    let mut spans = Vec::new();
    for part in bytes.chunks(SPAN_BYTES) {
        let at = now + chrono::TimeDelta::microseconds(i64::try_from(spans.len())?);
        spans.push(Span { len: u32::try_from(part.len())?, step: 1, stream: Stream::Stdout, at });
    }
    Ok(Chunk { offset: i64::try_from(offset)?, bytes, spans })
}
