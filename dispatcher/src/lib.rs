//! Who runs a job: builder sessions, offers, claims, reports, leave, and what becomes of the jobs of
//! builders that vanish.

mod attempts;
mod auth;
mod batches;
mod cancels;
mod choice;
mod claims;
mod credentials;
mod declines;
mod feeds;
mod fleet;
mod lost;
mod offers;
mod renewals;
#[cfg(test)]
mod scene;
mod sessions;
mod sweep;
mod tally;
mod warmth;

use axum::Router;
use axum::routing::{get, post};
use slipway_bus::Bus;
use slipway_forges::access::AppTokens;
use slipway_live::{Live, Topic, WakeKind};
use slipway_runtime::batch::Batcher;
use slipway_runtime::breakers::Breakers;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;
use slipway_runtime::health::Health;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::secret_key::SecretKey;
use slipway_runtime::wake::Wake;
use slipway_store::Db;

use crate::batches::{Claims, Finishes};
use crate::feeds::Feeds;
use crate::fleet::Fleet;
use crate::renewals::Renewals;

/// Everything the dispatcher stands on. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// The truth.
    pub db: Db,
    /// Offers.
    pub bus: Bus,
    /// Wakes and page updates.
    pub live: Live,
    /// Signs attempt tokens, opens credentials.
    pub secret_key: SecretKey,
    /// Guards the way to registries.
    pub egress: Egress,
    /// Time.
    pub clock: Clock,
    /// Tasks.
    pub life: Life,
    /// Several tenants may share one engine; an operator says so.
    pub trust_tenants: bool,
}

/// The dispatcher's own state: who is connected to this process just now.
#[derive(Clone)]
pub struct Dispatcher {
    deps: Deps,
    fleet: Fleet,
    feeds: Feeds,
    renewals: Renewals,
    claims: Batcher<Claims>,
    finishes: Batcher<Finishes>,
    /// Tokens that GitHub Apps made.
    app_tokens: AppTokens,
    /// Which registries are asked at all.
    registries: Breakers,
    /// Rings when an offer might find a taker.
    offers: Wake,
    /// Rings when a running job might have to be stopped.
    cancels: Wake,
}

impl Dispatcher {
    /// A dispatcher that nobody is connected to.
    pub fn new(deps: Deps) -> Self {
        Self {
            app_tokens: AppTokens::default(),
            registries: sweep::breakers(deps.clock.clone()),
            claims: Batcher::new(Claims(deps.clone()), deps.life.clone()),
            finishes: Batcher::new(Finishes(deps.clone()), deps.life.clone()),
            deps,
            fleet: Fleet::default(),
            feeds: Feeds::default(),
            renewals: Renewals::default(),
            offers: Wake::default(),
            cancels: Wake::default(),
        }
    }

    /// Adds registries that are out to what the process tells of its health.
    pub fn watch(&self, health: &Health) {
        self.registries.watch(health);
    }

    /// The routes that builders call, for the agent listener.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/agent/v1/sessions", post(sessions::open))
            .route("/agent/v1/sessions/{session}/channel", get(sessions::channel))
            .route("/agent/v1/claims", post(claims::claim))
            .route("/agent/v1/attempts/{job}/{epoch}/report", post(attempts::report))
            .route("/agent/v1/attempts/{job}/{epoch}/credentials", get(credentials::credentials))
            .route("/agent/v1/attempts/{job}/{epoch}/leave", post(attempts::leave))
            .route("/agent/v1/attempts/{job}/{epoch}/leave/return", post(attempts::leave_return))
            .route("/agent/v1/attempts/{job}/{epoch}/cache", post(attempts::cache))
            .route("/agent/v1/attempts/{job}/{epoch}/finish", post(attempts::finish))
            .with_state(self.clone())
    }

    /// Starts the loops; they live as long as the process.
    pub fn start(&self) {
        tally::begin();
        let life = &self.deps.life;
        life.spawn("offers", offers::run(self.clone()));
        life.spawn("renewals", renewals::run(self.clone()));
        life.spawn("lost builders", lost::run(self.clone()));
        life.spawn("cancels", cancels::run(self.clone()));
        life.spawn("unreturned leaves", sweep::run(self.clone()));
        life.spawn("dispatcher wakes", forward_wakes(self.clone()));
    }

    /// Tells pages and other services that jobs ended or went back.
    fn jobs_changed(&self) {
        self.deps.live.publish(Topic::Wake(WakeKind::Finished), Default::default());
        self.deps.live.publish(Topic::Wake(WakeKind::Jobs), Default::default());
    }
}

/// Turns wakes of other services into rings of our own loops.
async fn forward_wakes(dispatcher: Dispatcher) -> anyhow::Result<()> {
    let live = &dispatcher.deps.live;
    let mut ready = live.subscribe(Topic::Wake(WakeKind::Ready)).await;
    let mut cancels = live.subscribe(Topic::Wake(WakeKind::Cancels)).await;
    loop {
        tokio::select! {
            () = dispatcher.deps.life.stopping() => return Ok(()),
            _ = ready.next() => dispatcher.offers.ring(),
            _ = cancels.next() => dispatcher.cancels.ring(),
        }
    }
}
