//! A disk that a test can fill and free at any moment: a tmpfs whose limit is moved, so that a full one costs
//! no memory. It lies inside a room, which unmounts it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount, mount_remount};

use super::host;

/// What an empty one offers; only a limit. More than a builder wants to see free.
const SIZE_BYTES: u64 = 4 << 30;

/// How often filling is tried again when somebody writes at the same moment.
const TRIES: u32 = 1000;

/// A mounted disk.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Why none can be made on this host, if so.
    pub fn missing() -> Option<String> {
        (!host::is_root()).then(|| "a disk that can be full is mounted by root only".to_owned())
    }

    /// Mounts an empty disk at a folder, which is made.
    pub fn mount(path: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let disk = Self { path: path.to_owned() };
        let options = std::ffi::CString::new(format!("mode=700,{}", size_option(SIZE_BYTES)))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("slipway-test", path, "tmpfs", flags, options.as_c_str())
            .with_context(|| format!("mounting a tmpfs at {}; this needs CAP_SYS_ADMIN", path.display()))?;
        Ok(disk)
    }

    /// Not one page more can be written.
    pub fn fill(&self) -> Result<()> {
        self.leave(0)
    }

    /// Only so much more can be written.
    pub fn leave(&self, bytes: u64) -> Result<()> {
        for _ in 1..TRIES {
            let size = self.used()? + bytes;
            // The kernel refuses a limit below what is used by now.
            if self.resize(size).is_ok() {
                return Ok(());
            }
        }
        self.resize(self.used()? + bytes).with_context(|| format!("filling the disk at {}", self.path.display()))
    }

    /// As large as in the beginning.
    pub fn free(&self) -> Result<()> {
        self.resize(SIZE_BYTES).with_context(|| format!("freeing the disk at {}", self.path.display()))
    }

    /// What is used of it, bytes.
    pub fn used(&self) -> Result<u64> {
        let stat = statvfs(&self.path).context("asking a disk how full it is")?;
        Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
    }

    /// How full it is, 0 to 1.
    pub fn share_used(&self) -> Result<f64> {
        let stat = statvfs(&self.path).context("asking a disk how full it is")?;
        Ok(1.0 - stat.f_bavail as f64 / stat.f_blocks as f64)
    }

    fn resize(&self, bytes: u64) -> rustix::io::Result<()> {
        // A limit of 0 would be none.
        let options = size_option(bytes.max(1));
        mount_remount(&self.path, MountFlags::NOSUID | MountFlags::NODEV, options)
    }
}

fn size_option(bytes: u64) -> String {
    format!("size={bytes}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Write as _};

    use super::super::room::Room;
    use super::*;

    #[test]
    fn it_is_full_until_it_is_freed() {
        if let Some(missing) = Disk::missing() {
            return eprintln!("SKIPPED: {missing}");
        }
        let room = Room::new().unwrap();
        let disk = Disk::mount(&room.path().join("disk")).unwrap();
        let path = room.path().join("disk/file");
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        disk.leave(4096).unwrap();
        assert_eq!(fs::write(room.path().join("disk/other"), [1; 8192]).unwrap_err().kind(), ErrorKind::StorageFull);
        fs::remove_file(room.path().join("disk/other")).unwrap();
        disk.fill().unwrap();
        assert_eq!(file.write_all(&[1; 10_000]).unwrap_err().kind(), ErrorKind::StorageFull);
        disk.free().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        let folder = room.path().to_owned();
        drop(room);
        assert!(!folder.exists());
    }
}
