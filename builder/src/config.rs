//! What an operator decides about one builder. Parsed by `app`; nothing here reads the environment.

use std::fmt;
use std::path::PathBuf;

use slipway_buildkit::socket::Address;
use slipway_domain::dockerfile::{RegistryMirrors, SyntaxAllow};
use slipway_runtime::egress::FetchAllow;
use slipway_runtime::trust::Trust;
use url::Url;

use crate::gate::Limits;

/// Everything that [`crate::agent::run`] needs to know.
#[derive(Clone)]
pub struct BuilderConfig {
    /// Base of the agent listener, `http(s)://host:port/`.
    pub server_url: Url,
    /// Made by an operator; binds this builder to one pool.
    pub join_token: String,
    /// Identity, workspaces and log spools; one process per folder.
    pub data_dir: PathBuf,
    /// For people.
    pub name: String,
    /// How many jobs run at once.
    pub slots: u32,
    /// The Docker engine.
    pub engine: Address,
    /// Whether the engine is shared between tenants.
    pub shared_engine: bool,
    /// Hosts and networks beyond the public internet that may be contacted.
    pub fetch_allow: FetchAllow,
    /// Programs that may build in place of the engine's own Dockerfile frontend.
    pub syntax_allow: SyntaxAllow,
    /// Where base images are asked for first.
    pub registry_mirrors: RegistryMirrors,
    /// Who is believed beside the system's authorities.
    pub trust: Trust,
    /// The broker with the pools' queues, if this builder has a path to it.
    pub bus_url: Option<String>,
    /// When the builder takes nothing new although a slot is free.
    pub limits: Limits,
}

impl fmt::Debug for BuilderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuilderConfig")
            .field("server_url", &self.server_url.as_str())
            .field("data_dir", &self.data_dir)
            .field("name", &self.name)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
