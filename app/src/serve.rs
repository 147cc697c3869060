//! `slipway serve`: every role in one process on embedded backends, with one local builder that talks to the
//! control plane over loopback like any other.
//!
//! Two lifecycles: the first signal stops the local builder, which drains; the control plane stops when it
//! has, so that running builds can finish, report and hand in their logs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use slipway_api::state::{ApiConfig, ApiState};
use slipway_dispatcher::Dispatcher;
use slipway_domain::ids::JoinTokenId;
use slipway_domain::placement::Pool;
use slipway_runtime::clock::Clock;
use slipway_runtime::config::{Config, EngineHost};
use slipway_runtime::egress::Egress;
use slipway_runtime::ids::{new_id, token_hash};
use slipway_runtime::lifecycle::Life;
use slipway_runtime::secret_key::SecretKey;
use tokio::net::TcpListener;
use tracing::info;

use crate::files::DataDir;
use crate::remote_builder::{builder_config, loopback_url};
use crate::wire::{self, Backends};

/// After a second signal, the local builder hands its work back within this time.
const HAND_BACK: Duration = Duration::from_secs(10);
/// Open requests may end within this time when the control plane stops.
const REQUESTS: Duration = Duration::from_secs(3);
/// The class of builders and tenants that name none.
const DEFAULT_CLASS: &str = "standard";

/// The process, once everything is open.
struct Serve {
    config: Config,
    data_dir: DataDir,
    secret_key: SecretKey,
    backends: Backends,
    clock: Clock,
    /// Of the local builder; signals go here.
    builders: Life,
    /// Of everything else.
    control: Life,
    pool: Pool,
}

/// Runs until signals or a failed loop end it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder().context("cannot install the metrics recorder")?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let secret_key = match &config.secret_key {
        Some(key) => key.clone(),
        None => data_dir.secret_key()?,
    };
    let pool: Pool =
        format!("{}/{DEFAULT_CLASS}/{}", config.region, own_platform()).parse().context("SLIPWAY_REGION")?;
    let backends = wire::open(&config).await?;
    let serve = Serve {
        config,
        data_dir,
        secret_key,
        backends,
        clock: Clock::system(),
        builders: Life::new(),
        control: Life::new(),
        pool,
    };
    serve.run(metrics).await
}

impl Serve {
    async fn run(self, metrics: PrometheusHandle) -> anyhow::Result<()> {
        self.first_rows().await?;
        let (public, agents) = self.routers(metrics)?;
        let (listener, agent_listener) = self.bind().await?;
        let agent_address = match &agent_listener {
            Some(listener) => listener.local_addr()?,
            None => listener.local_addr()?,
        };
        info!(listen = %listener.local_addr()?, agents = %agent_address, database = self.backends.db.kind(), "ready");
        match agent_listener {
            Some(agent_listener) => {
                self.listen("API", listener, public);
                self.listen("agent listener", agent_listener, agents);
            }
            None => self.listen("API", listener, public.merge(agents)),
        }
        self.builders.listen_to_signals()?;
        if self.config.slots > 0 {
            self.local_builder(agent_address).await?;
        }
        self.wait().await
    }

    /// The default tenant and the first operator exist from the start.
    async fn first_rows(&self) -> anyhow::Result<()> {
        let db = &self.backends.db;
        let now = db.now(&self.clock).await?;
        db.ensure_default_tenant(now).await?;
        let (token, fresh) = match &self.config.bootstrap_token {
            Some(token) => (token.clone(), false),
            None => self.data_dir.bootstrap_token()?,
        };
        db.ensure_bootstrap_token(&token_hash(&token), now).await?;
        if fresh {
            println!("The first operator's token, shown only now and kept in the data folder: {token}");
        }
        Ok(())
    }

    fn routers(&self, metrics: PrometheusHandle) -> anyhow::Result<(Router, Router)> {
        let Backends { db, bus, live, blobs } = self.backends.clone();
        let (clock, life) = (self.clock.clone(), self.control.clone());
        let egress = Egress::new(self.config.fetch_allow.clone());
        let dispatcher = Dispatcher::new(slipway_dispatcher::Deps {
            db: db.clone(),
            bus,
            live: live.clone(),
            secret_key: self.secret_key.clone(),
            egress: egress.clone(),
            clock: clock.clone(),
            life: life.clone(),
            trust_tenants: self.config.trust_tenants,
        });
        dispatcher.start();
        slipway_scheduler::start(slipway_scheduler::Deps {
            db: db.clone(),
            live: live.clone(),
            clock: clock.clone(),
            life: life.clone(),
        });
        let logs = slipway_logsvc::start(slipway_logsvc::Deps {
            db: db.clone(),
            blobs,
            live: live.clone(),
            clock: clock.clone(),
            life: life.clone(),
        });
        let api = ApiState {
            db,
            live,
            secret_key: self.secret_key.clone(),
            clock,
            life,
            egress,
            metrics,
            config: Arc::new(self.api_config()),
        };
        slipway_api::run(&api);
        let public = slipway_api::router(api)?.merge(slipway_logsvc::public_router(&logs));
        Ok((public, dispatcher.router().merge(slipway_logsvc::router(&logs))))
    }

    fn api_config(&self) -> ApiConfig {
        ApiConfig {
            public_url: self.config.public_url.clone(),
            trust_tenants: self.config.trust_tenants,
            shared_engine: match self.config.engine_host {
                EngineHost::Shared => true,
            },
            fetch_allow: self.config.fetch_allow.clone(),
            region: self.config.region.clone(),
            class: DEFAULT_CLASS.to_owned(),
            platform: own_platform(),
        }
    }

    async fn bind(&self) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
        let bind = async |address: SocketAddr, setting: &'static str| {
            TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
        };
        let listener = bind(self.config.listen, "SLIPWAY_LISTEN").await?;
        let agents = match self.config.agent_listen {
            Some(address) => Some(bind(address, "SLIPWAY_AGENT_LISTEN").await?),
            None => None,
        };
        Ok((listener, agents))
    }

    fn listen(&self, name: &'static str, listener: TcpListener, router: Router) {
        let life = self.control.clone();
        self.control.spawn(name, async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service)
                .with_graceful_shutdown(async move { life.stopping().await })
                .await
                .context("cannot accept connections")
        });
    }

    /// The local builder joins by a token that only this process can make, the same after every start.
    async fn local_builder(&self, agents: SocketAddr) -> anyhow::Result<()> {
        let token = self.secret_key.derive_token("slj", "join:local builder");
        let db = &self.backends.db;
        let now = db.now(&self.clock).await?;
        db.create_join_token(new_id::<JoinTokenId>(), &token_hash(&token), &self.pool, now).await?;
        let folder = self.data_dir.path().join("builder");
        let config = builder_config(&self.config, loopback_url(agents)?, token, folder)?;
        let (clock, life) = (self.clock.clone(), self.builders.clone());
        self.builders.spawn("local builder", async move {
            slipway_builder::agent::run(config, clock, life.clone()).await?;
            // An operator drained it: the rest of the process goes on without a local builder.
            life.stopping().await;
            Ok(())
        });
        Ok(())
    }

    async fn wait(self) -> anyhow::Result<()> {
        builders_ended(&self.builders, &self.control).await;
        self.control.stop();
        if tokio::time::timeout(REQUESTS, self.control.wait(REQUESTS)).await.is_err() {
            self.control.kill();
            self.control.wait(REQUESTS).await;
        }
        self.backends.db.close().await;
        if self.builders.has_failed() || self.control.has_failed() {
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

/// The platform of this machine as pools name it.
fn own_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}-{architecture}", std::env::consts::OS)
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
