//! A builder that has never seen a project begins with the layers of the image that the project pushed last.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use slipway_tests::api::Job;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::world::World;

use super::builds::BUILD;
use super::told::{Told, job};

/// How long the step runs that need not run again.
const STEP: Duration = Duration::from_secs(5);
/// What the log says where an earlier image is looked at.
const COLD: &str = "Nothing of this project is cached here yet";

/// Pushes a commit that changes only what comes after the long step; its job, its log, and how long it took.
async fn built(world: &World, told: &Told, word: &str) -> Result<(Job, String, Duration)> {
    let dockerfile = format!(
        "FROM {BASE_IMAGE}\nWORKDIR /work\nRUN sleep {}; echo of {} > made\nCOPY word /word\nRUN cat /word\n",
        STEP.as_secs(),
        told.project.id
    );
    let moved = told.repo.commit(word, &[("Dockerfile", &dockerfile), ("word", word)])?;
    let asked = Instant::now();
    let build = told.build_of(world, &moved).await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    let took = asked.elapsed();
    told.check_tag(world, &build, "main").await?;
    let job = job(&build)?.clone();
    let log = world.api().log(&job.id).await?;
    Ok((job, log, took))
}

fn is_cached(job: &Job, part: &str) -> Result<bool> {
    let step = job.steps.iter().find(|step| step.name.contains(part));
    Ok(step.with_context(|| format!("{part}: {:?}", job.steps))?.cached)
}

#[tokio::test]
async fn a_new_engine_begins_with_the_layers_that_were_pushed() -> Result<()> {
    let (Some(first), Some(second)) = (Engine::odd(Oddity::None).await?, Engine::odd(Oddity::None).await?) else {
        return Ok(());
    };
    let Some(mut world) = World::start_on(&first).await? else { return Ok(()) };
    let told = Told::new(&world, "cold").await?;
    let anew = Told::with(&world, "anew", json!({ "build": { "no_cache": true } })).await?;
    for told in [&told, &anew] {
        let (job, log, _) = built(&world, told, "one").await?;
        assert!(!is_cached(&job, "RUN sleep")? && !log.contains(COLD), "nothing was pushed before: {log}");
    }

    world.slipway.restart_with(vec![("DOCKER_HOST".to_owned(), second.host())]).await?;
    let (helped, log, with) = built(&world, &told, "two").await?;
    assert!(log.contains(COLD), "{log}");
    assert!(is_cached(&helped, "RUN sleep")? && is_cached(&helped, "WORKDIR")?, "{:?}", helped.steps);
    assert!(!is_cached(&helped, "COPY word")? && !is_cached(&helped, "RUN cat")?, "{:?}", helped.steps);
    // From now on the engine has its own.
    let (warm, log, again) = built(&world, &told, "three").await?;
    assert!(is_cached(&warm, "RUN sleep")? && !log.contains(COLD), "{log}");
    // Who wants everything anew gets it.
    let (fresh, log, without) = built(&world, &anew, "two").await?;
    assert!(!is_cached(&fresh, "RUN sleep")? && !log.contains(COLD), "{log}");
    assert!(fresh.steps.iter().all(|step| !step.name.contains("importing cache")), "{:?}", fresh.steps);
    eprintln!("on a new engine {with:.1?} with the pushed layers, {without:.1?} without; then {again:.1?}");
    Ok(())
}
