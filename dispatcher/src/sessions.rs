//! Sessions: opened over HTTP with everything the builder still holds, then one WebSocket until it ends.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use slipway_domain::agent::{OpenSession, PROTOCOL_VERSION, SessionOpened, ToBuilder, ToDispatcher};
use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::ids::SessionId;
use slipway_live::Topic;
use slipway_runtime::ids::{new_id, new_token, token_hash};
use slipway_runtime::problem::{ApiError, JsonBody, PathOf, bearer};
use slipway_store::sessions::{NewSession, Session, SessionRefusal};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::Dispatcher;
use crate::auth::{refused, store_error};
use crate::claims::answered;
use crate::declines::{abandoned, declined};
use crate::fleet::{CHANNEL_BUFFER, Said};
use crate::renewals::Beat;
use crate::tally;

/// What is read of a channel at once: heartbeats are small, and there are thousands of channels.
const BUFFER_BYTES: usize = 2048;
/// Largest message of a builder.
const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// `POST /agent/v1/sessions`
pub async fn open(
    State(dispatcher): State<Dispatcher>,
    headers: HeaderMap,
    JsonBody(open): JsonBody<OpenSession>,
) -> Result<Json<SessionOpened>, ApiError> {
    if open.version != PROTOCOL_VERSION {
        return Err(ApiError::BadRequest(format!(
            "This builder speaks version {} of the agent protocol, the control plane {PROTOCOL_VERSION}; update it.",
            open.version
        )));
    }
    let join = bearer(&headers).ok_or_else(refused)?;
    let (session, token) = (new_id::<SessionId>(), new_token("sls"));
    let new = NewSession {
        id: session,
        token_hash: &token_hash(&token),
        join_hash: &token_hash(join),
        key_hash: &token_hash(&open.builder_key),
        open: &open,
        trust_tenants: dispatcher.deps.trust_tenants,
    };
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    let opened = match deps.db.open_session(&new, now).await? {
        Ok(opened) => opened,
        Err(SessionRefusal::JoinToken) => {
            return Err(ApiError::Unauthorized("The join token is unknown or revoked.".to_owned()));
        }
        Err(SessionRefusal::BuilderKey) => {
            return Err(ApiError::Forbidden(
                "Another builder has this id; remove builder-id from the data folder if this is a copy.".to_owned(),
            ));
        }
    };
    info!(session.id = %session, builder.id = %open.builder, name = open.name, pool = %opened.pool,
        held = open.held.len(), lost = opened.lost.len(), "session opened");
    if let Some(older) = opened.closed {
        dispatcher.fleet.tell(older, ToBuilder::Closed { reason: "a newer session was opened".to_owned() });
    }
    tally::attempts_ended(AttemptOutcome::Lost, opened.lost.len());
    if !opened.lost.is_empty() {
        dispatcher.jobs_changed();
    }
    Ok(Json(SessionOpened { session, token, pool: opened.pool, stop: opened.stop }))
}

/// `GET /agent/v1/sessions/{session}/channel`
pub async fn channel(
    State(dispatcher): State<Dispatcher>,
    PathOf(id): PathOf<SessionId>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let hash = token_hash(bearer(&headers).ok_or_else(refused)?);
    let session = dispatcher.deps.db.session_by_token(id, &hash).await.map_err(store_error)?.ok_or_else(refused)?;
    if !session.open {
        return Err(ApiError::Gone("This session is closed; open a new one.".to_owned()));
    }
    let upgrade = upgrade.read_buffer_size(BUFFER_BYTES).write_buffer_size(0).max_message_size(MESSAGE_MAX_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        attend(dispatcher, session, hash, socket).await;
    }))
}

