//! What a process keeps in its data folder: the lock, the secret key, the first operator's token.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use slipway_runtime::ids::new_token;
use slipway_runtime::secret_key::SecretKey;

const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// A data folder that no other process uses as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is missing and locks it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_FOLDER)
            .create(path)
            .with_context(|| format!("the data folder {shown} cannot be made; set --data-dir"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(path.join("lock"))
            .with_context(|| format!("the data folder {shown} cannot be written; set --data-dir"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!("another slipway uses the data folder {shown}; stop it or set --data-dir")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of this installation, made on the first start.
    pub fn secret_key(&self) -> anyhow::Result<SecretKey> {
        let (text, _) = self.kept("secret.key", || SecretKey::generate().to_base64())?;
        SecretKey::from_base64(&text).context("secret.key in the data folder is damaged")
    }

    /// The first operator's token, and whether it was made just now.
    pub fn bootstrap_token(&self) -> anyhow::Result<(String, bool)> {
        self.kept("bootstrap.token", || new_token("slw"))
    }

    /// A small private file: read, or made whole or not at all.
    fn kept(&self, name: &str, make: impl FnOnce() -> String) -> anyhow::Result<(String, bool)> {
        let path = self.path.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok((text.trim().to_owned(), false)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
        let text = make();
        let unfinished = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(&unfinished)
            .with_context(|| format!("{} cannot be written", unfinished.display()))?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok((text, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_private_and_the_folder_is_locked() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = std::env::temp_dir().join(format!("slipway-files-{}", std::process::id()));
        let dir = DataDir::open(&root).expect("a folder");
        let key = dir.secret_key().expect("made").to_base64();
        let (token, fresh) = dir.bootstrap_token().expect("made");
        assert!(fresh);
        let mode = |name: &str| std::fs::metadata(root.join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("secret.key"), mode("bootstrap.token")), (PRIVATE_FILE, PRIVATE_FILE));
        let error = DataDir::open(&root).expect_err("locked").to_string();
        assert!(error.contains("another slipway"), "{error}");
        drop(dir);
        let again = DataDir::open(&root).expect("free again");
        assert_eq!(again.secret_key().expect("kept").to_base64(), key);
        assert_eq!(again.bootstrap_token().expect("kept"), (token, false));
        drop(again);
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
