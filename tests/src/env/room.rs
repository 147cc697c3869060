//! A room: a temporary folder with a name of its own, and everything on the host that carries that name (a
//! network bridge, control groups, mounts). A lock beside the folder says whether its owner lives; whoever
//! makes a room first clears the rooms of the dead.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use slipway_runtime::ids::random_bytes;

use super::host;
use crate::wait::eventually_blocking;

/// What the names of rooms begin with.
const PREFIX: &str = "slipway-test.";

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// How long killed processes may take to leave their control group, and mounts to let go of the folder.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder and the host's things that belong to it; all of it is removed on drop.
#[derive(Debug)]
pub struct Room {
    id: String,
    folder: PathBuf,
    // Held as long as we live; the kernel lets go of it however we die.
    _lock: File,
}

impl Room {
    /// A new empty room, after the rooms of dead owners are cleared.
    pub fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        loop {
            let id = hex::encode(random_bytes::<4>());
            let lock_path = lock_path(&parent, &id);
            let lock = OpenOptions::new().create_new(true).write(true).open(&lock_path);
            let lock = lock.with_context(|| format!("making {}", lock_path.display()))?;
            // A sweep may have found the file before we held it, and removed it.
            if lock.try_lock().is_err() || !is_same_file(&lock, &lock_path) {
                continue;
            }
            let folder = folder_path(&parent, &id);
            fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
            // Servers that run as another user must get through, not look around.
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
            return Ok(Self { id, folder, _lock: lock });
        }
    }

    /// Eight hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The name of the room's network bridge, if it makes one.
    pub fn bridge(&self) -> String {
        bridge_name(&self.id)
    }

    /// The name of the room's control group, if it makes one.
    pub fn cgroup(&self) -> String {
        cgroup_name(&self.id)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let parent = self.folder.parent().unwrap_or(Path::new("/tmp")).to_owned();
        clear(&parent, &self.id);
    }
}

/// Clears the rooms whose owners are dead.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(".lock"));
        let Some(id) = id.filter(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit())) else {
            continue;
        };
        // Rooms of other users cannot be opened for writing, and are theirs to clear.
        let Ok(lock) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        if lock.try_lock().is_ok() && is_same_file(&lock, &entry.path()) {
            clear(parent, id);
        }
    }
}

/// Removes everything that carries this room's name. The lock goes last: while it exists, somebody will
/// try again.
fn clear(parent: &Path, id: &str) {
    let folder = folder_path(parent, id);
    kill_cgroup(&cgroup_name(id));
    if host::is_root() {
        kill_shims(&folder);
        eventually_blocking(PATIENCE, || unmount_below(&folder) == 0);
        if Path::new("/run/netns").join(bridge_name(id)).exists() {
            let _ = Command::new("ip").env("PATH", host::PATH).args(["netns", "delete", &bridge_name(id)]).status();
        }
        let bridge = bridge_name(id);
        if Path::new("/sys/class/net").join(&bridge).exists() {
            let _ = Command::new("ip").env("PATH", host::PATH).args(["link", "delete", &bridge]).status();
        }
    }
    let removed = eventually_blocking(PATIENCE, || match fs::remove_dir_all(&folder) {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    });
    if removed {
        let _ = fs::remove_file(lock_path(parent, id));
    } else {
        eprintln!("{} could not be removed; the next run tries again", folder.display());
    }
}

/// Kills what runs in the group, in every hierarchy, and removes the group.
fn kill_cgroup(name: &str) {
    let roots: Vec<PathBuf> = std::iter::once(PathBuf::from(CGROUPS))
        .chain(fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path()))
        .map(|root| root.join(name))
        .filter(|group| group.is_dir())
        .collect();
    eventually_blocking(PATIENCE, || roots.iter().map(|group| kill_below(group)).sum::<usize>() == 0);
    for group in &roots {
        eventually_blocking(PATIENCE, || remove_group(group));
    }
}

/// Kills the processes of a group and of the groups below it; how many there were.
fn kill_below(group: &Path) -> usize {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found = 0;
    for pid in procs.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        found += usize::from(!is_zombie(pid));
        let _ = kill_process(pid, Signal::KILL);
    }
    found + subfolders(group).iter().map(|child| kill_below(child)).sum::<usize>()
}

fn remove_group(group: &Path) -> bool {
    for child in subfolders(group) {
        remove_group(&child);
    }
    !group.exists() || fs::remove_dir(group).is_ok()
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Container shims outlive their engine on purpose; the room's folder is in their arguments.
fn kill_shims(folder: &Path) {
    let needle = format!("{}/", folder.display());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        let program = arguments.split('\0').next().unwrap_or_default();
        let is_ours = ["containerd", "containerd-shim-runc-v2", "runc"]
            .iter()
            .any(|name| program == *name || program.ends_with(&format!("/{name}")));
        if is_ours && arguments.contains(&needle) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Unmounts, youngest first, what is mounted at or below the folder; how many mounts there were.
fn unmount_below(folder: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<_> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new)
        .filter(|point| point.starts_with(folder))
        .collect();
    for point in points.iter().rev() {
        let _ = unmount(*point, UnmountFlags::DETACH);
    }
    points.len()
}

fn is_same_file(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn folder_path(parent: &Path, id: &str) -> PathBuf {
    parent.join(format!("{PREFIX}{id}"))
}

fn lock_path(parent: &Path, id: &str) -> PathBuf {
    parent.join(format!("{PREFIX}{id}.lock"))
}

fn bridge_name(id: &str) -> String {
    format!("slw{id}")
}

fn cgroup_name(id: &str) -> String {
    format!("{PREFIX}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_owners_room_is_cleared_and_a_living_ones_is_not() {
        let living = Room::new().unwrap();
        let parent = living.path().parent().unwrap().to_owned();
        // What a killed run leaves: a folder and a lock that nobody holds.
        let id = hex::encode(random_bytes::<4>());
        let folder = folder_path(&parent, &id);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("leftover"), "x").unwrap();
        fs::write(lock_path(&parent, &id), "").unwrap();
        sweep(&parent);
        assert!(!folder.exists() && !lock_path(&parent, &id).exists());
        assert!(living.path().exists() && lock_path(&parent, living.id()).exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn names_that_only_look_like_ours_are_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let strange = parent.path().join("slipway-test.notahexid.lock");
        fs::write(&strange, "").unwrap();
        sweep(parent.path());
        assert!(strange.exists());
    }
}
