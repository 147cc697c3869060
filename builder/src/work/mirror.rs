//! What the builder keeps of repositories, so that the next attempt fetches and writes only what is new: one bare
//! repository per tenant, clone URL and trust, with the files of the last commit that was checked out ([`tree`]).
//! Nothing of a tenant is seen by another, and nothing that strangers wrote lies where a project's own builds look.
//!
//! A kept repository has a lock file beside it. Within this process a door is waited at in order; between processes
//! the kernel's lock on that file counts, which git inherits: a builder that was killed leaves it locked until its last
//! git has ended, and not a moment longer. What git left half is removed by whoever comes next.

mod sweep;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::io::{FdFlags, fcntl_setfd};
use sha2::{Digest as _, Sha256};
use slipway_domain::failure::Failure;
use slipway_domain::ids::TenantId;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;
use tokio::sync::{Mutex as Door, OwnedMutexGuard};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::home::make_private_dir;
use crate::work::{internal, io_failure};

/// Whoever waits longer for another's fetch of the same repository fetches for himself.
const WAIT: Duration = Duration::from_secs(120);
/// Between two looks at a lock that a former life's git holds.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Each fetch adds one or two packs; with more than these all is fetched anew, instead of being packed again here.
const MAX_PACKS: usize = 200;
/// The whole configuration of a kept repository. No address stands in it, and no credential.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n";

/// Whose build it is. Cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// False for what strangers wrote.
    pub trusted: bool,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// What nobody used for so long goes.
    pub unused: Duration,
    /// All of them together, bytes; beyond it those go that were not used for the longest time.
    pub max_bytes: u64,
    /// They also go while the disk has less room than this, bytes.
    pub min_free_bytes: u64,
}

/// All kept repositories of this builder. Cheap to clone.
#[derive(Clone)]
pub struct Mirrors(Arc<Inner>);

struct Inner {
    life: Life,
    clock: Clock,
    dir: PathBuf,
    keep: Keep,
    doors: Mutex<HashMap<String, Arc<Door<()>>>>,
    /// What each had when it was used last, bytes: large ones take long to count.
    sizes: Mutex<HashMap<String, (SystemTime, u64)>>,
}

/// One kept repository, taken by one attempt, and by nobody else until it is dropped.
pub struct Kept {
    mirrors: Mirrors,
    place: Place,
    held: Arc<Held>,
}

/// What keeps others out. Work on a thread of its own holds it, too: it goes on when nobody waits for it any more.
struct Held {
    clock: Clock,
    lock: File,
    _door: OwnedMutexGuard<()>,
}

#[derive(Debug, Clone)]
struct Place {
    git_dir: PathBuf,
    lock: PathBuf,
}

impl Mirrors {
    /// They lie in `dir`, which is made when it is needed.
    pub fn new(life: Life, clock: Clock, dir: PathBuf, keep: Keep) -> Self {
        Self(Arc::new(Inner { life, clock, dir, keep, doors: Mutex::default(), sizes: Mutex::default() }))
    }

    /// Takes the repository for one attempt. `None` when it cannot be had in time or at all: then the attempt
    /// does without.
    pub async fn take(&self, owner: Owner, url: &str, commit: &str) -> Option<Kept> {
        let place = self.place(&name(owner, url, commit.len()));
        match timeout(WAIT, self.enter(place)).await {
            Ok(Ok(kept)) => Some(kept),
            Ok(Err(error)) => {
                warn!(%error, "what is kept of a repository cannot be used; fetching without");
                None
            }
            Err(_) => {
                debug!("what is kept of a repository is in use; fetching without");
                None
            }
        }
    }

    async fn enter(&self, place: Place) -> std::io::Result<Kept> {
        let door = self.door(&place).lock_owned().await;
        make_private_dir(&self.0.dir).map_err(std::io::Error::other)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&place.lock)?;
        while !try_lock(&lock)? {
            self.0.clock.sleep(LOOK_AGAIN).await;
        }
        // Git inherits it, so that nobody else comes in while one of a killed builder still writes.
        fcntl_setfd(&lock, FdFlags::empty())?;
        let held = Held { clock: self.0.clock.clone(), lock, _door: door };
        held.is_used()?;
        Ok(Kept { mirrors: self.clone(), place, held: Arc::new(held) })
    }

    fn place(&self, name: &str) -> Place {
        Place { git_dir: self.0.dir.join(name), lock: self.0.dir.join(format!("{name}.lock")) }
    }

    fn door(&self, place: &Place) -> Arc<Door<()>> {
        let mut doors = self.0.doors.lock().unwrap_or_else(PoisonError::into_inner);
        // A door that nobody stands at is made anew when somebody comes.
        doors.retain(|_, door| Arc::strong_count(door) > 1);
        Arc::clone(doors.entry(place.lock.to_string_lossy().into_owned()).or_default())
    }
}

