//! From a line written in RUN to a viewer: our server-sent events against a bare bollard client on the same
//! engine. Each line is the step's own uptime, so both sides compare the same clock (10 ms resolution).

use std::time::Duration;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::models::BuildInfoAux;
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::bench::{Row, stats};
use crate::env::base_image::BASE_IMAGE;
use crate::env::engine::connect;
use crate::world::{Forge, World};
use reqwest::Method;

const ROUNDS: usize = 4;
const LINES: usize = 100;
const BUILD: Duration = Duration::from_secs(60);

/// Measures.
pub async fn run(world: &World) -> Result<Row> {
    let docker = connect(&world.engine).await?;
    let repo = world.git.repo("bench/lag")?;
    let project = world.project(Forge::Github, &repo).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            ours.extend(through_slipway(world, &repo, &project.id, round).await?);
            theirs.extend(through_bollard(&docker, round).await?);
        } else {
            theirs.extend(through_bollard(&docker, round).await?);
            ours.extend(through_slipway(world, &repo, &project.id, round).await?);
        }
    }
    let (our_p99, their_p99) = (stats::percentile(&ours, 0.99) * 1e3, stats::percentile(&theirs, 0.99) * 1e3);
    Ok(Row {
        figure: "line written in RUN -> viewer",
        baseline: format!("p50 {:.0} ms, p99 {their_p99:.0} ms (bollard)", stats::median(&theirs) * 1e3),
        ours: format!("p50 {:.0} ms, p99 {our_p99:.0} ms", stats::median(&ours) * 1e3),
        ratio: format!("{:.0} ms over, p99", our_p99 - their_p99),
        cpu: "-".to_owned(),
        target: "at most 100 ms over, p99",
        reached: our_p99 - their_p99 <= 100.0,
    })
}

fn dockerfile(round: usize, side: &str) -> String {
    format!(
        "FROM {BASE_IMAGE}\nRUN echo {side} {round}; i=0; while [ $i -lt {LINES} ]; do read up rest < /proc/uptime; \
         echo \"at $up\"; i=$((i+1)); sleep 0.03; done\n"
    )
}

/// Seconds since the line's own time, for every line in this text.
fn lags(text: &str) -> Vec<f64> {
    let now = uptime();
    text.lines()
        .filter_map(|line| line.strip_prefix("at ")?.trim().parse::<f64>().ok())
        .map(|at| (now - at).max(0.0))
        .collect()
}

fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split_whitespace().next().and_then(|up| up.parse().ok()).unwrap_or(0.0)
}

async fn through_slipway(
    world: &World,
    repo: &crate::env::repo::Repo,
    project: &str,
    round: usize,
) -> Result<Vec<f64>> {
    let api = world.api();
    let pushed = repo.commit(&format!("Lag {round}"), &[("Dockerfile", &dockerfile(round, "ours"))])?;
    let body = json!({ "commit": pushed.after });
    let made: Value = api.expect(Method::POST, &format!("/api/v1/projects/{project}/builds"), Some(&body)).await?;
    let job = made["jobs"][0]["id"].as_str().context("a build has a job")?.to_owned();
    let seen = std::sync::Mutex::new(Vec::new());
    api.log_stream_until(&job, None, BUILD, |event| {
        if event.event == "end" {
            return true;
        }
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let spans = data["spans"].as_array().cloned().unwrap_or_default();
        let new: Vec<f64> = spans.iter().flat_map(|span| lags(span["text"].as_str().unwrap_or_default())).collect();
        seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(new);
        false
    })
    .await?;
    Ok(seen.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

async fn through_bollard(docker: &Docker, round: usize) -> Result<Vec<f64>> {
    let mut tar = tar::Builder::new(Vec::new());
    let text = dockerfile(round, "theirs");
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "Dockerfile", text.as_bytes())?;
    let session = format!("bench-lag-{round}-{}", std::process::id());
    let options = BuildImageOptionsBuilder::default()
        .dockerfile("Dockerfile")
        .version(BuilderVersion::BuilderBuildKit)
        .session(&session)
        .build();
    let mut stream = docker.build_image(options, None, Some(bollard::body_full(Bytes::from(tar.into_inner()?))));
    let mut seen = Vec::new();
    while let Some(info) = stream.next().await {
        if let Some(BuildInfoAux::BuildKit(status)) = info.context("building by bollard")?.aux {
            for log in status.logs {
                seen.extend(lags(&String::from_utf8_lossy(&log.msg)));
            }
        }
    }
    Ok(seen)
}
