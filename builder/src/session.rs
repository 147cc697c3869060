//! The session with the dispatcher: opened over HTTP with everything that is held, then one WebSocket with
//! heartbeats out and answers, cancels, drains and offers in. Losing it ends nothing: attempts build on
//! while the next session is being opened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use slipway_domain::agent::{
    ClaimRefusal, Decline, Offer, OpenSession, PROTOCOL_VERSION, SessionOpened, ToBuilder, ToDispatcher,
};
use slipway_domain::builder::Load;
use slipway_domain::timing::{HEARTBEAT, REATTACH_AFTER};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tracing::{debug, info, warn};

use crate::agent::Agent;
use crate::cache::Telling;
use crate::claim::{self, Claims};
use crate::client::CallError;
use crate::feed;
use crate::halt::Halt;

/// A channel that does not open or take a message within this time is as good as closed.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest message that is read.
const MESSAGE_MAX_BYTES: usize = 1 << 20;

type Channel = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why the channel is over.
#[derive(Debug)]
pub enum ChannelEnd {
    /// We said goodbye.
    Left,
    /// It broke, fell silent or was closed; open a new session.
    Lost(String),
}

/// Opens a session that presents what is held, and stops what is not ours any more.
pub async fn open(agent: &Agent) -> Result<SessionOpened, CallError> {
    let (held, claiming) = agent.slots.held_and_claiming();
    let open = OpenSession {
        version: PROTOCOL_VERSION,
        builder: agent.identity.builder,
        builder_key: agent.identity.builder_key.clone(),
        name: agent.config.name.clone(),
        platform: agent.platform.clone(),
        slots: agent.slots.total(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        shared_engine: agent.config.shared_engine,
        held,
        claiming,
    };
    let opened = agent.client.open_session(&agent.config.join_token, &open).await?;
    info!(session.id = %opened.session, pool = %opened.pool, held = open.held.len(), "session open");
    for attempt in &opened.stop {
        agent.slots.pull(*attempt, Halt::Stopped);
    }
    Ok(opened)
}

/// Keeps the channel of a session until it ends.
pub async fn attend(agent: &Arc<Agent>, opened: &SessionOpened) -> ChannelEnd {
    let channel = match timeout(CHANNEL_TIMEOUT, connect(agent, opened)).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return ChannelEnd::Lost(format!("{error:#}")),
        Err(_) => return ChannelEnd::Lost("the channel did not open in time".to_owned()),
    };
    let (answers, decisions) = mpsc::unbounded_channel();
    let claims = Claims { session: opened.session, token: opened.token.clone(), answers };
    let ended = match &agent.bus {
        Some(bus) => tokio::select! {
            ended = converse(agent, &claims, channel, decisions) => ended,
            never = feed::run(agent, bus, &opened.pool, &claims) => match never {},
        },
        None => converse(agent, &claims, channel, decisions).await,
    };
    match ended {
        Ok(end) => end,
        Err(error) => ChannelEnd::Lost(format!("{error:#}")),
    }
}

async fn connect(agent: &Agent, opened: &SessionOpened) -> anyhow::Result<Channel> {
    let url = agent.client.channel_url(opened.session)?;
    let mut request = url.as_str().into_client_request().context("cannot ask for the channel")?;
    let bearer = format!("Bearer {}", opened.token).parse().context("the session token is no header value")?;
    request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX_BYTES));
    let tls = Some(Connector::Rustls(agent.client.tls()));
    let connected = connect_async_tls_with_config(request, Some(config), true, tls).await;
    Ok(connected.context("cannot open the channel")?.0)
}

async fn converse(
    agent: &Arc<Agent>,
    claims: &Claims,
    channel: Channel,
    mut decisions: mpsc::UnboundedReceiver<(Offer, Option<ClaimRefusal>)>,
) -> anyhow::Result<ChannelEnd> {
    let (mut sink, mut stream) = channel.split();
    let mut pulse = Pulse::new(agent.clock.monotonic());
    let mut telling = Telling::default();
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut slots, mut readiness) = (agent.slots.changes(), agent.readiness.clone());
    let mut draining = agent.draining.subscribe();
    loop {
        if *draining.borrow_and_update() && agent.slots.taken() == 0 {
            say(&mut sink, &ToDispatcher::Goodbye).await?;
            // What is unread when a socket is dropped makes the kernel reset it, and the goodbye with it.
            let closing = async {
                let _ = sink.close().await;
                while let Some(Ok(_)) = stream.next().await {}
            };
            let _ = timeout(CHANNEL_TIMEOUT, closing).await;
            return Ok(ChannelEnd::Left);
        }
        let left = REATTACH_AFTER.saturating_sub(pulse.silent_for(agent.clock.monotonic()));
        tokio::select! {
            message = stream.next() => match message.context("the channel was closed")?? {
                Message::Text(text) => {
                    match heard(agent, claims, (&mut pulse, &mut telling), text.as_str()) {
                        Heard::Nothing => {}
                        Heard::Unwanted(offer, reason) => {
                            say(&mut sink, &ToDispatcher::Declined { offer, reason }).await?;
                        }
                        Heard::End(end) => return Ok(end),
                    }
                }
                Message::Close(_) => return Ok(ChannelEnd::Lost("the dispatcher closed the channel".to_owned())),
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            },
            _ = beat.tick() => {
                let seq = pulse.beat(agent.clock.monotonic());
                say(&mut sink, &heartbeat(agent, seq, &mut telling)).await?;
            }
            Some((offer, refusal)) = decisions.recv() => {
                say(&mut sink, &ToDispatcher::Answered { offer, refusal }).await?;
            }
            // A freed slot, a changed pressure and a drain are told at once.
            Ok(()) = slots.changed() => beat.reset_immediately(),
            Ok(()) = readiness.changed() => beat.reset_immediately(),
            Ok(()) = draining.changed() => beat.reset_immediately(),
            () = agent.clock.sleep(left) => {
                return Ok(ChannelEnd::Lost(format!("no answer for {} s", REATTACH_AFTER.as_secs())));
            }
        }
    }
}

