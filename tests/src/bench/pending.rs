//! From a delivery that is sent to the commit status "pending" that its forge is asked to show: intake, the build's rows,
//! the reporter and the call, each in its own loop.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Row, cpu_secs, stats};
use crate::env::repo::Move;
use crate::fake_forge::{FakeForge, TOKEN};
use crate::hooks;
use crate::world::{Database, Forge, World};

const DELIVERIES: usize = 300;
/// A team that pushes twenty times a second has a large repository.
const EVERY: Duration = Duration::from_millis(50);
const ALL_TOLD: Duration = Duration::from_secs(60);

/// Measures.
pub async fn run() -> Result<Option<Row>> {
    // Nobody builds: the status "pending" is the only one.
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), "0".to_owned())];
    let Some(world) = World::start_with(Database::Sqlite, variables).await? else { return Ok(None) };
    let api = world.api();
    let repo = world.git.repo("bench/pending")?;
    let forge = FakeForge::start(Forge::Github, repo.full_path()).await?;
    let connection = json!({ "kind": "github", "base_url": forge.base_url(), "token": TOKEN });
    let connection: Value = api.expect(Method::POST, "/api/v1/connections", Some(&connection)).await?;
    let mut body = world.project_body(Forge::Github, &repo);
    body["connection"] = connection["id"].clone();
    body["forge"] = Value::Null;
    let project = api.create_project(&body).await?;
    let before = cpu_secs(world.slipway.id())?;
    let mut sent = HashMap::new();
    let mut ticks = tokio::time::interval(EVERY);
    for number in 1..=DELIVERIES {
        ticks.tick().await;
        let moved = Move {
            git_ref: "refs/heads/main".to_owned(),
            before: Some(commit(number - 1)),
            after: Some(commit(number)),
            commit: Some(commit(number)),
            forced: false,
            message: "Bench".to_owned(),
        };
        sent.insert(commit(number), Instant::now());
        let delivery = hooks::push(Forge::Github, &repo, &moved, &project.hook.secret);
        ensure!(api.deliver(&project.hook.url, &delivery).await?.0.is_success(), "the delivery is taken");
    }
    let told = forge.told_when(ALL_TOLD, |told| told.len() >= DELIVERIES).await?;
    let cpu = (cpu_secs(world.slipway.id())? - before) / DELIVERIES as f64;
    let mut took = Vec::with_capacity(told.len());
    for told in &told {
        let sent = sent.get(&told.commit).context("a commit of ours")?;
        took.push(told.at.duration_since(*sent).as_secs_f64());
    }
    let (p50, p99) = (stats::median(&took) * 1e3, stats::percentile(&took, 0.99) * 1e3);
    Ok(Some(Row {
        figure: "delivery -> status \"pending\" requested, 20 a second",
        baseline: "none".to_owned(),
        ours: format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        ratio: "-".to_owned(),
        cpu: format!("{:.1} ms, build's rows and status included", cpu * 1e3),
        target: "p99 under 1 s",
        reached: p99 < 1000.0,
    }))
}

/// Ids that no repository has, one for each number.
fn commit(number: usize) -> String {
    format!("{number:040x}").replace("0000000000", "abcdef0123")
}
