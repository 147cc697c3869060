//! Disks that are full: the builder's, the service's, the engine's. It is ours, it is said, nothing is half
//! done, and with space everything goes on.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::{Attempt, Build, Failure};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::hooks::Delivery;
use slipway_tests::hooks::github;
use slipway_tests::wait::eventually;
use slipway_tests::world::World;

use super::builds::{BUILD, image_path};
use super::gate::Gate;
use super::later::Later;
use super::told::{Told, job, outcomes};

/// How long a builder may take to say how it stands, or to clean up.
const SAID: Duration = Duration::from_secs(30);

/// The file of a checkout that does not fit; its pack is small.
const LARGE: usize = 8 << 20;

/// More lines than may still fit into a page that is begun.
const LINES: usize = 20_000;

/// Larger than what SQLite's log still has room for.
const LARGE_DELIVERY: usize = 12 << 20;

/// The attempt of this epoch once it is closed, and why it did not succeed.
async fn closed(world: &World, build: &str, epoch: usize) -> Result<(Attempt, Failure)> {
    let ended = |build: &Build| build.jobs[0].attempts.get(epoch - 1).is_some_and(|attempt| attempt.state == "closed");
    let mut build = world.api().build_when(build, BUILD, ended).await?;
    let attempt = build.jobs[0].attempts.swap_remove(epoch - 1);
    let failure = attempt.failure.clone().context("an attempt that did not succeed says why")?;
    Ok((attempt, failure))
}

/// Our fault, named as a full disk, with a sentence and a hint that say so.
fn is_full_disk(attempt: &Attempt, failure: &Failure) -> Result<()> {
    ensure!(attempt.outcome.as_deref() == Some("infra") && failure.class == "disk_full", "{attempt:?}");
    let hint = failure.hint.as_deref().unwrap_or_default();
    let sentence = failure.message.to_lowercase();
    ensure!(sentence.contains("disk is full") || sentence.contains("no space left"), "{failure:?}");
    ensure!(hint.contains("disk is full") && hint.contains("operator"), "{failure:?}");
    Ok(())
}

/// What the local builder still has of its attempts.
fn left_over(world: &World) -> Vec<PathBuf> {
    let builder = world.slipway.data_dir().join("builder");
    let entries = [builder.join("work"), builder.join("spool")].into_iter().flat_map(fs::read_dir);
    entries.flatten().flatten().map(|entry| entry.path()).collect()
}

/// Nothing of a failed attempt stays, on the builder and in the registry.
async fn nothing_half_done(world: &World, name: &str) -> Result<()> {
    let gone = eventually("workspaces and spools to be gone", SAID, || async {
        Ok(left_over(world).is_empty().then_some(()))
    });
    gone.await.with_context(|| format!("{:?}", left_over(world)))?;
    let tags = world.registry().tags(&image_path(world, name)).await?;
    ensure!(tags.is_empty(), "{tags:?}");
    Ok(())
}

/// Waits until the only builder says that it takes nothing because of its disk.
async fn builder_says_so(world: &World) -> Result<()> {
    let said = eventually("the builder to say that its disk is full", SAID, || async {
        let page: Value = world.api().expect(Method::GET, "/api/v1/builders", None).await?;
        let mut builders = page["items"].as_array().into_iter().flatten();
        let online = builders.find(|builder| builder["state"] == "online");
        let reason = online.and_then(|builder| builder["load"]["not_taking"].as_str());
        Ok(reason.filter(|reason| reason.contains("disk is nearly full")).map(drop))
    });
    said.await
}

/// A commit whose step waits at the gate and then says much; its checkout has a large file.
fn large_commit(told: &Told, gate: &Gate) -> Result<String> {
    // Git leaves holes for zeros, so that they need no room.
    fs::write(told.repo.work().join("large.bin"), "x".repeat(LARGE))?;
    let dockerfile = format!("{}RUN seq 1 {LINES}\n", gate.dockerfile(1));
    told.repo.commit("large", &[("Dockerfile", &dockerfile)])?.after.context("a commit")
}

