//! Chunks as no builder sends them, through the proxy, with the token of an attempt that was really claimed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use http::StatusCode;
use reqwest::header::CONTENT_TYPE;
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::{LogAck, LogEnd};
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_tests::bench::fake_builder::{FakeBuilder, HandedOver, Places, succeeded};
use slipway_tests::chaos::random::Random;
use slipway_tests::scripted_engine::log_lines;
use slipway_tests::wait::eventually;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::site::{Site, join_token};
use super::viewer::{Log, Wrote};

/// Lines that are sent: more than a segment.
const WRITTEN: usize = 50_000;
/// Bytes of a chunk, at most.
const PIECE_BYTES: i64 = 40_000;
/// Bytes of a span, at most.
const SPAN_BYTES: i64 = 300;
/// How long a log service may be too busy for a chunk.
const ROOM: Duration = Duration::from_secs(60);
/// How long a claim may take, also of a job whose builder was lost.
const CLAIMED: Duration = Duration::from_secs(60);

/// A builder whose jobs are done here; it leaves on drop.
struct Claimer {
    http: reqwest::Client,
    agent_url: String,
    claimed: mpsc::UnboundedReceiver<HandedOver>,
    builder: JoinHandle<()>,
}

/// The log of a claimed job.
struct Writer {
    http: reqwest::Client,
    agent_url: String,
    handed: HandedOver,
}

impl Claimer {
    async fn join(site: &Site) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let agent_url = site.cluster.agent_url();
        let join_token = join_token(&site.cluster.api()).await?;
        let places = Places { agent: agent_url.clone(), logs: agent_url.clone(), join_token };
        let (hand, claimed) = mpsc::unbounded_channel();
        let builder = FakeBuilder::new(http.clone(), places, 1, None).handing_over(hand);
        let (joined, mut told) = mpsc::channel(1);
        let builder = tokio::spawn(async move {
            if let Err(error) = builder.run(joined).await {
                eprintln!("a claimer left: {error:#}");
            }
        });
        told.recv().await.context("the claimer could not join")?;
        Ok(Self { http, agent_url, claimed, builder })
    }

    async fn claim(&mut self) -> Result<Writer> {
        let handed = tokio::time::timeout(CLAIMED, self.claimed.recv()).await.context("nothing was claimed")?;
        let handed = handed.context("the claimer left")?;
        Ok(Writer { http: self.http.clone(), agent_url: self.agent_url.clone(), handed })
    }
}

impl Drop for Claimer {
    fn drop(&mut self) {
        self.builder.abort();
    }
}

impl Writer {
    /// Sends bytes as a chunk of this attempt.
    async fn send(&self, chunk: &Chunk) -> Result<(StatusCode, LogAck)> {
        self.send_encoded(chunk.encode()).await
    }

    async fn send_encoded(&self, encoded: Bytes) -> Result<(StatusCode, LogAck)> {
        eventually("room for a chunk", ROOM, || async {
            let (status, body) = self.post(self.handed.claimed.attempt.epoch, "log", encoded.clone()).await?;
            // Refusals have words, and no places.
            let ack = serde_json::from_slice(&body).unwrap_or(LogAck { received: -1, durable: -1 });
            Ok((status != StatusCode::SERVICE_UNAVAILABLE).then_some((status, ack)))
        })
        .await
    }

    /// Sends what is not there yet, in order.
    async fn send_rest(&self, whole: &Chunk) -> Result<()> {
        let (mut at, end) = (self.send(&Chunk::empty(0)).await?.1.received, whole.end());
        while at < end {
            let piece = whole.slice(at, at + PIECE_BYTES).context("a piece")?;
            let (status, ack) = self.send(&piece).await?;
            ensure!(status == StatusCode::OK || status == StatusCode::CONFLICT, "{status}");
            at = ack.received;
        }
        Ok(())
    }

    /// Announces the end and tells that the job succeeded; the answer to the latter.
    async fn finish(&self, whole: &Chunk) -> Result<StatusCode> {
        let end = LogEnd { end: whole.end(), sha256: hex::encode(Sha256::digest(&whole.bytes)) };
        let epoch = self.handed.claimed.attempt.epoch;
        let (status, body) = self.post(epoch, "log/end", serde_json::to_vec(&end)?.into()).await?;
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(self.post(epoch, "finish", serde_json::to_vec(&succeeded(end))?.into()).await?.0)
    }

    async fn post(&self, epoch: i64, what: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let url = format!("{}/agent/v1/attempts/{}/{epoch}/{what}", self.agent_url, self.handed.claimed.attempt.job);
        let request = self.http.post(url).bearer_auth(&self.handed.claimed.token);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await.with_context(|| format!("sending {what}"))?;
        Ok((answer.status(), answer.bytes().await?))
    }
}

/// Numbered lines by several steps, cut into spans anywhere.
fn written(random: &mut Random) -> Chunk {
    let bytes = Bytes::from(log_lines(WRITTEN));
    let (mut spans, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = (1 + number(random, SPAN_BYTES) as usize).min(bytes.len() - at);
        let stream = *random.choose(&[Stream::Stdout, Stream::Stderr]);
        let time = DateTime::UNIX_EPOCH + TimeDelta::milliseconds((at / 1000) as i64);
        spans.push(Span { len: len as u32, step: 1 + number(random, 4) as u32, stream, at: time });
        at += len;
    }
    Chunk { offset: 0, bytes, spans }
}

