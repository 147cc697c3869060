//! Holds what a build's steps use within the limits of its tenant's plan, from outside: an engine's builds have no such
//! limits of their own. Every step's container is found by a word in its environment (see [`new_marker`]) in the folder
//! where the engine describes it, before it runs. Where every controller has a tree of its own (version 1), the
//! processes are moved into one group per attempt, which counts all steps together. In the common tree (version 2) they
//! stay where they are, because their group also guards the devices, and each step gets the limits for itself.

mod group;
mod mounts;
mod steps;
#[cfg(test)]
mod tests;
mod watch;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::BuilderId;
use slipway_domain::plan::Limits;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::random_bytes;
use slipway_runtime::lifecycle::Life;
use tracing::warn;

use group::Group;
pub use group::Hits;
use mounts::Mounts;
use steps::Steps;
use watch::Watch;

/// Between two looks for new steps while a build runs.
const TICK: Duration = Duration::from_millis(10);
/// The folder of all our groups.
const ROOT: &str = "slipway";

/// The control groups of this host, as far as they can hold the steps of its engine.
#[derive(Clone)]
pub struct Cgroups {
    life: Life,
    clock: Clock,
    builder: BuilderId,
    mounts: Arc<Result<Mounts, String>>,
}

/// One attempt's limits in force.
pub struct Confined {
    cgroups: Cgroups,
    watch: Arc<Mutex<Watch>>,
    marker: String,
}

/// A word in the environment of an attempt's steps. It stands in `NO_PROXY` because what is there is no part of the
/// cache's keys, in all releases of BuildKit, and hurts nobody: the host does not exist. Nobody can guess it, so that no
/// step of somebody else's says that it is this attempt's.
fn new_marker() -> String {
    format!("slipway-{}.invalid", hex::encode(random_bytes::<16>()))
}

impl Cgroups {
    /// Looks where they are.
    pub fn find(life: Life, clock: Clock, builder: BuilderId) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| format!("/proc/self/mountinfo cannot be read: {error}"))
            .and_then(|text| Mounts::parse(&text).ok_or_else(|| "this host mounts no control groups".to_owned()));
        Self { life, clock, builder, mounts: Arc::new(mounts) }
    }

    /// Puts limits in force for an attempt whose engine keeps its data here; in words why they cannot be.
    pub async fn confine(&self, attempt: AttemptRef, limits: Limits, data_root: &Path) -> Result<Confined, String> {
        let mounts = (*self.mounts).clone()?;
        let executor = data_root.join("buildkit/executor");
        if !executor.is_dir() {
            return Err("the engine's data does not lie on this host".to_owned());
        }
        let name = self.name(attempt);
        let made = self.life.blocking("make control group", move || Group::make(mounts, &name, limits)).await;
        let group = made.map_err(|error| error.to_string())?.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                format!("this builder may not write to the control groups of its host ({error})")
            }
            _ => error.to_string(),
        })?;
        let marker = new_marker();
        let watch = Watch::new(group, Steps::new(executor, marker.clone()));
        Ok(Confined { cgroups: self.clone(), watch: Arc::new(Mutex::new(watch)), marker })
    }

    /// Kills what is left of an attempt and removes its group; one that never was is no error.
    pub async fn end(&self, attempt: AttemptRef) {
        self.end_group(self.name(attempt)).await;
    }

    /// Ends everything that attempts of this builder left, in this life or a former one.
    pub async fn end_all(&self) {
        let Ok(mounts) = &*self.mounts else { return };
        for name in mounts.names_below(&self.own_folder()) {
            self.end_group(name).await;
        }
        for tree in mounts.trees() {
            // Mostly it is not there, and the next attempt makes it again.
            let _ = std::fs::remove_dir(tree.join(self.own_folder()));
        }
    }

    async fn end_group(&self, name: PathBuf) {
        let Ok(mounts) = (*self.mounts).clone() else { return };
        loop {
            let (mounts, name) = (mounts.clone(), name.clone());
            match self.life.blocking("end control group", move || Group::end(&mounts, &name)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => self.clock.sleep(TICK).await,
                Ok(Err(error)) => return warn!(%error, "control group not removed; the next start tries again"),
                Err(error) => return warn!(%error, "control group not removed; the next start tries again"),
            }
        }
    }

    fn own_folder(&self) -> PathBuf {
        Path::new(ROOT).join(self.builder.to_string())
    }

    fn name(&self, attempt: AttemptRef) -> PathBuf {
        self.own_folder().join(format!("{}-{}", attempt.job, attempt.epoch))
    }
}

impl Confined {
    /// What has to stand in the environment of every step.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// Takes in every step of the attempt, for as long as this is polled.
    pub async fn hold(&self) -> Infallible {
        loop {
            self.look().await;
            self.cgroups.clock.sleep(TICK).await;
        }
    }

    /// How often limits were hit by the step that ended last.
    pub async fn hits(&self) -> Hits {
        self.look().await
    }

    async fn look(&self) -> Hits {
        let watch = Arc::clone(&self.watch);
        let looked = self.cgroups.life.blocking("look for steps", move || {
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            watch.look();
            watch.hits()
        });
        looked.await.unwrap_or_else(|error| {
            warn!(%error, "steps are not looked for");
            Hits::default()
        })
    }
}
