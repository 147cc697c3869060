//! A build step that waits until its test lets it go on. The engine of the tests runs on this host, so that
//! the step's root folder is below `/proc`.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::Result;
use slipway_runtime::ids::random_bytes;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::wait::eventually;

/// How long a step may take to begin.
const BEGINS: Duration = Duration::from_secs(90);

/// A step gives up by itself after this many tenths of a second, so that nothing outlives a failed test.
const GIVES_UP: u32 = 3000;

/// One gate; every attempt of a step waits before it anew.
pub struct Gate {
    /// What the step's processes carry in their arguments.
    marker: String,
}

impl Gate {
    pub fn new() -> Self {
        Self { marker: format!("gate{}", hex::encode(random_bytes::<6>())) }
    }

    /// The line that the step writes last.
    pub fn last_line(&self) -> String {
        format!("{} is open", self.marker)
    }

    /// A Dockerfile whose step writes the numbers up to `lines`, waits here, and writes one line more.
    pub fn dockerfile(&self, lines: usize) -> String {
        let marker = &self.marker;
        format!(
            "FROM {BASE_IMAGE}\n\
             RUN seq 1 {lines}; n=0; until test -e /{marker}; do n=$((n+1)); test $n -lt {GIVES_UP} || exit 9; \
             sleep 0.1; done; rm /{marker}; echo {marker} is open\n\
             LABEL gate={marker}\n"
        )
    }

    /// Waits until a step stands before the gate.
    pub async fn reached(&self) -> Result<()> {
        eventually("a step before its gate", BEGINS, || async { Ok((!self.steps().is_empty()).then_some(())) }).await
    }

    /// Waits until no step stands before it.
    pub async fn left(&self, within: Duration) -> Result<()> {
        eventually("no step before the gate", within, || async { Ok(self.steps().is_empty().then_some(())) }).await
    }

    /// Waits for a step and lets it go on.
    pub async fn open(&self) -> Result<()> {
        eventually("a step to open its gate for", BEGINS, || async {
            // One of them may be ending.
            let opened =
                self.steps().iter().any(|pid| File::create(format!("/proc/{pid}/root/{}", self.marker)).is_ok());
            Ok(opened.then_some(()))
        })
        .await
    }

    fn steps(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.is_step(*pid)).collect()
    }

    fn is_step(&self, pid: u32) -> bool {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // Whoever else names the step has our own root folder.
        String::from_utf8_lossy(&arguments).contains(&self.marker)
            && inode(&format!("/proc/{pid}/root/.")) != inode("/")
    }
}

fn inode(path: &str) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
