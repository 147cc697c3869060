//! `slipway api|scheduler|dispatcher|logsvc`: one role per process, any number of each, on backends that they
//! share. Any of them may be stopped or killed at any time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use slipway_runtime::clock::Clock;
use slipway_runtime::config::Config;
use slipway_runtime::health::Health;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::ops::Ops;
use slipway_runtime::secret_key::SecretKey;
use tracing::info;

use crate::control::{Control, install_metrics};
use crate::listen::Listeners;
use crate::notify;
use crate::wire::{Shared, Wire, check_shared, tell_changes};

/// Open requests may end within this time when the process stops.
const REQUESTS: Duration = Duration::from_secs(3);

/// A service with a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Hooks, REST, pages, statuses.
    Api,
    /// What may run.
    Scheduler,
    /// Who runs it.
    Dispatcher,
    /// Logs.
    Logsvc,
}

impl Role {
    /// As it is called on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Scheduler => "scheduler",
            Self::Dispatcher => "dispatcher",
            Self::Logsvc => "logsvc",
        }
    }

    /// Database connections that it may open. Two of each role stay well below PostgreSQL's default of 100.
    const fn connections(self) -> u32 {
        match self {
            Self::Api | Self::Dispatcher => 12,
            Self::Scheduler => 4,
            Self::Logsvc => 8,
        }
    }

    const fn shares(self) -> &'static [Shared] {
        match self {
            Self::Api | Self::Scheduler | Self::Logsvc => &[Shared::Database, Shared::Live],
            Self::Dispatcher => &[Shared::Database, Shared::Bus, Shared::Live],
        }
    }

    /// Refuses settings with which this role cannot work beside others.
    pub fn check(self, config: &Config) -> anyhow::Result<()> {
        check_shared(config, self.shares())?;
        let (Self::Api | Self::Dispatcher) = self else { return Ok(()) };
        if config.secret_key.is_none() {
            bail!(
                "SLIPWAY_SECRET_KEY is not set; `slipway {}` needs the installation's key (base64 of 32 bytes, \
                 the same for every api and dispatcher)",
                self.name()
            );
        }
        Ok(())
    }
}

/// Runs until a signal or a failed loop ends it.
pub async fn run(role: Role, config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let wire =
        Wire { config: Arc::clone(&config), health: Health::default(), clock: Clock::system(), life: Life::new() };
    let ops = Ops { health: wire.health.clone(), metrics: install_metrics()?, life: wire.life.clone() };
    wire.life.listen_to_signals()?;
    notify::attend(&wire.life);
    let listeners = Listeners::open(&config, ops.clone(), &wire.life).await?;
    wire.life.spawn("dependencies", tell_changes(wire.health.clone(), wire.clock.clone(), wire.life.clone()));
    let Some(db) = wire.database(role.connections()).await? else {
        info!(role = role.name(), "stopped before the database was there");
        return Ok(());
    };
    let control = Control {
        config: Arc::clone(&config),
        db,
        live: wire.live()?,
        clock: wire.clock.clone(),
        life: wire.life.clone(),
        health: wire.health.clone(),
        metrics: ops.metrics,
    };
    let (public, agents) = start(role, &control, &wire).await?;
    listeners.let_in(&control.sign_ins(), public, agents);
    info!(role = role.name(), listen = %listeners.address, agents = %listeners.agent_address, "ready");
    stop(control).await
}

/// Starts the role; gives its routes for everybody and for builders.
async fn start(role: Role, control: &Control, wire: &Wire) -> anyhow::Result<(Router, Router)> {
    Ok(match role {
        Role::Api => {
            control.first_rows(control.config.bootstrap_token.as_deref()).await?;
            // A folder of this host is nothing that several processes could share.
            let blobs = if control.config.blob_url.starts_with("file:") { None } else { Some(wire.blobs()?) };
            (control.api(secret_key(control)?, blobs)?, Router::new())
        }
        Role::Scheduler => {
            control.scheduler();
            (Router::new(), Router::new())
        }
        Role::Dispatcher => (Router::new(), control.dispatcher(secret_key(control)?, wire.bus()?)),
        Role::Logsvc => {
            let logs = control.logsvc(wire.blobs()?);
            (slipway_logsvc::public_router(&logs), slipway_logsvc::router(&logs))
        }
    })
}

fn secret_key(control: &Control) -> anyhow::Result<SecretKey> {
    control.config.secret_key.clone().context("SLIPWAY_SECRET_KEY is not set")
}

async fn stop(control: Control) -> anyhow::Result<()> {
    control.life.stopping().await;
    if tokio::time::timeout(REQUESTS, control.life.wait(REQUESTS)).await.is_err() {
        control.life.kill();
        control.life.wait(REQUESTS).await;
    }
    control.db.close().await;
    if control.life.has_failed() {
        bail!("a part of the service failed; the log says which");
    }
    info!("stopped");
    Ok(())
}
