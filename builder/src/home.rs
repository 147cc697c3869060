//! The builder's data folder: who it is, a lock so that two processes never use one folder, and where
//! workspaces and spools lie.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::BuilderId;
use slipway_runtime::ids::{new_id, new_token};

/// Who the builder is, made once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// Its lasting id.
    pub builder: BuilderId,
    /// Its secret, so that nobody else with the same join token can take its place.
    pub builder_key: String,
}

/// An opened and locked data folder. The lock goes with the process, however it dies.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folder if needed and locks it.
    pub fn open(dir: &Path) -> anyhow::Result<Home> {
        for folder in [dir.to_owned(), dir.join("work"), dir.join("spool")] {
            make_private_dir(&folder)?;
        }
        let path = dir.join("lock");
        let lock = private().write(true).create(true).truncate(false).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Home { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "the builder's data folder {} is used by another running builder; stop that one or give this one its own folder",
                dir.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock the builder's data folder {}", dir.display()))
            }
        }
    }

    /// The identity in the folder; made on the first call.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        let path = self.dir.join("identity.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged; delete it to let this builder start as a new one", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let identity = Identity { builder: new_id(), builder_key: new_token("slwbk") };
                write_private(&path, &serde_json::to_vec(&identity).context("cannot write the identity as JSON")?)?;
                Ok(identity)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Where all workspaces lie.
    pub fn work_dir(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// The workspace of one attempt.
    pub fn workspace(&self, attempt: AttemptRef) -> PathBuf {
        self.work_dir().join(attempt.to_string())
    }

    /// Where lies what is kept of repositories.
    pub fn mirror_dir(&self) -> PathBuf {
        self.dir.join("mirrors")
    }

    /// What the engine's cache knows.
    pub fn cache_file(&self) -> PathBuf {
        self.dir.join("cache.json")
    }

    /// Where all spools lie.
    pub fn spool_dir(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// The spool of one attempt.
    pub fn spool(&self, attempt: AttemptRef) -> PathBuf {
        self.spool_dir().join(attempt.to_string())
    }
}

/// Makes a folder that only we may enter, with its parents.
pub fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the folder {}", dir.display()))
}

/// Writes a file that only we may read: whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut file = private().write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_identity_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::open(&dir.path().join("b")).expect("opens");
        let first = home.identity().expect("made");
        let again = home.identity().expect("read");
        assert_eq!((first.builder, &first.builder_key), (again.builder, &again.builder_key));
        let mode =
            |name: &str| fs::metadata(dir.path().join("b").join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("identity.json"), mode("spool"), mode("work")), (0o600, 0o700, 0o700));
    }

    #[test]
    fn one_folder_has_one_process() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::open(dir.path()).expect("opens");
        let refused = Home::open(dir.path()).expect_err("locked");
        assert!(refused.to_string().contains("another running builder"), "{refused}");
        drop(home);
        Home::open(dir.path()).expect("free again");
    }

    #[test]
    fn a_damaged_identity_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::open(dir.path()).expect("opens");
        fs::write(dir.path().join("identity.json"), b"{").expect("writes");
        assert!(home.identity().err().expect("refused").to_string().contains("identity.json"));
    }
}
