//! The same commit built again: every step is found, nothing is run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_tests::api::{Job, Project, Step};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::world::World;

use super::builds::{finished, image_path, new_project, start};

/// Builds a commit; the job, and how long it took as its user sees it.
async fn built(world: &World, project: &Project, commit: &str) -> Result<(Job, Duration)> {
    let asked = Instant::now();
    let build = start(world, project, commit, &json!({})).await?;
    let (build, job) = finished(world, &build).await?;
    let took = asked.elapsed();
    ensure!(build.state == "succeeded", "{job:?}");
    Ok((job, took))
}

/// Steps of the Dockerfile that make something: `[2/4] RUN …`, not `[internal] …` and not `[slipway] …`.
fn made(job: &Job) -> Vec<&Step> {
    let instruction = |step: &&Step| ["RUN ", "COPY ", "ADD ", "WORKDIR "].iter().any(|word| step.name.contains(word));
    job.steps.iter().filter(|step| step.name.starts_with('[')).filter(instruction).collect()
}

async fn layers(world: &World, job: &Job) -> Result<Value> {
    let image = job.images.first().context("an image")?;
    let (manifest, _) = world.registry().image(&image_path(world, "rebuilt"), &image.digest).await?;
    ensure!(manifest["layers"].as_array().is_some_and(|layers| layers.len() > 3), "{manifest}");
    Ok(manifest["layers"].clone())
}

#[tokio::test]
async fn an_unchanged_commit_is_built_from_the_cache_alone() -> Result<()> {
    // Its own: nobody else's cancel or cleaning has a say in what this engine keeps.
    let Some(engine) = Engine::odd(Oddity::None).await? else { return Ok(()) };
    let Some(world) = World::start_on(&engine).await? else { return Ok(()) };
    let (repo, project) = new_project(&world, "rebuilt", json!({})).await?;
    let dockerfile = format!(
        "FROM {BASE_IMAGE} AS one\nWORKDIR /work\nCOPY . .\nRUN sleep 5; cat a/file > made; echo {name}\n\
         FROM {BASE_IMAGE}\nADD a/file /added\nCOPY --from=one /work/made /made\nRUN sleep 3; cat /made; echo {name}\n",
        name = world.name
    );
    repo.commit("one", &[("Dockerfile", &dockerfile), ("a/file", "text\n"), ("run.sh", "#!/bin/sh\n")])?;
    let commit = repo.resolve("HEAD")?;
    let (first, took) = built(&world, &project, &commit).await?;
    let steps = made(&first);
    assert_eq!((steps.len(), steps.iter().filter(|step| step.cached).count()), (6, 0), "{steps:?}");
    let (again, took_again) = built(&world, &project, &commit).await?;
    let steps = made(&again);
    assert!(steps.len() == 6 && steps.iter().all(|step| step.cached && step.state == "succeeded"), "{steps:?}");
    // The labels say which build made it.
    assert_eq!(layers(&world, &again).await?, layers(&world, &first).await?);
    eprintln!("built in {took:.1?}, again in {took_again:.1?}: {:.2}x", took_again.as_secs_f64() / took.as_secs_f64());

    // Another commit with the same files finds them too: nothing of the checkout's time is in the context.
    repo.commit("two, with the same files", &[])?;
    let (other, _) = built(&world, &project, &repo.resolve("HEAD")?).await?;
    let steps = made(&other);
    assert!(steps.iter().all(|step| step.cached), "{steps:?}");
    Ok(())
}