#[tokio::test]
async fn a_builder_whose_disk_fills_up_says_so_wherever_it_was() -> Result<()> {
    let Some(mut world) = World::start_on_small_disk("builder").await? else { return Ok(()) };
    let told = Told::new(&world, "filled").await?;
    let gate = Gate::new();
    let commit = large_commit(&told, &gate)?;
    let mut later = Later::default();

    // The pack, the checkout, the context: there is room for what comes before.
    world.git.hold();
    let path = format!("/api/v1/projects/{}/builds", told.project.id);
    let build: Build = world.api().expect(Method::POST, &path, Some(&json!({ "commit": commit }))).await?;
    let places = [(0, "fetch source"), (LARGE / 2, "fetch source"), (LARGE + LARGE / 2, "pack build context")];
    for (epoch, (room, step)) in (1..).zip(places) {
        world.git.held().await?;
        world.slipway.disk()?.leave(room as u64)?;
        world.git.release();
        let (attempt, failure) = closed(&world, &build.id, epoch).await?;
        is_full_disk(&attempt, &failure).with_context(|| format!("with {room} bytes of room"))?;
        ensure!(failure.step.as_ref().is_some_and(|name| name.contains(step)), "{failure:?}");
        nothing_half_done(&world, "filled").await?;
        world.git.hold();
        world.slipway.disk()?.free()?;
        later.skip_the_pause(&mut world).await?;
    }

    // The log of a step.
    world.git.held().await?;
    world.git.release();
    gate.reached().await?;
    world.slipway.disk()?.fill()?;
    gate.open().await?;
    let (attempt, failure) = closed(&world, &build.id, places.len() + 1).await?;
    is_full_disk(&attempt, &failure)?;
    let build = world.api().finished_build(&build.id, BUILD).await?;
    assert_eq!((build.state.as_str(), job(&build)?.state.as_str()), ("errored", "errored"), "{build:?}");
    assert_eq!(outcomes(&build)?, ["infra"; 4]);
    assert_eq!(job(&build)?.failure.as_ref().map(|failure| failure.class.as_str()), Some("disk_full"));
    nothing_half_done(&world, "filled").await?;

    // While it is full nothing is taken, and waiting costs nothing.
    builder_says_so(&world).await?;
    let next = told.push(&world, &format!("FROM {BASE_IMAGE}\nRUN echo {}\n", world.name)).await?;
    builder_says_so(&world).await?;
    assert_eq!(outcomes(&world.api().build(&next).await?)?.len(), 0);
    world.slipway.disk()?.free()?;
    let next = world.api().finished_build(&next, BUILD).await?;
    assert_eq!(outcomes(&next)?, ["succeeded"]);
    told.check_tag(&world, &next, "main").await
}

/// A push whose delivery is as large as `padding` says.
fn padded_push(told: &Told, dockerfile: &str, padding: usize) -> Result<Delivery> {
    let push = github::push(&told.repo, &told.commit(dockerfile)?, &told.project.hook.secret);
    let mut body: Value = serde_json::from_slice(&push.body)?;
    body["padding"] = json!("x".repeat(padding));
    Ok(github::sign("push", body.to_string().into_bytes(), &told.project.hook.secret))
}

async fn count_deliveries(world: &World, told: &Told) -> Result<usize> {
    let path = format!("/api/v1/deliveries?project={}", told.project.id);
    let page: Value = world.api().expect(Method::GET, &path, None).await?;
    Ok(page["items"].as_array().context("a list has items")?.len())
}

#[tokio::test]
async fn a_service_whose_disk_is_full_takes_nothing_half_and_recovers() -> Result<()> {
    let Some(world) = World::start_on_small_disk("").await? else { return Ok(()) };
    let told = Told::new(&world, "service").await?;
    let gate = Gate::new();
    let running = told.push(&world, &gate.dockerfile(1)).await?;
    gate.reached().await?;
    world.slipway.disk()?.fill()?;

    let push = padded_push(&told, &format!("FROM {BASE_IMAGE}\nRUN echo {}\n", world.name), LARGE_DELIVERY)?;
    let (status, problem) = world.api().deliver(&told.project.hook.url, &push).await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    let detail = problem["detail"].as_str().context("a problem")?;
    assert!(problem["status"] == 503 && detail.contains("disk is full") && detail.contains("again"), "{problem}");
    // It goes on answering, and the refused delivery left nothing.
    assert_eq!(count_deliveries(&world, &told).await?, 1);
    assert_eq!(world.api().builds(&told.project.id).await?.len(), 1);
    gate.open().await?;
    gate.left(SAID).await?;
    world.slipway.disk()?.free()?;

    let pushed = world.api().deliver_and_wait(&told.project.hook.url, &push).await?;
    assert_eq!(pushed.builds.len(), 1, "{pushed:?}");
    let running = world.api().finished_build(&running, BUILD).await?;
    assert_eq!(outcomes(&running)?, ["succeeded"]);
    let log = world.api().log(&job(&running)?.id).await?;
    assert!(log.contains(&gate.last_line()) && log.contains("now shows"), "{log}");
    let pushed = world.api().finished_build(&pushed.builds[0], BUILD).await?;
    assert_eq!(outcomes(&pushed)?, ["succeeded"]);
    told.check_tag(&world, &pushed, "main").await
}

#[tokio::test]
async fn an_engine_whose_disk_is_full_is_not_the_users_fault() -> Result<()> {
    let Some(engine) = Engine::odd(Oddity::SmallDisk).await? else { return Ok(()) };
    let Some(mut world) = World::start_on(&engine).await? else { return Ok(()) };
    let told = Told::new(&world, "engine").await?;
    let gate = Gate::new();
    let dockerfile = format!("{}RUN echo of {} > /file\n", gate.dockerfile(1), world.name);
    let build = told.push(&world, &dockerfile).await?;
    gate.reached().await?;
    engine.disk()?.fill()?;
    gate.open().await?;
    let (attempt, failure) = closed(&world, &build, 1).await?;
    is_full_disk(&attempt, &failure)?;
    ensure!(failure.step.as_ref().is_some_and(|step| step.contains("RUN echo of")), "{failure:?}");
    ensure!(failure.exit_code.is_none(), "{failure:?}");

    engine.disk()?.free()?;
    Later::default().skip_the_pause(&mut world).await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!(outcomes(&build)?, ["infra", "succeeded"]);
    told.check_tag(&world, &build, "main").await
}
