//! `slipway serve` is killed or asked to stop while it builds. Whatever it was doing, each build ends once,
//! correctly, and with its whole log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions};
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde_json::Value;
use slipway_domain::timing::LOG_FLUSH;
use slipway_tests::api::Build;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine;
use slipway_tests::hooks::github;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};
use sqlx::{Connection as _, SqliteConnection};

use super::gate::Gate;
use super::told::{Told, job, outcomes};

/// How long a build may take on a machine that does other things too; a job that was lost waits 10 s for
/// another builder.
const BUILD: Duration = Duration::from_secs(150);

/// What a killed process had in its hands is in order again after this time.
const REPAIRED: Duration = Duration::from_secs(60);

/// Lines before the kill; more than one chunk.
const LINES: usize = 20_000;

/// Where `serve` dies by itself, and what its attempts end with.
const CRASH_POINTS: &[(&str, &[&str])] = &[
    ("delivery.before_commit", &["succeeded"]),
    ("delivery.after_commit", &["succeeded"]),
    ("build.before_commit", &["succeeded"]),
    ("build.after_commit", &["succeeded"]),
    ("dispatch.before_publish", &["succeeded"]),
    ("claim.before_commit", &["succeeded"]),
    ("claim.after_commit", &["lost", "succeeded"]),
    ("builder.claimed", &["lost", "succeeded"]),
    ("log.segment_stored", &["lost", "succeeded"]),
    ("leave.after_commit", &["lost", "succeeded"]),
    ("builder.tag.moved", &["lost", "succeeded"]),
    ("builder.finish", &["lost", "succeeded"]),
    ("finish.before_commit", &["lost", "succeeded"]),
    ("finish.after_commit", &["succeeded"]),
];

/// Worlds that crash at the same time.
const AT_ONCE: usize = 5;

/// The variable that arms a crash point.
const CRASH_AT: &str = "SLIPWAY_TEST_CRASH_AT";

async fn killed_in_mid_build(database: Database) -> Result<()> {
    let Some(mut world) = World::start(database).await? else { return Ok(()) };
    let gate = Gate::new();
    let told = Told::new(&world, "killed").await?;
    let build = told.push(&world, &gate.dockerfile(LINES)).await?;
    gate.reached().await?;
    let id = job(&world.api().build(&build).await?)?.id.clone();
    all_lines(&world, &id, 1).await?;

    world.slipway.kill9();
    gate.left(Duration::from_secs(5)).await?;
    world.slipway.restart().await?;

    gate.open().await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!(outcomes(&build)?, ["lost", "succeeded"]);
    told.check_tag(&world, &build, "main").await?;
    assert_eq!(world.api().builds(&told.project.id).await?.len(), 1);
    all_lines(&world, &id, 1).await?;
    let log = all_lines(&world, &id, 2).await?;
    assert_eq!(log.matches(&gate.last_line()).count(), 1, "{} bytes", log.len());
    Ok(())
}

#[tokio::test]
async fn a_kill_in_mid_build_on_sqlite() -> Result<()> {
    killed_in_mid_build(Database::Sqlite).await
}

#[tokio::test]
async fn a_kill_in_mid_build_on_postgres() -> Result<()> {
    killed_in_mid_build(Database::Postgres).await
}

/// Waits until an attempt's log has every number once and in order; the log.
async fn all_lines(world: &World, job: &str, epoch: i64) -> Result<String> {
    let numbers = |log: &str| log.lines().filter_map(|line| line.trim().parse().ok()).collect::<Vec<usize>>();
    let expected: Vec<usize> = (1..=LINES).collect();
    let api = world.api();
    let whole = eventually("an attempt's whole log", REPAIRED, || async {
        let log = String::from_utf8(api.log_bytes(job, &format!("?epoch={epoch}")).await?)?;
        Ok((numbers(&log).len() >= LINES).then_some(log))
    });
    let log = whole.await?;
    ensure!(numbers(&log) == expected, "the log of attempt {epoch} has lines twice or out of order");
    Ok(log)
}

