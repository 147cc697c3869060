//! The five roles with nothing to do, each a process of its own: how much memory they hold together.

use std::time::Duration;

use anyhow::Result;

use crate::bench::split::Split;
use crate::bench::{Row, resident_mb};
use crate::env::services::{ENGINE, shared};

/// Loops have done their first rounds by then.
const SETTLE: Duration = Duration::from_secs(10);

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let (Some(split), Some(engine)) = (Split::start(1).await?, shared(ENGINE)?) else { return Ok(None) };
    let builder = split.builder("idle", engine).await?;
    tokio::time::sleep(SETTLE).await;
    let resident = split.resident_mb()? + resident_mb(builder.id())?;
    Ok(Some(Row {
        figure: "the five roles, idle",
        baseline: "none".to_owned(),
        ours: format!("{resident:.0} MB resident together"),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "under 150 MB",
        reached: resident < 150.0,
    }))
}
