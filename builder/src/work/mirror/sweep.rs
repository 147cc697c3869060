//! Which kept repositories go: what nobody used for long, and, while they are too large together or the disk is short
//! of room, those that were not used for the longest time. Never one that is in use.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tracing::{info, warn};

use super::{Keep, Mirrors, entries, remove, try_lock};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);

/// One kept repository, as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) used: SystemTime,
}

impl Mirrors {
    /// Looks again and again for what may go.
    pub async fn watch(self) -> Infallible {
        loop {
            match self.sweep().await {
                Ok(0) => {}
                Ok(gone) => info!(gone, "kept repositories removed"),
                Err(error) => warn!(error = format!("{error:#}"), "kept repositories not looked through"),
            }
            self.0.clock.sleep(EVERY).await;
        }
    }

    /// One look. Returns how many went.
    pub async fn sweep(&self) -> anyhow::Result<usize> {
        let mirrors = self.clone();
        let looked = self.0.life.blocking("find kept repositories", move || mirrors.look());
        let (found, free_bytes) = looked.await?.context("cannot look for kept repositories")?;
        let now = SystemTime::from(self.0.clock.now());
        let mut gone = 0;
        for name in leaving(found, now, &self.0.keep, free_bytes) {
            let place = self.place(&name);
            // Whoever has it, or waits for it, keeps it.
            let Ok(door) = self.door(&place).try_lock_owned() else { continue };
            let removing = move || -> std::io::Result<bool> {
                let _door = door;
                let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&place.lock)?;
                if !try_lock(&lock)? {
                    return Ok(false);
                }
                remove(&place.git_dir)?;
                // Behind the door nobody else of this process opens it, and another process has no business here.
                remove(&place.lock)?;
                Ok(true)
            };
            match self.0.life.blocking("remove kept repository", removing).await? {
                Ok(removed) => gone += usize::from(removed),
                Err(error) => warn!(%error, "a kept repository is not removed; the next look tries again"),
            }
        }
        Ok(gone)
    }

    /// What lies there, and how much room the disk has.
    fn look(&self) -> std::io::Result<(Vec<Found>, u64)> {
        let (dir, mut found) = (&self.0.dir, Vec::new());
        let known = std::mem::take(&mut *self.0.sizes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sizes = HashMap::new();
        for path in entries(dir)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.ends_with(".lock"))
            else {
                continue;
            };
            // Without a lock file nobody knows when it was used: it counts as never.
            let used = dir.join(format!("{name}.lock")).metadata().and_then(|meta| meta.modified());
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = match known.get(name) {
                Some((then, bytes)) if *then == used => *bytes,
                Some(_) | None => size(&path),
            };
            sizes.insert(name.to_owned(), (used, bytes));
            found.push(Found { name: name.to_owned(), bytes, used });
        }
        *self.0.sizes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
        if found.is_empty() {
            return Ok((found, u64::MAX));
        }
        let disk = rustix::fs::statvfs(dir)?;
        Ok((found, disk.f_bavail.saturating_mul(disk.f_frsize)))
    }
}

/// Bytes of all files below; what goes away meanwhile counts nothing.
fn size(path: &Path) -> u64 {
    let Ok(meta) = path.symlink_metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    entries(path).unwrap_or_default().iter().map(|path| size(path)).sum()
}

/// The names of those that go, the longest unused first.
pub(super) fn leaving(mut found: Vec<Found>, now: SystemTime, keep: &Keep, free_bytes: u64) -> Vec<String> {
    found.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
    let mut bytes: u64 = found.iter().map(|one| one.bytes).sum();
    let mut free_bytes = free_bytes;
    let mut goes = |one: &Found| {
        let is_old = now.duration_since(one.used).is_ok_and(|unused| unused > keep.unused);
        let goes = is_old || bytes > keep.max_bytes || free_bytes < keep.min_free_bytes;
        if goes {
            bytes -= one.bytes;
            free_bytes = free_bytes.saturating_add(one.bytes);
        }
        goes
    };
    found.into_iter().filter(|one| goes(one)).map(|one| one.name).collect()
}