#[tokio::test]
async fn a_death_at_any_line_leaves_one_build_that_ends_well() -> Result<()> {
    let stories = CRASH_POINTS.iter().map(|(point, expected)| async move {
        dies_at(point, expected).await.with_context(|| format!("the process died at {point}"))
    });
    let told: Vec<Result<()>> = futures_util::stream::iter(stories).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = told.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

async fn dies_at(point: &str, expected: &[&str]) -> Result<()> {
    let armed = vec![(CRASH_AT.to_owned(), point.to_owned())];
    let Some(mut world) = World::start_with(Database::Sqlite, armed).await? else { return Ok(()) };
    let told = Told::new(&world, "crashed").await?;
    // A segment is stored in mid-build: not just when the engine has run the step and not yet told its line, which would be
    // cached then and in no log.
    let pause = if point == "log.segment_stored" { LOG_FLUSH.as_secs() + 3 } else { 0 };
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN sleep {pause}; echo built for {}\n", world.name);
    let moved = told.commit(&dockerfile)?;
    let delivery = github::push(&told.repo, &moved, &told.project.hook.secret);
    // Whether the forge gets an answer depends on the line.
    let first = world.api().deliver(&told.project.hook.url, &delivery).await;
    world.slipway.stopped().await?;
    let left = work_of(&world);
    world.slipway.restart_with(vec![(CRASH_AT.to_owned(), String::new())]).await?;
    if first.is_err() {
        // What was not answered is sent again, as people do who look at their forge's list.
        let (status, answer) = world.api().deliver(&told.project.hook.url, &delivery).await?;
        ensure!(status.is_success(), "{status} {answer}");
    }
    let api = world.api();
    let project = told.project.id.as_str();
    let build = eventually("the build", REPAIRED, || async { Ok(api.builds(project).await?.pop()) }).await?;
    let build = api.finished_build(&build.id, BUILD).await?;
    ensure!(outcomes(&build)? == expected, "{build:?}, left {left:?}");
    ensure!(api.builds(project).await?.len() == 1, "more than one build");
    told.check_tag(&world, &build, "main").await?;
    // The attempt whose step ran has its line; for a later one the step may be cached.
    let mut logs = String::new();
    for attempt in &job(&build)?.attempts {
        let log = api.log_bytes(&job(&build)?.id, &format!("?epoch={}", attempt.epoch)).await?;
        logs.push_str(&String::from_utf8(log)?);
    }
    ensure!(logs.lines().filter(|line| line.contains(&format!("built for {}", world.name))).count() == 1, "{logs}");
    nothing_left(&world).await
}

/// Workspaces and spools of the local builder.
fn work_of(world: &World) -> Vec<PathBuf> {
    let builder = world.slipway.data_dir().join("builder");
    let entries = [builder.join("work"), builder.join("spool")].into_iter().flat_map(std::fs::read_dir);
    entries.flatten().flatten().map(|entry| entry.path()).collect()
}

/// The builder of this world keeps nothing, on its disk and in the engine.
async fn nothing_left(world: &World) -> Result<()> {
    let builder = local_builder(world).await?;
    eventually("an empty host", REPAIRED, || async {
        let left = (work_of(world), images_of(world, &builder).await?);
        Ok((left.0.is_empty() && left.1.is_empty()).then_some(()))
    })
    .await
    .with_context(|| format!("left: {:?}", work_of(world)))
}

async fn local_builder(world: &World) -> Result<String> {
    let list: Value = world.api().expect(Method::GET, "/api/v1/builders", None).await?;
    Ok(list["items"][0]["id"].as_str().context("there is a builder")?.to_owned())
}

/// The names of the images that carry a builder's label.
async fn images_of(world: &World, builder: &str) -> Result<Vec<String>> {
    let label = HashMap::from([("label", vec![format!("slipway.builder={builder}")])]);
    let options = ListImagesOptionsBuilder::new().filters(&label).build();
    let images = engine::connect(&world.engine).await?.list_images(Some(options)).await?;
    Ok(images.into_iter().flat_map(|image| image.repo_tags).collect())
}

#[tokio::test]
async fn leftovers_of_the_killed_are_removed_and_others_are_not() -> Result<()> {
    let armed = vec![(CRASH_AT.to_owned(), "builder.leave.granted".to_owned())];
    let Some(mut world) = World::start_with(Database::Sqlite, armed).await? else { return Ok(()) };
    let neighbour = Neighbour::new(&world).await?;
    let told = Told::new(&world, "leftovers").await?;
    let builder = local_builder(&world).await?;
    let build = told.push(&world, &format!("FROM {BASE_IMAGE}\nRUN echo {} > /made\n", world.name)).await?;
    world.slipway.stopped().await?;
    let (images, work) = (images_of(&world, &builder).await?, work_of(&world));
    assert!(!images.is_empty() && work.len() > 1, "nothing to clean up: {images:?} {work:?}");

    world.slipway.restart_with(vec![(CRASH_AT.to_owned(), String::new())]).await?;

    // At its start, before anything is taken: the job waits for its second try by now.
    eventually("the engine to be clean", Duration::from_secs(8), || async {
        Ok(images_of(&world, &builder).await?.is_empty().then_some(()))
    })
    .await?;
    let state = world.api().build(&build).await?.state;
    assert!(["pending", "running"].contains(&state.as_str()), "it is over: {state}");
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!(outcomes(&build)?, ["lost", "succeeded"]);
    told.check_tag(&world, &build, "main").await?;
    nothing_left(&world).await?;
    assert_eq!(images_of(&world, &neighbour.builder).await?, std::slice::from_ref(&neighbour.image));
    neighbour.remove(&world).await
}

/// What another builder has on the same engine.
struct Neighbour {
    builder: String,
    image: String,
}

impl Neighbour {
    async fn new(world: &World) -> Result<Self> {
        let (builder, job) = (uuid::Uuid::from_u128(7), uuid::Uuid::from_bytes(slipway_runtime::ids::random_bytes()));
        let neighbour = Self { builder: builder.to_string(), image: format!("slipway-build/{job}:1") };
        let label = format!("LABEL slipway.builder={builder} slipway.job={job} slipway.epoch=1");
        let (repo, tag) = neighbour.image.rsplit_once(':').context("an image has a tag")?;
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repo).tag(tag).changes(vec![label]).build();
        let empty_tar = bollard::body_full(bytes::Bytes::from_static(&[0; 1024]));
        let docker = engine::connect(&world.engine).await?;
        let _: Vec<_> = docker.create_image(Some(options), Some(empty_tar), None).try_collect().await?;
        Ok(neighbour)
    }

    async fn remove(&self, world: &World) -> Result<()> {
        let docker = engine::connect(&world.engine).await?;
        docker.remove_image(&self.image, None::<RemoveImageOptions>, None).await?;
        Ok(())
    }
}

