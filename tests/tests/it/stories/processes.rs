//! Processes of this host that carry a marker in their arguments: those of a build's step among them, since
//! the engine of the tests runs here.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use slipway_tests::wait::eventually;

/// How long a step may take to begin.
const BEGINS: Duration = Duration::from_secs(60);

/// How long the processes of a stopped step may live.
const GONE: Duration = Duration::from_secs(5);

/// Waits until a process carries the marker.
pub async fn processes_seen(marker: &str) -> Result<()> {
    let what = format!("a process with {marker}");
    eventually(&what, BEGINS, || async { Ok((!with_marker(marker).is_empty()).then_some(())) }).await
}

/// Waits until no process carries the marker.
pub async fn processes_gone(marker: &str) -> Result<()> {
    let what = format!("the processes with {marker} to be gone");
    let gone = eventually(&what, GONE, || async { Ok(with_marker(marker).is_empty().then_some(())) }).await;
    gone.map_err(|error| error.context(with_marker(marker).join("\n")))
}

fn with_marker(marker: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_none_or(|name| name == own || !name.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        // A zombie has no arguments.
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(marker) {
            found.push(format!("{} {arguments}", entry.file_name().display()));
        }
    }
    found
}
