//! A builder that builds nothing: it speaks the agent protocol as the real one does (session, channel, heartbeats,
//! claim, log, finish) and has no engine. Many of them fit into one process, so that the control plane can be
//! measured without what Docker costs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use chrono::Utc;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use slipway_bus::{Bus, Delivery};
use slipway_domain::agent::{
    ClaimRefusal, ClaimRequest, Claimed, Finish, LogAck, LogEnd, Offer, OpenSession, PROTOCOL_VERSION, SessionOpened,
    ToBuilder, ToDispatcher,
};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::builder::Load;
use slipway_domain::timing::HEARTBEAT;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_runtime::ids::{new_id, new_token, random_id};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Between heartbeats that tell of changed slots.
const TELL_AGAIN: Duration = Duration::from_millis(100);
/// Between two looks whether the log is durable.
const DURABLE_AGAIN: Duration = Duration::from_millis(100);
/// What every build writes.
const LOG: &str = "Step 1/1 : a build that does nothing\nand says so in three lines,\nas short builds do\n";

/// Where builders go.
#[derive(Debug, Clone)]
pub struct Places {
    /// The dispatcher's address, `http://host:port`.
    pub agent: String,
    /// The log service's address.
    pub logs: String,
    /// What lets them join.
    pub join_token: String,
}

/// One of them.
#[derive(Clone)]
pub struct FakeBuilder {
    http: reqwest::Client,
    places: Places,
    slots: i64,
    held: Arc<Mutex<BTreeSet<AttemptRef>>>,
    /// Jobs that are claimed or run.
    taken: watch::Sender<i64>,
    bus: Option<Bus>,
    then: Then,
}

/// A job that was claimed for somebody else, who writes its log; held until `done` is dropped.
#[derive(Debug)]
pub struct HandedOver {
    /// What was claimed.
    pub claimed: Claimed,
    /// Its owner is done with it.
    pub done: oneshot::Sender<()>,
}

/// What becomes of a claimed job.
#[derive(Debug, Clone)]
enum Then {
    Builds,
    /// It never ends.
    Holds,
    HandsOver(mpsc::UnboundedSender<HandedOver>),
}

impl FakeBuilder {
    /// A builder that takes offers from `bus`, or over its session when there is none.
    pub fn new(http: reqwest::Client, places: Places, slots: i64, bus: Option<Bus>) -> Self {
        Self { http, places, slots, held: Arc::default(), taken: watch::Sender::new(0), bus, then: Then::Builds }
    }

    /// One that claims and never ends what it claimed.
    pub fn holding(self) -> Self {
        Self { then: Then::Holds, ..self }
    }

    /// One that claims and lets whoever listens here do the rest.
    pub fn handing_over(self, to: mpsc::UnboundedSender<HandedOver>) -> Self {
        Self { then: Then::HandsOver(to), ..self }
    }

    /// Joins, tells `joined` once its first heartbeat is answered, and works until the channel ends.
    pub async fn run(self, joined: mpsc::Sender<()>) -> Result<()> {
        let opened = self.open().await?;
        let url = format!("{}/agent/v1/sessions/{}/channel", self.places.agent, opened.session);
        let mut request = url.replacen("http", "ws", 1).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", opened.token).parse()?);
        let (channel, _) = tokio_tungstenite::connect_async(request).await.context("opening the channel")?;
        let (mut sink, mut stream) = channel.split();
        let (answers, mut decided) = mpsc::unbounded_channel();
        let claims = Claims { opened: opened.clone(), answers };
        let mut consumer = self.bus.as_ref().map(|bus| bus.consume(&opened.pool));
        let mut slots = self.taken.subscribe();
        let mut beat = interval_at(Instant::now(), HEARTBEAT);
        let (mut seq, mut last, mut credit) = (0, Instant::now(), 0);
        loop {
            let free = u32::try_from(self.free()).unwrap_or(0);
            if let Some(consumer) = &consumer
                && free != credit
            {
                consumer.credit(free).await;
                credit = free;
            }
            tokio::select! {
                message = stream.next() => match message.context("the channel ended")?? {
                    Message::Text(text) => match serde_json::from_str(text.as_str())? {
                        ToBuilder::HeartbeatAck { seq: 1, .. } => joined.send(()).await?,
                        ToBuilder::Offer(offer) => self.take(&claims, offer, None),
                        ToBuilder::Closed { reason } => bail!("closed: {reason}"),
                        _ => {}
                    },
                    Message::Close(_) => bail!("the dispatcher closed the channel"),
                    _ => {}
                },
                delivery = next(&mut consumer) => {
                    credit = credit.saturating_sub(1);
                    self.take(&claims, delivery.offer, Some(delivery));
                }
                Some(answered) = decided.recv() => say(&mut sink, &answered).await?,
                _ = beat.tick() => {
                    seq += 1;
                    last = Instant::now();
                    say(&mut sink, &self.heartbeat(seq)).await?;
                }
                Ok(()) = slots.changed() => {
                    beat.reset_at((last + TELL_AGAIN).max(Instant::now()));
                }
            }
        }
    }

