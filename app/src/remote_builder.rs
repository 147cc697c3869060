//! `slipway builder`: a builder that joins a control plane elsewhere. It has no database, bus or storage.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use slipway_builder::config::BuilderConfig;
use slipway_builder::gate::Limits;
use slipway_buildkit::socket::Address;
use slipway_runtime::clock::Clock;
use slipway_runtime::config::{Config, EngineHost};
use slipway_runtime::lifecycle::Life;
use url::Url;

use crate::notify;

/// After a second signal, work is handed back within this time.
const HAND_BACK: Duration = Duration::from_secs(10);

/// Runs until a signal drained it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let Some(server_url) = config.server_url.clone() else {
        bail!("SLIPWAY_SERVER_URL is not set: the address of the control plane's agent listener");
    };
    let Some(join_token) = config.join_token.clone() else {
        bail!("SLIPWAY_JOIN_TOKEN is not set: an operator makes one with `slipway builders token`");
    };
    let life = Life::new();
    life.listen_to_signals()?;
    notify::attend(&life);
    // It waits for engine and control plane by itself, however long they are away.
    notify::ready();
    let mut builder = builder_config(&config, server_url, join_token, config.data_dir.clone())?;
    builder.bus_url = Some(config.bus_url.clone()).filter(|url| url != "memory:");
    slipway_builder::agent::run(builder, Clock::system(), life.clone()).await?;
    life.stop();
    life.wait(HAND_BACK).await;
    Ok(())
}

/// What a builder needs of the configuration, local or remote.
pub fn builder_config(
    config: &Config,
    server_url: Url,
    join_token: String,
    data_dir: std::path::PathBuf,
) -> anyhow::Result<BuilderConfig> {
    Ok(BuilderConfig {
        server_url,
        join_token,
        data_dir,
        name: config.builder_name.clone().unwrap_or_else(host_name),
        slots: u32::try_from(config.slots.max(1)).unwrap_or(1),
        engine: Address::from_docker_host().context("DOCKER_HOST")?,
        shared_engine: match config.engine_host {
            EngineHost::Shared => true,
        },
        fetch_allow: config.fetch_allow.clone(),
        syntax_allow: config.syntax_allow.clone(),
        registry_mirrors: config.registry_mirrors.clone(),
        trust: config.trust.clone(),
        bus_url: None,
        limits: Limits {
            cache_high: f64::from(config.cache_high) / 100.0,
            cache_low: f64::from(config.cache_low) / 100.0,
            ..Limits::default()
        },
    })
}

/// Where a builder on this machine reaches a listener.
pub fn loopback_url(listener: SocketAddr) -> anyhow::Result<Url> {
    let ip = match listener.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    Ok(format!("http://{}/", SocketAddr::new(ip, listener.port())).parse()?)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "builder".to_owned())
}