impl Kept {
    /// The bare repository; not there before it is made.
    pub fn git_dir(&self) -> &Path {
        &self.place.git_dir
    }

    /// Removes what a killed git left half, and what nobody but a stranger could have put there.
    pub async fn tidy(&self) -> Result<(), Failure> {
        self.blocking(|place| match place.git_dir.join("HEAD").exists() {
            true => tidy(&place.git_dir),
            false => remove(&place.git_dir),
        })
        .await
    }

    /// Throws everything away, to be made anew.
    pub async fn discard(&self) -> Result<(), Failure> {
        self.blocking(|place| remove(&place.git_dir)).await
    }

    async fn blocking(&self, work: impl FnOnce(&Place) -> std::io::Result<()> + Send + 'static) -> Result<(), Failure> {
        let (place, held) = (self.place.clone(), Arc::clone(&self.held));
        let done = self.mirrors.0.life.blocking("kept repository", move || {
            let _held = held;
            work(&place)
        });
        let done = done.await;
        let done = done.map_err(|error| internal("the kept repository", error))?;
        done.map_err(|error| io_failure("the kept repository", &error))
    }
}

impl Held {
    /// The lock file's time says when it was used last.
    fn is_used(&self) -> std::io::Result<()> {
        self.lock.set_modified(SystemTime::from(self.clock.now()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Children of other attempts have inherited the lock, too: closing it here would not be enough.
        if let Err(error) = self.is_used().and_then(|()| self.lock.unlock()) {
            warn!(%error, "the lock of a kept repository is not given back");
        }
    }
}

/// The folder's name. The tenant and the address stand in it only as a hash.
fn name(owner: Owner, url: &str, id_length: usize) -> String {
    let trust = if owner.trusted { "own" } else { "strangers" };
    hex::encode(Sha256::digest(format!("{}\n{trust}\n{id_length}\n{url}", owner.tenant)))
}

fn try_lock(lock: &File) -> std::io::Result<bool> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Nobody else works in it: whatever is half belongs to a git that is gone.
fn tidy(git_dir: &Path) -> std::io::Result<()> {
    tree::tidy(git_dir)?;
    let packs = entries(&git_dir.join("objects/pack"))?;
    if packs.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pack")).count() > MAX_PACKS {
        return remove(git_dir);
    }
    // Half of a pack is named tmp_pack_…, half of an object objects/xx/tmp_obj_….
    for path in packs.iter().chain(&entries(&git_dir.join("objects"))?) {
        let is_half = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp_"));
        if is_half(path) {
            remove(path)?;
        } else if path.is_dir() {
            entries(path)?.iter().filter(|path| is_half(path)).try_for_each(|path| remove(path))?;
        }
    }
    for folder in ["", "refs", "refs/slipway", "objects/info", "objects/pack"] {
        let locks = entries(&git_dir.join(folder))?;
        let locks = locks.iter().filter(|path| path.extension().is_some_and(|extension| extension == "lock"));
        locks.into_iter().try_for_each(|path| remove(path))?;
    }
    for foreign in ["hooks", "info", "worktrees", "modules", "config.worktree", "objects/info/alternates"] {
        remove(&git_dir.join(foreign))?;
    }
    // The format of ids is the one thing that git itself has said there.
    let config = std::fs::read_to_string(git_dir.join("config"))?;
    let format = if config.contains("objectformat = sha256") || config.contains("objectFormat = sha256") {
        "[extensions]\n\tobjectFormat = sha256\n"
    } else {
        ""
    };
    std::fs::write(git_dir.join("config"), format!("{CONFIG}{format}"))
}

/// The paths in a folder; none if it is not there.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(found) => found.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes a file or a folder; what is not there is removed already.
fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