    async fn open(&self) -> Result<SessionOpened> {
        let open = OpenSession {
            version: PROTOCOL_VERSION,
            builder: new_id(),
            builder_key: new_token("key"),
            name: "fake".to_owned(),
            platform: "linux-amd64".to_owned(),
            slots: self.slots,
            release: "0".to_owned(),
            shared_engine: false,
            held: Vec::new(),
            claiming: Vec::new(),
        };
        let url = format!("{}/agent/v1/sessions", self.places.agent);
        let answer = self.http.post(url).bearer_auth(&self.places.join_token).json(&open).send().await?;
        ensure!(answer.status().is_success(), "no session: {}", answer.status());
        Ok(answer.json().await?)
    }

    fn free(&self) -> i64 {
        self.slots - *self.taken.borrow()
    }

    fn heartbeat(&self, seq: u64) -> ToDispatcher {
        let held = self.held().iter().copied().collect();
        let load = Load::default();
        let from_queue = self.bus.is_some();
        ToDispatcher::Heartbeat { seq, free: self.free(), draining: false, load, held, from_queue, cache: None }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<AttemptRef>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims and builds beside everything else.
    fn take(&self, claims: &Claims, offer: Offer, delivery: Option<Delivery>) {
        if self.free() <= 0 {
            // Dropped, it goes back.
            return;
        }
        self.taken.send_modify(|taken| *taken += 1);
        let (own, claims) = (self.clone(), claims.clone());
        tokio::spawn(async move {
            if let Err(error) = own.work(&claims, offer, delivery).await {
                eprintln!("fake builder: {error:#}");
            }
            own.taken.send_modify(|taken| *taken -= 1);
        });
    }

    async fn work(&self, claims: &Claims, offer: Offer, delivery: Option<Delivery>) -> Result<()> {
        let claim = ClaimRequest {
            session: claims.opened.session,
            job: offer.job,
            dispatch: offer.dispatch,
            claim: random_id(),
        };
        let url = format!("{}/agent/v1/claims", self.places.agent);
        let answer = self.http.post(url).bearer_auth(&claims.opened.token).json(&claim).send().await?;
        let won = answer.status().is_success();
        let refusal = (!won).then_some(ClaimRefusal::Gone);
        let text = answer.bytes().await?;
        // The channel may be over.
        let _ = claims.answers.send(ToDispatcher::Answered { offer, refusal });
        if let Some(delivery) = delivery {
            delivery.ack().await;
        }
        if !won {
            return Ok(());
        }
        let claimed: Claimed = serde_json::from_slice(&text)?;
        let attempt = claimed.attempt;
        self.held().insert(attempt);
        let ended = match &self.then {
            Then::Builds => self.build(&claimed).await,
            Then::Holds => std::future::pending().await,
            Then::HandsOver(to) => {
                let (done, over) = oneshot::channel();
                to.send(HandedOver { claimed, done }).ok().context("nobody takes what was claimed")?;
                // Dropped, not sent.
                let _ = over.await;
                Ok(())
            }
        };
        self.held().remove(&attempt);
        ended
    }

    async fn build(&self, claimed: &Claimed) -> Result<()> {
        let spans = vec![Span { len: u32::try_from(LOG.len())?, step: 1, stream: Stream::Stdout, at: Utc::now() }];
        let chunk = Chunk { offset: 0, bytes: Bytes::from_static(LOG.as_bytes()), spans };
        let (logs, agent) = (&self.places.logs, &self.places.agent);
        self.post(logs, claimed, "log", chunk.encode()).await?;
        let end = LogEnd { end: i64::try_from(LOG.len())?, sha256: hex::encode(Sha256::digest(LOG)) };
        while serde_json::from_value::<LogAck>(self.post(logs, claimed, "log/end", json(&end)?).await?)?.durable
            < end.end
        {
            tokio::time::sleep(DURABLE_AGAIN).await;
        }
        let finish = succeeded(end);
        self.post(agent, claimed, "finish", json(&finish)?).await.map(drop)
    }

    async fn post(&self, base: &str, claimed: &Claimed, what: &str, body: Bytes) -> Result<Value> {
        let AttemptRef { job, epoch } = claimed.attempt;
        let url = format!("{base}/agent/v1/attempts/{job}/{epoch}/{what}");
        let request = self.http.request(Method::POST, url).bearer_auth(&claimed.token);
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        let status = answer.status();
        let text = answer.bytes().await?;
        ensure!(status.is_success(), "{what} was answered {status}: {}", String::from_utf8_lossy(&text));
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_slice(&text)? })
    }
}

#[derive(Clone)]
struct Claims {
    opened: SessionOpened,
    answers: mpsc::UnboundedSender<ToDispatcher>,
}

async fn next(consumer: &mut Option<slipway_bus::Consumer>) -> Delivery {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

async fn say(sink: &mut (impl futures_util::Sink<Message> + Unpin), message: &ToDispatcher) -> Result<()> {
    let text = serde_json::to_string(message)?;
    sink.send(Message::text(text)).await.ok().context("the channel takes nothing")
}

fn json(value: &impl Serialize) -> Result<Bytes> {
    Ok(serde_json::to_vec(value)?.into())
}

/// A job that succeeded without an image, with this log.
pub fn succeeded(end: LogEnd) -> Finish {
    Finish {
        outcome: AttemptOutcome::Succeeded,
        failure: None,
        images: Vec::new(),
        built: Vec::new(),
        remarks: Default::default(),
        log_end: end.end,
        log_sha256: end.sha256,
    }
}
