//! The files of the last commit that was checked out of a kept repository. The next commit changes only what differs,
//! and an attempt gets them as further names of the same files. That is safe because git never writes into a file: it
//! removes the name and makes a new file; and an attempt only reads.
//!
//! A mark says that the files are those of the index and no others. It is taken away before git begins: of an update
//! that was cut off nobody knows which files it has made, so nothing of it is used.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use slipway_domain::failure::Failure;
use tokio_util::sync::CancellationToken;

use super::{Kept, entries, remove};

const TREE: &str = "tree";
const INDEX: &str = "tree-index";
const DONE: &str = "tree-done";

impl Kept {
    /// Where git writes the files.
    pub fn tree(&self) -> PathBuf {
        self.place.git_dir.join(TREE)
    }

    /// Where git keeps what it knows of them.
    pub fn index(&self) -> PathBuf {
        self.place.git_dir.join(INDEX)
    }

    /// From here on the files are half, until they are handed out.
    pub async fn begin_tree(&self) -> Result<(), Failure> {
        self.blocking(|place| {
            remove(&place.git_dir.join(DONE))?;
            std::fs::create_dir_all(place.git_dir.join(TREE))
        })
        .await
    }

    /// The files are whole: gives an attempt all of them in its own, empty folder.
    pub async fn hand_out(&self, folder: &Path) -> Result<(), Failure> {
        let folder = folder.to_path_buf();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        self.blocking(move |place| {
            std::fs::write(place.git_dir.join(DONE), "")?;
            link(&place.git_dir.join(TREE), &folder, &stop)
        })
        .await
    }
}

/// Removes what was left half.
pub(super) fn tidy(git_dir: &Path) -> std::io::Result<()> {
    if !git_dir.join(DONE).exists() {
        remove(&git_dir.join(TREE))?;
        remove(&git_dir.join(INDEX))?;
    }
    remove(&git_dir.join(INDEX).with_extension("lock"))
}

/// Stops when nobody waits any more: then the folder is being removed.
fn link(from: &Path, to: &Path, stop: &CancellationToken) -> std::io::Result<()> {
    for path in entries(from)? {
        if stop.is_cancelled() {
            return Err(Error::other("stopped"));
        }
        let Some(name) = path.file_name() else { continue };
        let (meta, to) = (path.symlink_metadata()?, to.join(name));
        if meta.is_dir() {
            std::fs::create_dir(&to)?;
            link(&path, &to, stop)?;
        } else if meta.is_symlink() {
            symlink(std::fs::read_link(&path)?, &to)?;
        } else {
            std::fs::hard_link(&path, &to)
                .or_else(|error| if needs_copy(&error) { copy(&path, &to) } else { Err(error) })?;
        }
    }
    Ok(())
}

/// The attempts lie on another disk, or a file has all the names that it can have.
fn needs_copy(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::CrossesDevices | ErrorKind::TooManyLinks)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::copy(from, to).map(drop)
}
