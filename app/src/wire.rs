//! The one place that picks backends: by the URLs of the configuration.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use slipway_blobs::Blobs;
use slipway_bus::Bus;
use slipway_live::Live;
use slipway_runtime::backoff::Backoff;
use slipway_runtime::clock::Clock;
use slipway_runtime::config::Config;
use slipway_runtime::health::{Health, Need};
use slipway_runtime::lifecycle::Life;
use slipway_store::{Db, StoreError};
use tracing::{info, warn};

/// First and longest pause before the next try to reach a database.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What opening takes.
#[derive(Clone)]
pub struct Wire {
    /// The URLs.
    pub config: Arc<Config>,
    /// Told of everything that is opened.
    pub health: Health,
    /// Time.
    pub clock: Clock,
    /// Ends waiting.
    pub life: Life,
}

impl Wire {
    /// Connects to the database. A server that cannot be reached or refuses us is tried again until the process
    /// stops, because it may heal; a file that cannot be opened is an error at once. `None` when it stops first.
    pub async fn database(&self, connections: u32) -> anyhow::Result<Option<Db>> {
        let url = &self.config.database_url;
        let last: Arc<Mutex<String>> = Arc::new(Mutex::new("not connected yet".to_owned()));
        let shown = Arc::clone(&last);
        self.health.watch("database", Need::Required, move || {
            let problem = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            async move { Err(problem) }
        });
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let problem = match Db::connect_sized(url, connections).await {
                Ok(db) => {
                    db.watch(&self.health);
                    return Ok(Some(db));
                }
                Err(error @ StoreError::BadUrl(_)) => return Err(error).context("SLIPWAY_DATABASE_URL"),
                Err(error) if url.starts_with("sqlite:") => return Err(error).context("SLIPWAY_DATABASE_URL"),
                Err(error) => format!("SLIPWAY_DATABASE_URL: {error}"),
            };
            let pause = backoff.pause();
            warn!(retry_ms = pause.as_millis(), "{problem}");
            *last.lock().unwrap_or_else(PoisonError::into_inner) = problem;
            tokio::select! {
                () = self.life.stopping() => return Ok(None),
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    /// Opens the bus; its broker may come and go.
    pub fn bus(&self) -> anyhow::Result<Bus> {
        let bus = Bus::open(&self.config.bus_url, &self.life, &self.clock).context("SLIPWAY_BUS_URL")?;
        bus.connect();
        let watched = bus.clone();
        self.health.watch("bus", Need::Helpful, move || {
            let health = watched.health().map_err(|problem| format!("SLIPWAY_BUS_URL: {problem}"));
            async move { health }
        });
        Ok(bus)
    }

    /// Opens the fan-out; its server may come and go.
    pub fn live(&self) -> anyhow::Result<Live> {
        let live = Live::open(&self.config.live_url, &self.life, &self.clock).context("SLIPWAY_LIVE_URL")?;
        let watched = live.clone();
        self.health.watch("live", Need::Helpful, move || {
            let health = watched.health().map_err(|problem| format!("SLIPWAY_LIVE_URL: {problem}"));
            async move { health }
        });
        Ok(live)
    }

    /// Opens the object storage; it may come and go.
    pub fn blobs(&self) -> anyhow::Result<Blobs> {
        let blobs = Blobs::from_url(&self.config.blob_url).context("SLIPWAY_BLOB_URL")?;
        let (watched, proven) = (blobs.clone(), Arc::new(AtomicBool::new(false)));
        self.health.watch("blobs", Need::Helpful, move || {
            let (blobs, proven) = (watched.clone(), Arc::clone(&proven));
            async move { usable(&blobs, &proven).await.map_err(|error| format!("SLIPWAY_BLOB_URL: {error}")) }
        });
        Ok(blobs)
    }
}

/// Looks whether the store answers, and once whether it keeps what is written once.
async fn usable(blobs: &Blobs, proven: &AtomicBool) -> slipway_blobs::Result<()> {
    blobs.check().await?;
    if !proven.load(Ordering::Acquire) {
        blobs.prove_write_once().await?;
        proven.store(true, Ordering::Release);
    }
    Ok(())
}

/// Says in the log when a dependency goes and when it is back.
pub async fn tell_changes(health: Health, clock: Clock, life: Life) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_secs(5);
    let mut out: Vec<(&'static str, String)> = Vec::new();
    loop {
        tokio::select! {
            () = life.stopping() => return Ok(()),
            () = clock.sleep(PAUSE) => {}
        }
        let findings = health.examine().await;
        for finding in &findings {
            metrics::gauge!("slipway_dependency_up", "dependency" => finding.name).set(if finding.problem.is_none() {
                1.0
            } else {
                0.0
            });
        }
        let now: Vec<(&'static str, String)> =
            findings.into_iter().filter_map(|finding| Some((finding.name, finding.problem?))).collect();
        for (name, problem) in now.iter().filter(|entry| !out.contains(entry)) {
            warn!(dependency = name, problem, "a dependency is out");
        }
        for (name, _) in out.iter().filter(|(name, _)| !now.iter().any(|(other, _)| other == name)) {
            info!(dependency = name, "a dependency is back");
        }
        out = now;
    }
}

/// Refuses what only one process can use.
pub fn check_shared(config: &Config, needs: &[Shared]) -> anyhow::Result<()> {
    for need in needs {
        let (setting, url, own, write) = match need {
            Shared::Database => {
                ("SLIPWAY_DATABASE_URL", &config.database_url, "sqlite:", "postgres://user@host/database")
            }
            Shared::Bus => ("SLIPWAY_BUS_URL", &config.bus_url, "memory:", "amqp://user@host/vhost"),
            Shared::Live => ("SLIPWAY_LIVE_URL", &config.live_url, "memory:", "redis://host"),
        };
        if url.starts_with(own) {
            bail!("{setting} is {own}…, which only `slipway serve` can use; a role of its own needs {write}");
        }
    }
    Ok(())
}

/// What processes share.
#[derive(Debug, Clone, Copy)]
pub enum Shared {
    /// The truth.
    Database,
    /// Offers.
    Bus,
    /// Wakes and tails.
    Live,
}