async fn drains(database: Database) -> Result<()> {
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "2".to_owned())];
    let Some(mut world) = World::start_with(database, slots).await? else { return Ok(()) };
    let gate = Gate::new();
    let told = Told::new(&world, "drained").await?;
    let running = told.push(&world, &gate.dockerfile(LINES)).await?;
    gate.reached().await?;
    world.slipway.sigterm()?;
    draining(&world).await?;
    // There is a free slot, and the API still takes deliveries.
    let later = told.push(&world, &format!("FROM {BASE_IMAGE}\nLABEL later={}\n", world.name)).await?;
    gate.open().await?;
    let status = world.slipway.stopped().await?;
    assert_eq!(status.code(), Some(0));

    world.slipway.restart().await?;
    let running: Build = world.api().build(&running).await?;
    assert_eq!(outcomes(&running)?, ["succeeded"]);
    let log = all_lines(&world, &job(&running)?.id, 1).await?;
    assert!(log.contains(&gate.last_line()));
    let later = world.api().finished_build(&later, BUILD).await?;
    assert_eq!(outcomes(&later)?, ["succeeded"]);
    assert!(later.started_at > running.finished_at, "taken while draining: {later:?}");
    told.check_tag(&world, &later, "main").await
}

/// Waits until the only builder says that it takes nothing more.
async fn draining(world: &World) -> Result<()> {
    let api = world.api();
    eventually("the builder to drain", Duration::from_secs(10), || async {
        let list: Value = api.expect(Method::GET, "/api/v1/builders", None).await?;
        Ok((list["items"][0]["state"] == "draining").then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_first_signal_drains_on_sqlite() -> Result<()> {
    drains(Database::Sqlite).await
}

#[tokio::test]
async fn the_first_signal_drains_on_postgres() -> Result<()> {
    drains(Database::Postgres).await
}

#[tokio::test]
async fn the_second_signal_hands_the_work_back() -> Result<()> {
    let Some(mut world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let gate = Gate::new();
    let told = Told::new(&world, "handed-back").await?;
    let build = told.push(&world, &gate.dockerfile(1)).await?;
    gate.reached().await?;
    world.slipway.sigterm()?;
    draining(&world).await?;
    world.slipway.sigterm()?;
    assert_eq!(world.slipway.stopped().await?.code(), Some(0));
    gate.left(Duration::from_secs(5)).await?;

    world.slipway.restart().await?;
    gate.open().await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!(outcomes(&build)?, ["handed_back", "succeeded"]);
    told.check_tag(&world, &build, "main").await?;
    // Being asked to stop is no fault, so that it costs the job none of its tries.
    let database = world.slipway.data_dir().join("slipway.db");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}?mode=ro", database.display())).await?;
    let retries: Vec<i64> = sqlx::query_scalar("select infra_retries from jobs").fetch_all(&mut connection).await?;
    assert_eq!(retries, [0]);
    Ok(())
}