fn heartbeat(agent: &Agent, seq: u64, telling: &mut Telling) -> ToDispatcher {
    let draining = *agent.draining.borrow();
    let load = load(agent);
    let free = if load.not_taking.is_none() { agent.slots.free() } else { 0 };
    let from_queue = agent.bus.as_ref().is_some_and(|bus| bus.health().is_ok());
    let cache = telling.next(&agent.cache, seq);
    ToDispatcher::Heartbeat { seq, free, draining, load, held: agent.slots.held(), from_queue, cache }
}

/// How loaded this builder is, and why it takes nothing.
pub fn load(agent: &Agent) -> Load {
    let draining = *agent.draining.borrow();
    let load = agent.cache.beside(agent.readiness.borrow().load(agent.slots.taken(), draining));
    let shut = || agent.slots.is_shut().then(|| "it makes room on the engine's disk".to_owned());
    Load { not_taking: load.not_taking.or_else(shut), ..load }
}

/// What a message of the dispatcher asks of the channel.
enum Heard {
    Nothing,
    /// An offer that is not claimed; somebody else shall get it at once.
    Unwanted(Offer, Decline),
    End(ChannelEnd),
}

fn heard(agent: &Arc<Agent>, claims: &Claims, (pulse, telling): (&mut Pulse, &mut Telling), text: &str) -> Heard {
    let message = match serde_json::from_str::<ToBuilder>(text) {
        Ok(message) => message,
        Err(error) => {
            // A newer dispatcher may say more than we know.
            debug!(%error, "message of the dispatcher not understood");
            return Heard::Nothing;
        }
    };
    match message {
        ToBuilder::HeartbeatAck { seq, stop, cancel } => {
            pulse.answered(seq);
            telling.answered(seq);
            for attempt in stop {
                agent.slots.pull(attempt, Halt::Stopped);
            }
            for attempt in cancel {
                agent.slots.pull(attempt, Halt::Cancelled);
            }
        }
        ToBuilder::Offer(offer) => match unwilling(agent) {
            Some(reason) => return Heard::Unwanted(offer, reason),
            None => claim::consider(agent, claims, offer, None),
        },
        ToBuilder::Cancel { attempt } => agent.slots.pull(attempt, Halt::Cancelled),
        ToBuilder::Drain => {
            // Said again and again until we are gone.
            let fresh = agent.draining.send_if_modified(|draining| !std::mem::replace(draining, true));
            if fresh {
                info!("the dispatcher asks to drain");
            }
        }
        ToBuilder::Resume => {
            // Whoever was told to stop drains by its own wish. Looked at under the lock that sets the wish.
            let resumed = |draining: &mut bool| !agent.life.is_stopping() && std::mem::take(draining);
            let fresh = agent.draining.send_if_modified(resumed);
            if fresh {
                info!("the dispatcher no longer asks to drain");
            }
        }
        ToBuilder::Closed { reason } => {
            warn!(reason, "the dispatcher closed the session");
            return Heard::End(ChannelEnd::Lost(reason));
        }
    }
    Heard::Nothing
}

/// Why no offer is claimed now.
pub fn unwilling(agent: &Agent) -> Option<Decline> {
    if *agent.draining.borrow() {
        Some(Decline::Draining)
    } else if agent.readiness.borrow().not_taking.is_some() || agent.slots.is_shut() {
        Some(Decline::Gated)
    } else {
        (agent.slots.free() == 0).then_some(Decline::Full)
    }
}

async fn say(sink: &mut SplitSink<Channel, Message>, message: &ToDispatcher) -> anyhow::Result<()> {
    let text = serde_json::to_string(message).context("cannot write a message as JSON")?;
    timeout(CHANNEL_TIMEOUT, sink.send(Message::text(text))).await.context("the channel takes nothing")??;
    Ok(())
}

/// Which heartbeats were answered. Silence counts from the sending of the last answered one: only that
/// one is known to have renewed the lease.
#[derive(Debug)]
struct Pulse {
    next: u64,
    sent: VecDeque<(u64, Instant)>,
    alive_at: Instant,
}

impl Pulse {
    fn new(now: Instant) -> Self {
        Self { next: 1, sent: VecDeque::new(), alive_at: now }
    }

    fn beat(&mut self, now: Instant) -> u64 {
        let seq = self.next;
        self.next += 1;
        self.sent.push_back((seq, now));
        seq
    }

    fn answered(&mut self, seq: u64) {
        while let Some((_, at)) = self.sent.pop_front_if(|(sent, _)| *sent <= seq) {
            self.alive_at = at;
        }
    }

    fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.alive_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_sending_the_last_answered_beat() {
        let start = slipway_runtime::clock::Clock::system().monotonic();
        let at = |secs: u64| start + Duration::from_secs(secs);
        let mut pulse = Pulse::new(at(0));
        assert_eq!((pulse.beat(at(0)), pulse.beat(at(5))), (1, 2));
        assert_eq!(pulse.silent_for(at(6)), Duration::from_secs(6));
        pulse.answered(1);
        assert_eq!(pulse.silent_for(at(6)), Duration::from_secs(6), "answered late, but sent at 0");
        pulse.answered(2);
        assert_eq!(pulse.silent_for(at(6)), Duration::from_secs(1));
        pulse.answered(1);
        pulse.answered(99);
        assert_eq!(pulse.silent_for(at(6)), Duration::from_secs(1), "old and unknown answers prove nothing");
    }
}
