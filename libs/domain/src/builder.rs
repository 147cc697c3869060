//! Builders and their sessions as others see them.

use serde::{Deserialize, Serialize};

use crate::ids::ProjectId;
use crate::text_enum::text_enum;

/// Most projects that a builder tells of; the ones used last.
pub const CACHED_PROJECTS_MAX: usize = 200;

text_enum! {
    /// How a builder stands.
    BuilderState {
        /// Its session is alive and takes offers.
        Online = "online",
        /// Finishes what it has, takes nothing new.
        Draining = "draining",
        /// Its channel closed or it is silent, but not long enough to be lost.
        Suspect = "suspect",
        /// Its session ended without a goodbye.
        Lost = "lost",
        /// It said goodbye.
        Offline = "offline",
    }
}

/// How busy a builder's host is, as sent with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Jobs running now.
    pub busy: i64,
    /// One-minute load average divided by the number of cores.
    pub cpu: f64,
    /// Share of memory in use, 0 to 1.
    pub memory: f64,
    /// Free bytes on the disk that holds workspaces.
    pub disk_free_bytes: i64,
    /// Why the builder takes nothing although it has a free slot, in words; `None` when it does.
    pub not_taking: Option<String>,
    /// How many projects its engine's cache knows; `None` from builders that do not look.
    pub cached_projects: Option<i64>,
    /// What that cache takes on the disk, bytes, beside what images hold anyway; `None` until the engine said it.
    pub cache_bytes: Option<i64>,
}

/// A project that an engine's cache knows, as sent with heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedProject {
    /// The project.
    pub project: ProjectId,
    /// False where only strangers' work was built of it, which shares no layers.
    pub trusted: bool,
    /// Seconds since it was last built there. No time of day: the clocks of two builders need not agree.
    pub unused_secs: u64,
}
