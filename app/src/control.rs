//! The services of the control plane as this binary starts them, all in one process or each in its own.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusHandle;
use slipway_api::state::{ApiConfig, ApiState};
use slipway_blobs::Blobs;
use slipway_bus::Bus;
use slipway_dispatcher::Dispatcher;
use slipway_live::Live;
use slipway_logsvc::Logs;
use slipway_runtime::clock::Clock;
use slipway_runtime::config::{Config, EngineHost};
use slipway_runtime::egress::Egress;
use slipway_runtime::health::Health;
use slipway_runtime::ids::token_hash;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;

use crate::sign_ins::SignIns;

/// The class of builders and tenants that name none.
pub const DEFAULT_CLASS: &str = "standard";

/// What every service stands on.
#[derive(Clone)]
pub struct Control {
    /// The settings.
    pub config: Arc<Config>,
    /// The truth.
    pub db: Db,
    /// Wakes, cancels, log tails.
    pub live: Live,
    /// Time.
    pub clock: Clock,
    /// Tasks.
    pub life: Life,
    /// What the process depends on.
    pub health: Health,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}

impl Control {
    /// The default tenant exists from the start, all tenants follow their plans, and the first operator where a token is set.
    pub async fn first_rows(&self, bootstrap_token: Option<&str>) -> anyhow::Result<()> {
        let now = self.db.now(&self.clock).await?;
        self.db.ensure_default_tenant(now).await?;
        self.db.follow_plans(&self.config.plans).await?;
        if let Some(token) = bootstrap_token {
            self.db.ensure_bootstrap_token(&token_hash(token), now).await?;
        }
        Ok(())
    }

    /// Starts `api`; gives its routes for everybody.
    pub fn api(&self, secret_key: SecretKey, blobs: Option<Blobs>) -> anyhow::Result<Router> {
        let forges = slipway_api::forge::breakers(self.clock.clone());
        forges.watch(&self.health);
        let api = ApiState {
            db: self.db.clone(),
            live: self.live.clone(),
            secret_key,
            blobs,
            clock: self.clock.clone(),
            life: self.life.clone(),
            egress: self.egress(),
            forges,
            app_tokens: slipway_api::AppTokens::default(),
            handover: slipway_api::Handover::default(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            config: Arc::new(self.api_config()),
        };
        slipway_api::run(&api);
        slipway_api::router(api)
    }

    /// Starts `scheduler`.
    pub fn scheduler(&self) {
        slipway_scheduler::start(slipway_scheduler::Deps {
            db: self.db.clone(),
            live: self.live.clone(),
            clock: self.clock.clone(),
            life: self.life.clone(),
        });
    }

    /// Starts `dispatcher`; gives its routes for builders.
    pub fn dispatcher(&self, secret_key: SecretKey, bus: Bus) -> Router {
        let dispatcher = Dispatcher::new(slipway_dispatcher::Deps {
            db: self.db.clone(),
            bus,
            live: self.live.clone(),
            secret_key,
            egress: self.egress(),
            clock: self.clock.clone(),
            life: self.life.clone(),
            trust_tenants: self.config.trust_tenants,
        });
        dispatcher.watch(&self.health);
        dispatcher.start();
        dispatcher.router()
    }

    /// Starts `logsvc`.
    pub fn logsvc(&self, blobs: Blobs) -> Logs {
        let logs = slipway_logsvc::start(slipway_logsvc::Deps {
            db: self.db.clone(),
            blobs,
            live: self.live.clone(),
            clock: self.clock.clone(),
            life: self.life.clone(),
        });
        logs.watch(&self.health);
        logs
    }

    /// What stands in front of every route that takes tokens.
    pub fn sign_ins(&self) -> SignIns {
        SignIns::new(self.live.clone(), self.clock.clone(), self.config.trusted_proxies.clone())
    }

    fn egress(&self) -> Egress {
        Egress::new(self.config.fetch_allow.clone()).trusting(self.config.trust.clone())
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
            plans: self.config.plans.clone(),
            platform: own_platform(),
            builds_per_minute: self.config.tenant_builds_per_minute,
            writes_per_minute: self.config.tenant_writes_per_minute,
            reconcile_every: match self.config.reconcile_secs {
                0 => None,
                secs => Some(TimeDelta::seconds(secs.into())),
            },
        }
    }
}

/// The recorder behind `/metrics`; once per process.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .context("cannot install the metrics recorder")
}

/// The platform of this machine as pools name it.
pub fn own_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}-{architecture}", std::env::consts::OS)
}
