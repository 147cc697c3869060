//! The whole of Slipway on one machine, grown up: two processes of every role behind nginx, three builders on hosts of
//! their own, PostgreSQL, RabbitMQ, Redis and an S3 server; then many small real builds, and what became of them.
//!
//! `slipway-testenv -- slipway-cluster [BUILDS]`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;
use slipway_tests::api::Build;
use slipway_tests::chaos::site::{Engines, Site};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::hooks::github;

/// Builds unless another number is asked for.
const BUILDS: usize = 200;
/// Repositories that they are pushed to in turn.
const PROJECTS: usize = 5;
/// How long one build may take, waiting included.
const PATIENCE: Duration = Duration::from_secs(900);
/// Builds that are asked after at once.
const AT_ONCE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipway-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let wanted = match std::env::args().nth(1) {
        Some(number) => number.parse().context("how many builds")?,
        None => BUILDS,
    };
    let began = Instant::now();
    let Some(site) = Site::start(Engines::Real).await? else { return Ok(()) };
    let site = site.quiet();
    println!(
        "cluster: {} processes of {} are ready after {:.1} s",
        site.cluster.members.len(),
        site.cluster.base_url(),
        began.elapsed().as_secs_f64()
    );
    for member in &site.cluster.members {
        println!("cluster:   {:<10} 127.0.0.1:{}", member.role.name(), member.port);
    }
    let began = Instant::now();
    let ids = push(&site, wanted).await?;
    println!("cluster: {wanted} commits pushed and taken in {:.1} s", began.elapsed().as_secs_f64());
    let api = site.api();
    let builds: Vec<Build> = stream::iter(&ids)
        .map(|id| api.finished_build(id, PATIENCE))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_>>()?;
    let took = began.elapsed().as_secs_f64();
    println!("cluster: all ended after {took:.1} s, {:.1} builds a second", builds.len() as f64 / took);
    summary(&builds);
    ensure!(builds.iter().all(|build| build.state == "succeeded"), "some builds did not succeed");
    Ok(())
}

/// Makes the projects and pushes; the builds' ids.
async fn push(site: &Site, wanted: usize) -> Result<Vec<String>> {
    let api = site.api();
    let mut projects = Vec::new();
    for number in 0..PROJECTS {
        let repo = site.git.repo(&format!("cluster/{}-{number}", site.name))?;
        let body = json!({
            "name": repo.full_path(),
            "forge": { "kind": "github" },
            "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
            "image": { "repository": site.image(number) },
        });
        let made = api.create_project(&body).await?;
        projects.push((repo, made));
    }
    let mut ids = Vec::new();
    for number in 0..wanted {
        let (repo, project) = &projects[number % PROJECTS];
        let dockerfile = format!("FROM {BASE_IMAGE}\nRUN echo build {number} of {} && seq 1 50\n", site.name);
        let pushed = repo.commit(&format!("Change {number}"), &[("Dockerfile", &dockerfile)])?;
        let delivery = github::push(repo, &pushed, &project.hook.secret);
        let delivery = api.deliver_and_wait(&project.hook.url, &delivery).await?;
        ids.extend(delivery.builds);
    }
    ensure!(ids.len() == wanted, "{wanted} pushes made {} builds", ids.len());
    Ok(ids)
}

fn summary(builds: &[Build]) {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut builders: BTreeMap<&str, usize> = BTreeMap::new();
    let mut attempts = 0;
    for build in builds {
        *states.entry(&build.state).or_default() += 1;
        for attempt in build.jobs.iter().flat_map(|job| &job.attempts) {
            attempts += 1;
            *builders.entry(attempt.builder.as_deref().unwrap_or("nobody")).or_default() += 1;
        }
    }
    println!("cluster: states {states:?}, {attempts} attempts, by builder {builders:?}");
}
