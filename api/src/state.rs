//! What every handler of this service stands on.

use std::sync::Arc;

use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusHandle;
use slipway_blobs::Blobs;
use slipway_domain::plan::Plans;
use slipway_forges::access::AppTokens;
use slipway_live::Live;
use slipway_runtime::breakers::Breakers;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::{Egress, FetchAllow};
use slipway_runtime::health::Health;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::ops::Ops;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;
use url::Url;

use crate::intake::Handover;

/// Cheap to clone; all clones share everything.
#[derive(Clone)]
pub struct ApiState {
    /// The truth.
    pub db: Db,
    /// Doorbells to the other services.
    pub live: Live,
    /// Opens and seals secrets at rest.
    pub secret_key: SecretKey,
    /// Time.
    pub clock: Clock,
    /// Tasks of this process.
    pub life: Life,
    /// Where large bodies lie, if this process has object storage.
    pub blobs: Option<Blobs>,
    /// The guard in front of every host that a tenant chose.
    pub egress: Egress,
    /// Which forges are called at all; [`crate::forge::breakers`].
    pub forges: Breakers,
    /// Tokens that GitHub Apps made.
    pub app_tokens: AppTokens,
    /// Deliveries on their way to the loop that works them.
    pub handover: Handover,
    /// What this process depends on.
    pub health: Health,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// What the operator set.
    pub config: Arc<ApiConfig>,
}

impl ApiState {
    /// What operators ask of this process.
    pub fn ops(&self) -> Ops {
        Ops { health: self.health.clone(), metrics: self.metrics.clone(), life: self.life.clone() }
    }
}

/// What the operator set, as far as this service needs it.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where users and forges reach this service; ends with `/`.
    pub public_url: Url,
    /// Several tenants may share one engine.
    pub trust_tenants: bool,
    /// The installation's builders use one engine for all tenants.
    pub shared_engine: bool,
    /// Exceptions to "public addresses over https or ssh only".
    pub fetch_allow: FetchAllow,
    /// Region of jobs that ask for none.
    pub region: String,
    /// Class of join tokens and tenants that name none.
    pub class: String,
    /// What tenants may use.
    pub plans: Plans,
    /// Platform of jobs that ask for none, `linux-amd64`.
    pub platform: String,
    /// How often the refs of each active project are looked at; `None` is never.
    pub reconcile_every: Option<TimeDelta>,
    /// Builds that a tenant's members may ask for; 0 means any number.
    pub builds_per_minute: u32,
    /// Changes that a tenant's members may ask for; 0 means any number.
    pub writes_per_minute: u32,
}

impl ApiConfig {
    /// An absolute URL of this service.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.public_url.as_str().trim_end_matches('/'), path.trim_start_matches('/'))
    }
}
