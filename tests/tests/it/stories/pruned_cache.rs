//! An engine whose disk fills up with what it keeps between builds: the oldest of it goes, and nobody waits for long.

use std::time::Duration;

use anyhow::{Context, Result};
use slipway_tests::api::Job;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::wait::eventually;
use slipway_tests::world::World;

use super::builds::BUILD;
use super::told::{Told, job};

/// What the layer of each build has.
const LAYER_BYTES: u64 = 40_000_000;
/// How long the builder may take to see the disk and to make room: two looks and a round or two.
const ROOM: Duration = Duration::from_secs(60);

/// Builds a layer that has this word in its name; the job.
async fn built(world: &World, told: &Told, word: &str) -> Result<Job> {
    let run = format!("RUN head -c {LAYER_BYTES} /dev/urandom > /{word}; echo {}", world.name);
    let build = told.push(world, &format!("FROM {BASE_IMAGE}\n{run}\nRUN true {word}\n")).await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    told.check_tag(world, &build, "main").await?;
    Ok(job(&build)?.clone())
}

fn is_cached(job: &Job) -> Result<bool> {
    Ok(job.steps.iter().find(|step| step.name.contains("RUN head")).with_context(|| format!("{:?}", job.steps))?.cached)
}

#[tokio::test]
async fn a_full_engine_forgets_its_oldest_layers_alone() -> Result<()> {
    let Some(engine) = Engine::odd(Oddity::SmallDisk).await? else { return Ok(()) };
    let Some(mut world) = World::start_on(&engine).await? else { return Ok(()) };
    let marks = [("SLIPWAY_CACHE_HIGH", "80"), ("SLIPWAY_CACHE_LOW", "70")];
    let marks = marks.map(|(name, value)| (name.to_owned(), value.to_owned()));
    world.slipway.restart_with(marks.to_vec()).await?;
    let (old, new) = (Told::new(&world, "old").await?, Told::new(&world, "new").await?);
    for (told, word) in [(&old, "first"), (&old, "second"), (&new, "third")] {
        assert!(!is_cached(&built(&world, told, word).await?)?, "{word}");
    }

    let disk = engine.disk()?;
    let before = disk.used()?;
    disk.leave(before / 6)?;
    let low = eventually("the builder to make room", ROOM, || async { Ok((disk.share_used()? <= 0.7).then_some(())) });
    low.await.with_context(|| format!("{:.2} of the disk is used", disk.share_used().unwrap_or_default()))?;
    let after = disk.used()?;
    eprintln!("the engine used {before} bytes before and {after} after");
    assert!(before - after >= LAYER_BYTES, "{before} {after}");
    disk.free()?;

    assert!(is_cached(&built(&world, &new, "third").await?)?, "what was used last is kept");
    let log = std::fs::read_to_string(world.slipway.log())?;
    assert!(log.contains("oldest of the engine's cache removed"), "it is told to the operator");
    assert!(!is_cached(&built(&world, &old, "first").await?)?, "what was used least lately is gone");
    Ok(())
}
