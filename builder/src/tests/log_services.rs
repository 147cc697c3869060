//! Log services as a proxy shows them that sends a log's chunks now to one and now to another.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use slipway_domain::agent::{LogAck, LogEnd};
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::trust::Trust;

use crate::client::{AgentClient, AttemptApi};
use crate::logship::ship;
use crate::shelf::Shelf;
use crate::spool::{Owner, Spool};

const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 6;
/// A service stores what was sent again to it after this time.
const HANDOVER: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(30);

/// What the services know, of the log's bytes only how many.
#[derive(Default)]
struct Services {
    /// How far each received it; they are asked in turn.
    received: Vec<i64>,
    durable: i64,
    /// When one of them stores what it has.
    stores: Option<(Instant, i64)>,
    asked: usize,
    /// So often the row is not looked at.
    unaware: usize,
    /// Announced lengths.
    ends: Vec<i64>,
}

impl Services {
    fn answer(&mut self, chunk: &Chunk) -> (StatusCode, LogAck) {
        let (now, count) = (Clock::system().monotonic(), self.received.len());
        if let Some((_, received)) = self.stores.take_if(|(at, _)| *at <= now) {
            self.durable = self.durable.max(received);
        }
        let received = &mut self.received[self.asked % count];
        self.asked += 1;
        if self.unaware > 0 {
            self.unaware -= 1;
        } else {
            *received = self.durable.max(*received);
        }
        if chunk.offset > *received {
            return (StatusCode::CONFLICT, LogAck { received: *received, durable: self.durable.min(*received) });
        }
        if chunk.offset < (*received).min(chunk.end()) {
            self.stores.get_or_insert((now + HANDOVER, *received));
        }
        *received = chunk.end().max(*received);
        if chunk.bytes.is_empty() {
            self.durable = self.durable.max(*received);
        }
        (StatusCode::OK, LogAck { received: *received, durable: self.durable })
    }
}

/// Serves them and gives the way there.
async fn serve(life: &Life, attempt: AttemptRef, services: Services) -> (AttemptApi, Arc<Mutex<Services>>) {
    let services = Arc::new(Mutex::new(services));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let log = async |State(services): State<Arc<Mutex<Services>>>, body: Bytes| {
        let chunk = Chunk::decode(&body).expect("a chunk");
        let (status, ack) = services.lock().expect("not poisoned").answer(&chunk);
        (status, Json(ack))
    };
    let end = async |State(services): State<Arc<Mutex<Services>>>, Json(end): Json<LogEnd>| {
        let mut services = services.lock().expect("not poisoned");
        services.ends.push(end.end);
        if services.received.contains(&end.end) {
            services.durable = end.end;
        }
        Json(LogAck { received: end.end, durable: services.durable })
    };
    let router = Router::new()
        .route("/agent/v1/attempts/{job}/{epoch}/log", post(log))
        .route("/agent/v1/attempts/{job}/{epoch}/log/end", post(end))
        .with_state(Arc::clone(&services));
    life.errand("log services", async move { axum::serve(listener, router).await.expect("serves") });
    let client = AgentClient::new(&url.parse().expect("a URL"), &Trust::default()).expect("a client");
    (client.attempt(attempt, "token".to_owned()), services)
}

fn piece(offset: i64) -> Chunk {
    let bytes: Bytes = (0..PIECE_BYTES).map(|at| if at % 80 == 79 { b'\n' } else { at as u8 | 0x80 }).collect();
    let len = u32::try_from(bytes.len()).expect("short");
    Chunk { offset, bytes, spans: vec![Span { len, step: 1, stream: Stream::Stdout, at: Clock::system().now() }] }
}

fn spool(dir: &Path, attempt: AttemptRef) -> Spool {
    Spool::create(dir, &Owner { attempt, token: "token".to_owned() }).expect("made")
}

#[tokio::test]
async fn services_that_are_asked_in_turn_get_the_whole_log() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let attempt = AttemptRef { job: new_id(), epoch: 1 };
    let (api, services) = serve(&life, attempt, Services { received: vec![0; 2], ..Services::default() }).await;
    let shelf = Arc::new(Shelf::new(spool(dir.path(), attempt)));
    for at in 0..PIECES {
        shelf.append(&piece((at * PIECE_BYTES) as i64)).expect("appends");
    }
    shelf.close();
    let shipped = tokio::time::timeout(PATIENCE, ship(Arc::clone(&shelf), api, Clock::system())).await;
    assert!(shipped.is_ok() && !shelf.marks().given_up, "{:?}", shelf.marks());
    let asked = services.lock().expect("not poisoned").asked;
    assert!(asked <= PIECES * 15, "{asked} chunks were sent while each waited for the other");
}

/// What lies below is durable and no longer here.
#[tokio::test]
async fn a_service_that_asks_for_what_is_durable_may_learn_better() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let attempt = AttemptRef { job: new_id(), epoch: 1 };
    let start = PIECE_BYTES as i64;
    drop(spool(dir.path(), attempt));
    let encoded = piece(start).encode();
    let frame = [&u32::try_from(encoded.len()).expect("short").to_le_bytes()[..], &encoded].concat();
    std::fs::write(dir.path().join(format!("{start:016x}.part")), frame).expect("written");
    let shelf = Shelf::recovered(Spool::recover(dir.path()).expect("recovers").1).expect("reads");
    assert_eq!(shelf.start(), start);
    let told = Services { received: vec![0, 0], durable: start, unaware: 3, ..Services::default() };
    let (api, _services) = serve(&life, attempt, told).await;
    let shelf = Arc::new(shelf);
    let shipped = tokio::time::timeout(PATIENCE, ship(Arc::clone(&shelf), api, Clock::system())).await;
    assert!(shipped.is_ok() && !shelf.marks().given_up, "{:?}", shelf.marks());
}

/// What a former life sent was stored before the builder came back, so that its first chunk is answered with the whole log.
#[tokio::test]
async fn the_end_of_a_log_that_is_durable_already_is_announced() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let attempt = AttemptRef { job: new_id(), epoch: 1 };
    spool(dir.path(), attempt).append(&piece(0)).expect("appends");
    let shelf = Arc::new(Shelf::recovered(Spool::recover(dir.path()).expect("recovers").1).expect("reads"));
    let end = shelf.marks().end;
    let told = Services { received: vec![end], durable: end, ..Services::default() };
    let (api, services) = serve(&life, attempt, told).await;
    let shipped = tokio::time::timeout(PATIENCE, ship(Arc::clone(&shelf), api, Clock::system())).await;
    assert!(shipped.is_ok() && !shelf.marks().given_up, "{:?}", shelf.marks());
    assert_eq!(services.lock().expect("not poisoned").ends, [end]);
}
