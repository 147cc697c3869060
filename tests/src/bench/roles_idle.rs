//! The five roles with nothing to do, each a process of its own: how much memory they hold together.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::split::Split;
use crate::bench::{Row, resident_mb};
use crate::env::remote_builder::{Joining, RemoteBuilder};
use crate::env::services::{ENGINE, shared};

/// Loops have done their first rounds by then.
const SETTLE: Duration = Duration::from_secs(10);

/// Measures. `None` when a backend is missing.
pub async fn run() -> Result<Option<Row>> {
    let (Some(split), Some(engine)) = (Split::start(1).await?, shared(ENGINE)?) else { return Ok(None) };
    let made: Value = split.api().expect(Method::POST, "/api/v1/builders/tokens", Some(&json!({}))).await?;
    let bus_url = split.backends.builder_bus_url()?.context("a broker's user for builders")?;
    let builder = RemoteBuilder::start(&Joining {
        server_url: split.cluster.agent_url(),
        token: made["token"].as_str().context("a join token")?.to_owned(),
        engine,
        name: "idle".to_owned(),
        variables: vec![("SLIPWAY_BUS_URL".to_owned(), bus_url)],
    })?;
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
