//! What this host offers: programs by name, free ports, the user we are.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use slipway_runtime::ids::random_bytes;

/// Ports of servers; Linux takes those of clients from 32768 on.
const PORTS: Range<u16> = 20_000..32_000;
/// How often another port is tried.
const TRIES: usize = 200;

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

/// A port of the loopback address that was free a moment ago, outside the range from which the kernel takes ports for
/// outgoing connections: it stays free until its server listens, and while it is being started again.
pub fn free_port() -> Result<u16> {
    // Whoever got one may not listen yet, or be dead for a while: nobody else here gets it.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..TRIES {
        let port = PORTS.start + u16::from_be_bytes(random_bytes()) % (PORTS.end - PORTS.start);
        let is_new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if is_new && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port was found in {PORTS:?}")
}
