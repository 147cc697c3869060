//! `slipway serve`: every role in one process on embedded backends, with one local builder that talks to the
//! control plane over loopback like any other.
//!
//! Two lifecycles: the first signal stops the local builder, which drains; the control plane stops when it
//! has, so that running builds can finish, report and hand in their logs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use slipway_domain::ids::JoinTokenId;
use slipway_domain::placement::Pool;
use slipway_runtime::clock::Clock;
use slipway_runtime::config::Config;
use slipway_runtime::health::Health;
use slipway_runtime::ids::{new_id, token_hash};
use slipway_runtime::lifecycle::Life;
use slipway_runtime::ops::Ops;
use slipway_runtime::secret_key::SecretKey;
use tracing::info;

use crate::control::{Control, DEFAULT_CLASS, install_metrics, own_platform};
use crate::files::DataDir;
use crate::listen::Listeners;
use crate::notify;
use crate::remote_builder::{builder_config, loopback_url};
use crate::wire::{Wire, tell_changes};

/// After a second signal, the local builder hands its work back within this time.
const HAND_BACK: Duration = Duration::from_secs(10);
/// Open requests may end within this time when the control plane stops.
const REQUESTS: Duration = Duration::from_secs(3);
/// Database connections, where the database is a server.
const CONNECTIONS: u32 = 16;

/// The process, once everything is open.
struct Serve {
    control: Control,
    data_dir: DataDir,
    secret_key: SecretKey,
    /// Of the local builder; signals go here.
    builders: Life,
    pool: Pool,
}

/// Runs until signals or a failed loop end it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let secret_key = match &config.secret_key {
        Some(key) => key.clone(),
        None => data_dir.secret_key()?,
    };
    let pool: Pool =
        format!("{}/{DEFAULT_CLASS}/{}", config.region, own_platform()).parse().context("SLIPWAY_REGION")?;
    let config = Arc::new(config);
    let (builders, life, clock) = (Life::new(), Life::new(), Clock::system());
    let health = Health::default();
    let ops = Ops { health: health.clone(), metrics: install_metrics()?, life: life.clone() };
    let wire = Wire { config: Arc::clone(&config), health, clock: clock.clone(), life: life.clone() };
    let listeners = Listeners::open(&config, ops.clone(), &life).await?;
    builders.listen_to_signals()?;
    notify::attend(&builders);
    let connected = tokio::select! {
        connected = wire.database(CONNECTIONS) => connected?,
        () = builders.stopping() => None,
    };
    let Some(db) = connected else {
        info!("stopped before the database was there");
        return Ok(());
    };
    life.spawn("dependencies", tell_changes(wire.health.clone(), clock.clone(), life.clone()));
    let control =
        Control { config, db, live: wire.live()?, clock, life, health: wire.health.clone(), metrics: ops.metrics };
    let serve = Serve { control, data_dir, secret_key, builders, pool };
    serve.run(&wire, &listeners).await
}

impl Serve {
    async fn run(self, wire: &Wire, listeners: &Listeners) -> anyhow::Result<()> {
        self.first_rows().await?;
        let agents = self.control.dispatcher(self.secret_key.clone(), wire.bus()?);
        self.control.scheduler();
        let blobs = wire.blobs()?;
        let logs = self.control.logsvc(blobs.clone());
        let public =
            self.control.api(self.secret_key.clone(), Some(blobs.clone()))?.merge(slipway_logsvc::public_router(&logs));
        listeners.let_in(&self.control.sign_ins(), public, agents.merge(slipway_logsvc::router(&logs)));
        let database = self.control.db.kind();
        info!(listen = %listeners.address, agents = %listeners.agent_address, database, "ready");
        if self.control.config.slots > 0 {
            self.local_builder(listeners.agent_address).await?;
        }
        self.wait().await
    }

    /// The first operator's token is made here where nobody set one.
    async fn first_rows(&self) -> anyhow::Result<()> {
        let (token, fresh) = match &self.control.config.bootstrap_token {
            Some(token) => (token.clone(), false),
            None => self.data_dir.bootstrap_token()?,
        };
        self.control.first_rows(Some(&token)).await?;
        if fresh {
            println!("The first operator's token, shown only now and kept in the data folder: {token}");
        }
        Ok(())
    }

    /// The local builder joins by a token that only this process can make, the same after every start.
    async fn local_builder(&self, agents: SocketAddr) -> anyhow::Result<()> {
        let token = self.secret_key.derive_token("slj", "join:local builder");
        let Control { config, db, clock, .. } = &self.control;
        let now = db.now(clock).await?;
        db.create_join_token(new_id::<JoinTokenId>(), &token_hash(&token), &self.pool, now).await?;
        let folder = self.data_dir.path().join("builder");
        let config = builder_config(config, loopback_url(agents)?, token, folder)?;
        let (clock, life) = (clock.clone(), self.builders.clone());
        self.builders.spawn("local builder", async move {
            slipway_builder::agent::run(config, clock, life.clone()).await?;
            // An operator drained it: the rest of the process goes on without a local builder.
            life.stopping().await;
            Ok(())
        });
        Ok(())
    }

    async fn wait(self) -> anyhow::Result<()> {
        let life = &self.control.life;
        builders_ended(&self.builders, life).await;
        life.stop();
        if tokio::time::timeout(REQUESTS, life.wait(REQUESTS)).await.is_err() {
            life.kill();
            life.wait(REQUESTS).await;
        }
        self.control.db.close().await;
        if self.builders.has_failed() || life.has_failed() {
            bail!("a part of the service failed; the log says which");
        }
        info!("stopped");
        Ok(())
    }
}

/// Waits until the builders drained. When the control plane fails first, nobody hears them any more: they end now,
/// and what they held is tried again.
async fn builders_ended(builders: &Life, control: &Life) {
    let drained = async {
        builders.stopping().await;
        builders.wait(HAND_BACK).await;
    };
    tokio::select! {
        () = drained => {}
        () = control.stopping() => {
            builders.kill();
            builders.wait(HAND_BACK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_control_plane_waits_for_no_build() {
        let (builders, control) = (Life::new(), Life::new());
        let build = builders.clone();
        builders.errand("a long build", async move { build.killed().await });
        builders.stop();
        control.spawn("a part", async { bail!("on purpose") });
        let ended = tokio::time::timeout(HAND_BACK * 2, builders_ended(&builders, &control)).await;
        assert!(ended.is_ok(), "the drain of a builder that nobody hears has no end");
    }

    #[tokio::test]
    async fn builders_may_finish_what_they_have_while_the_control_plane_is_well() {
        let (builders, control) = (Life::new(), Life::new());
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        builders.errand("a build", async move { assert!(finished.await.is_ok()) });
        builders.stop();
        let mut ended = std::pin::pin!(builders_ended(&builders, &control));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut ended).await.is_err());
        assert!(finish.send(()).is_ok());
        ended.await;
    }
}
