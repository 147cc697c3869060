//! From the job's row to its claim by an idle builder, by the rows' own times: one clock, nothing in between.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Row, cpu_secs, stats};
use crate::world::{Forge, World};

const ROUNDS: usize = 60;
const BUILD: Duration = Duration::from_secs(60);

/// Measures.
pub async fn run(world: &World) -> Result<Row> {
    let api = world.api();
    let repo = world.git.repo("bench/claim")?;
    let project = world.project(Forge::Github, &repo).await?;
    // No Dockerfile: the build ends at once, and the builder is idle again.
    let pushed = repo.commit("Bench", &[("a", "b\n")])?;
    let commit = pushed.after.context("a push has a commit")?;
    let path = format!("/api/v1/projects/{}/builds", project.id);
    let mut waits = Vec::new();
    let cpu_before = cpu_secs(world.slipway.id())?;
    for _ in 0..ROUNDS {
        let made: Value = api.expect(Method::POST, &path, Some(&json!({ "commit": commit }))).await?;
        let id = made["id"].as_str().context("a build has an id")?;
        api.finished_build(id, BUILD).await?;
        let build: Value = api.expect(Method::GET, &format!("/api/v1/builds/{id}"), None).await?;
        let claimed = time(&build["jobs"][0]["attempts"][0]["started_at"])?;
        waits.push((claimed - time(&build["created_at"])?).as_seconds_f64());
    }
    ensure!(!waits.is_empty(), "there were rounds");
    let cpu = (cpu_secs(world.slipway.id())? - cpu_before) / ROUNDS as f64;
    let (p50, p99) = (stats::median(&waits) * 1e3, stats::percentile(&waits, 0.99) * 1e3);
    Ok(Row {
        figure: "job row -> claimed by an idle builder",
        baseline: "none".to_owned(),
        ours: format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        ratio: "-".to_owned(),
        cpu: format!("{:.0} ms for the whole short build", cpu * 1e3),
        target: "p50 under 50 ms, p99 under 200 ms",
        reached: p50 < 50.0 && p99 < 200.0,
    })
}

fn time(value: &Value) -> Result<DateTime<Utc>> {
    let text = value.as_str().context("a time is a text")?;
    Ok(DateTime::parse_from_rfc3339(text).with_context(|| format!("{text} is a time"))?.to_utc())
}
