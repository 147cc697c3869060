//! A push becomes a pushed image, and its log is whole.

use std::time::Duration;

use anyhow::{Context, Result};
use slipway_tests::api::Build;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::hooks;
use slipway_tests::world::{Database, Forge, World};

/// How long a small build may take on a machine that does other things too.
const BUILD: Duration = Duration::from_secs(120);

/// Lines that one step writes: more than one chunk, and more than an engine's usual limit per second.
const LINES: usize = 60_000;

async fn push_becomes_image(forge: Forge, database: Database) -> Result<()> {
    let Some(world) = World::start(database).await? else { return Ok(()) };
    let api = world.api();
    let repo = world.git.repo(&format!("team/{}", world.name))?;
    let project = world.project(forge, &repo).await?;
    let pushed = repo.commit("Say hello", &[("Dockerfile", &dockerfile(&world.name)), ("hello.txt", "hello\n")])?;
    let commit = pushed.after.clone().context("a push has a commit")?;
    let delivery = hooks::push(forge, &repo, &pushed, &project.hook.secret);

    let delivery = api.deliver_and_wait(&project.hook.url, &delivery).await?;
    assert_eq!((delivery.state.as_str(), delivery.builds.len()), ("done", 1), "{delivery:?}");
    let build = api.finished_build(&delivery.builds[0], BUILD).await?;

    assert_eq!((build.state.as_str(), build.trigger.as_str()), ("succeeded", "push"), "{build:?}");
    assert_eq!(build.commit, commit);
    check_images(&world, &build, &commit).await?;
    check_steps(&build);
    check_log(&world, &build).await
}

/// Two stages, so that one is copied from; the story's name keeps its steps out of other stories' caches.
fn dockerfile(name: &str) -> String {
    format!(
        "FROM {BASE_IMAGE} AS build\n\
         RUN echo made for {name} && seq 1 {LINES} && cat /etc/group > /made\n\
         FROM {BASE_IMAGE}\n\
         COPY --from=build /made /made\n\
         COPY hello.txt /hello.txt\n\
         RUN test \"$(cat /hello.txt)\" = hello && echo second stage of {name}\n\
         LABEL story={name}\n"
    )
}

async fn check_images(world: &World, build: &Build, commit: &str) -> Result<()> {
    let job = build.jobs.first().context("a build has a job")?;
    assert_eq!((job.kind.as_str(), job.state.as_str(), &job.failure.is_none()), ("image", "succeeded", &true));
    let registry = world.registry();
    let mut refs: Vec<_> = job.images.iter().map(|image| image.image_ref.clone()).collect();
    refs.sort();
    let mut expected = [format!("{}:{commit}", world.image()), format!("{}:main", world.image())];
    expected.sort();
    assert_eq!(refs, expected);
    for image in &job.images {
        let tag = image.image_ref.rsplit(':').next().context("an image has a tag")?;
        let there = registry.digest(&world.image_path(), tag).await?;
        assert_eq!(there.as_deref(), Some(image.digest.as_str()), "{}", image.image_ref);
    }
    let (_, config) = registry.image(&world.image_path(), commit).await?;
    assert_eq!(config["config"]["Labels"]["story"], world.name.as_str());
    Ok(())
}

fn check_steps(build: &Build) {
    let steps = &build.jobs[0].steps;
    let runs: Vec<_> = steps.iter().filter(|step| step.name.contains("RUN ")).collect();
    assert_eq!(runs.len(), 2, "{steps:?}");
    assert!(runs.iter().all(|step| !step.cached), "{steps:?}");
}

async fn check_log(world: &World, build: &Build) -> Result<()> {
    let api = world.api();
    let job = &build.jobs[0].id;
    let log = api.log(job).await?;
    let end: Vec<_> = log.lines().rev().take(5).collect();
    assert!(
        log.contains(&format!("second stage of {}", world.name)),
        "{} lines, the last ones {end:?}",
        log.lines().count()
    );
    assert!(!log.contains("output clipped"));
    let numbers: Vec<usize> = log.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert_eq!(numbers, (1..=LINES).collect::<Vec<_>>(), "every line once and in order");
    let tail = String::from_utf8(api.log_bytes(job, "?tail=3").await?)?;
    assert_eq!(tail.lines().count(), 3);
    assert!(log.trim_end().ends_with(tail.trim_end()));
    let events = api.log_stream(job, Duration::from_secs(30)).await?;
    let last = events.last().context("a stream has an end")?;
    assert_eq!(last.event, "end");
    assert!(events.iter().filter(|event| event.data.contains(&LINES.to_string())).count() >= 1);
    Ok(())
}

#[tokio::test]
async fn from_github_on_sqlite() -> Result<()> {
    push_becomes_image(Forge::Github, Database::Sqlite).await
}

#[tokio::test]
async fn from_github_on_postgres() -> Result<()> {
    push_becomes_image(Forge::Github, Database::Postgres).await
}

#[tokio::test]
async fn from_gitlab_on_sqlite() -> Result<()> {
    push_becomes_image(Forge::Gitlab, Database::Sqlite).await
}

#[tokio::test]
async fn from_gitlab_on_postgres() -> Result<()> {
    push_becomes_image(Forge::Gitlab, Database::Postgres).await
}
