//! The one place that picks backends: by the URLs of the configuration.

use anyhow::Context as _;
use slipway_blobs::Blobs;
use slipway_bus::Bus;
use slipway_live::Live;
use slipway_runtime::config::Config;
use slipway_store::Db;

/// Every backend of a process that holds the truth.
#[derive(Clone)]
pub struct Backends {
    /// The truth.
    pub db: Db,
    /// Offers.
    pub bus: Bus,
    /// Wakes, cancels, log tails.
    pub live: Live,
    /// Logs.
    pub blobs: Blobs,
}

/// Opens all of them; the error names the setting.
pub async fn open(config: &Config) -> anyhow::Result<Backends> {
    Ok(Backends {
        db: Db::connect(&config.database_url).await.context("SLIPWAY_DATABASE_URL")?,
        bus: Bus::from_url(&config.bus_url).context("SLIPWAY_BUS_URL")?,
        live: Live::from_url(&config.live_url).context("SLIPWAY_LIVE_URL")?,
        blobs: Blobs::from_url(&config.blob_url).context("SLIPWAY_BLOB_URL")?,
    })
}
