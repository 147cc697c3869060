//! What this host offers: programs by name, free ports, the user we are.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where Debian keeps programs. `sbin` is not on every user's path.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program's full path, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// The program's full path; the error names the Debian package to install.
pub fn need(program: &str, package: &str) -> Result<PathBuf> {
    find(program).with_context(|| format!("{program} is not installed; on Debian: apt-get install {package}"))
}

/// True when we may start an engine and change users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A port of the loopback address that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