/// The same as viewers are told it.
fn told(whole: &Chunk) -> Log {
    let mut spans: Vec<Wrote> = Vec::new();
    for span in &whole.spans {
        let stream = match span.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Meta => "meta",
        };
        let at = span.at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        let bytes = span.len as usize;
        let wrote = Wrote { bytes, step: span.step, stream: stream.to_owned(), at };
        match spans.last_mut() {
            Some(last) if (last.step, &last.stream, &last.at) == (wrote.step, &wrote.stream, &wrote.at) => {
                last.bytes += bytes;
            }
            _ => spans.push(wrote),
        }
    }
    Log { text: String::from_utf8_lossy(&whole.bytes).into_owned(), spans }
}

/// How a chunk is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Next,
    /// Two copies are on their way at once.
    Twice,
    /// From somewhere that is known already.
    Again,
    /// Behind a gap.
    Ahead,
    CutOff,
    /// With a wrong bit.
    Damaged,
}

const WAYS: [Way; 6] = [Way::Next, Way::Twice, Way::Again, Way::Ahead, Way::CutOff, Way::Damaged];

impl Way {
    /// Sends a chunk of the whole, of which so much was received; how much is then.
    async fn send(self, writer: &Writer, (whole, received): (&Chunk, i64), random: &mut Random) -> Result<i64> {
        let from = match self {
            Self::Again => number(random, received + 1),
            Self::Ahead => (received + 1 + number(random, PIECE_BYTES)).min(whole.end() - 1),
            Self::Next | Self::Twice | Self::CutOff | Self::Damaged => received,
        };
        let chunk = whole.slice(from, from + 1 + number(random, PIECE_BYTES)).context("a piece")?;
        // Large ones are packed.
        let mut encoded = chunk.pack().to_vec();
        let place = usize::try_from(number(random, encoded.len() as i64))?;
        match self {
            Self::CutOff => encoded.truncate(place),
            Self::Damaged => encoded[place] ^= 1 << number(random, 8),
            Self::Next | Self::Twice | Self::Again | Self::Ahead => {}
        }
        let encoded = Bytes::from(encoded);
        if self == Self::Twice {
            let (one, other) = tokio::try_join!(writer.send_encoded(encoded.clone()), writer.send_encoded(encoded))?;
            let both = [one, other].map(|(status, ack)| (status, ack.received));
            ensure!(both == [(StatusCode::OK, chunk.end()); 2], "{both:?}");
            return Ok(chunk.end());
        }
        let (status, ack) = writer.send_encoded(encoded).await?;
        let (wanted, then) = match self {
            Self::Next | Self::Twice | Self::Again => (StatusCode::OK, chunk.end().max(received)),
            // The last byte may be just the next one.
            Self::Ahead if from == received => (StatusCode::OK, chunk.end()),
            Self::Ahead => (StatusCode::CONFLICT, received),
            Self::CutOff | Self::Damaged => (StatusCode::BAD_REQUEST, received),
        };
        let known = if wanted == StatusCode::BAD_REQUEST { received } else { ack.received };
        ensure!((status, known) == (wanted, then), "{status}, {known} of {received} are known, sent from {from}");
        Ok(then)
    }
}

fn number(random: &mut Random, below: i64) -> i64 {
    random.within(0..u64::try_from(below).unwrap_or(1)) as i64
}

#[tokio::test]
async fn chunks_come_in_any_way() -> Result<()> {
    let Some(site) = Site::start().await? else { return Ok(()) };
    let mut claimer = Claimer::join(&site).await?;
    let watched = site.watched().await?;
    let writer = claimer.claim().await?;
    let mut random = Random::new(6);
    let whole = written(&mut random);
    let (mut received, mut sent) = (0, 0);
    while received < whole.end() {
        let way = *random.choose(&WAYS);
        let then = way.send(&writer, (&whole, received), &mut random).await;
        received = then.with_context(|| format!("sent {way:?}"))?;
        sent += 1;
    }
    ensure!(sent > 60, "only {sent} chunks were sent");
    ensure!(writer.finish(&whole).await?.is_success(), "the finish is not taken");
    let (stored, _) = site.ended(watched, 1).await?;
    ensure!(stored.logs[&1] == told(&whole), "what is stored is not what was written");
    Ok(())
}

#[tokio::test]
async fn a_lost_attempt_writes_on() -> Result<()> {
    let Some(site) = Site::start().await? else { return Ok(()) };
    let mut first = Claimer::join(&site).await?;
    let watched = site.watched().await?;
    let zombie = first.claim().await?;
    let mut random = Random::new(7);
    let (lost, whole) = (written(&mut random), written(&mut random));
    let middle = lost.end() / 2;
    zombie.send_rest(&lost.slice(0, middle).context("a half")?).await?;
    drop(first);
    let mut second = Claimer::join(&site).await?;
    let writer = second.claim().await?;
    ensure!(writer.handed.claimed.attempt.epoch == 2, "the job is tried again");
    // Both write at once; the lost one also where it has nothing to say.
    let late = lost.slice(middle, lost.end()).context("a half")?;
    tokio::try_join!(writer.send_rest(&whole), zombie.send_rest(&lost), async {
        for _ in 0..20 {
            let (status, _) =
                zombie.post(2, "log", late.slice(late.offset, late.offset + 1000).context("a piece")?.encode()).await?;
            ensure!(status == StatusCode::UNAUTHORIZED, "a lost attempt wrote into the next one's log: {status}");
        }
        Ok(())
    })?;
    ensure!(zombie.finish(&lost).await?.is_client_error(), "a lost attempt finished the job");
    ensure!(writer.finish(&whole).await?.is_success(), "the finish is taken");
    let (stored, _) = site.ended(watched, 2).await?;
    ensure!(stored.logs[&2] == told(&whole), "what is stored is not what was written");
    ensure!(stored.logs[&1] == told(&lost), "what the lost attempt wrote is kept");
    let (status, _) = zombie.send(&Chunk { offset: lost.end(), ..late }).await?;
    ensure!(status == StatusCode::GONE, "a sealed log takes {status}");
    Ok(())
}