/// Keeps the channel until either side ends it.
async fn attend(dispatcher: Dispatcher, session: Session, hash: Vec<u8>, socket: WebSocket) {
    let (outbox, inbox) = mpsc::channel(CHANNEL_BUFFER);
    dispatcher.fleet.connect(&session, hash, outbox.clone());
    dispatcher.feeds.begin(&dispatcher, &session.pool);
    let (sink, stream) = socket.split();
    let goodbye = tokio::select! {
        goodbye = listen(&dispatcher, &session, stream) => goodbye,
        () = speak(inbox, sink) => false,
        never = hear_cancels(&dispatcher, session.id) => match never {},
        () = dispatcher.deps.life.killed() => false,
    };
    let left = dispatcher.fleet.disconnect(session.id, &outbox);
    let own = left.is_some();
    Box::pin(abandoned(&dispatcher, left.unwrap_or_default())).await;
    if let Err(error) = Box::pin(closed(&dispatcher, &session, goodbye, own)).await {
        warn!(session.id = %session.id, error = format!("{error:#}"), "a closed channel could not be booked");
    }
}

/// Whoever cancels or drains rings the session's bell; what it is about stands in the rows.
async fn hear_cancels(dispatcher: &Dispatcher, session: SessionId) -> Infallible {
    let mut bell = dispatcher.deps.live.subscribe(Topic::Session(session)).await;
    loop {
        bell.next().await;
        dispatcher.cancels.ring();
    }
}

async fn closed(dispatcher: &Dispatcher, session: &Session, goodbye: bool, own: bool) -> anyhow::Result<()> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await?;
    if goodbye {
        let lost = deps.db.end_session(session.id, now).await?;
        info!(session.id = %session.id, lost = lost.len(), "builder left");
        tally::attempts_ended(AttemptOutcome::Lost, lost.len());
        if !lost.is_empty() {
            dispatcher.jobs_changed();
        }
    } else if own {
        info!(session.id = %session.id, "channel closed");
        deps.db.channel_closed(session.id, now).await?;
    }
    Ok(())
}

/// Reads the builder's messages; true when it said goodbye.
async fn listen(dispatcher: &Dispatcher, session: &Session, mut stream: SplitStream<WebSocket>) -> bool {
    while let Some(Ok(message)) = stream.next().await {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return false,
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) => continue,
        };
        match serde_json::from_str::<ToDispatcher>(text.as_str()) {
            Ok(ToDispatcher::Goodbye) => return true,
            // Rare, and large: each channel would keep room for them.
            Ok(ToDispatcher::Declined { offer, reason }) => {
                Box::pin(declined(dispatcher, session, offer, reason)).await
            }
            Ok(ToDispatcher::Answered { offer, refusal }) => {
                Box::pin(answered(dispatcher, session.id, offer, refusal)).await;
            }
            Ok(ToDispatcher::Heartbeat { seq, free, draining, load, held, from_queue, cache }) => {
                let arrived = dispatcher.deps.clock.monotonic();
                if let Some(cache) = cache {
                    dispatcher.fleet.caches(session.id, &cache, arrived);
                }
                let said = Said { free: if draining { 0 } else { free }, busy: load.busy, from_queue };
                if dispatcher.fleet.heard(session.id, said, arrived) {
                    dispatcher.offers.ring();
                }
                let beat = Beat { session: session.id, seq, free, load, draining, held, arrived };
                dispatcher.renewals.add(beat);
            }
            // A newer builder may say more than we know.
            Err(error) => debug!(session.id = %session.id, %error, "message not understood"),
        }
    }
    false
}

async fn speak(mut inbox: mpsc::Receiver<ToBuilder>, mut sink: SplitSink<WebSocket, Message>) {
    while let Some(message) = inbox.recv().await {
        let last = matches!(message, ToBuilder::Closed { .. });
        let Ok(text) = serde_json::to_string(&message) else { continue };
        if sink.send(Message::text(text)).await.is_err() {
            return;
        }
        if last {
            // The builder opens a new session; whether it heard the close does not matter.
            let _ = sink.close().await;
            return;
        }
    }
}
