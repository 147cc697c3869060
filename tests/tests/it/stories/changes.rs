//! Pull requests: a branch's is built like a push that moves nothing; a stranger's waits for an approval, is built as the
//! base branch says, and reaches neither the registry nor anybody's cache.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::{Repo, git};
use slipway_tests::hooks::github;
use slipway_tests::world::{Database, World};

use super::builds::{finished, image_path, new_project};
use super::together::Together;

/// Puts a commit of these files where the forge keeps the head of the pull request, and nowhere else.
fn propose(repo: &Repo, number: u64, files: &[(&str, &str)]) -> Result<String> {
    for (path, text) in files {
        std::fs::write(repo.work().join(path), text)?;
    }
    git(repo.work(), &["checkout", "--quiet", "--detach"])?;
    git(repo.work(), &["add", "--all"])?;
    git(repo.work(), &["commit", "--quiet", "--message", "proposed"])?;
    git(repo.work(), &["push", "--quiet", "--force", "origin", &format!("HEAD:refs/pull/{number}/head")])?;
    repo.resolve("HEAD")
}

/// A repository whose `main` wants the stage `safe`, and a proposal that wants the stage `theirs`.
async fn proposal(world: &World, name: &str) -> Result<(Repo, Project, String)> {
    let (repo, project) = new_project(world, name, json!({})).await?;
    let dockerfile = |stage: &str| {
        format!(
            "FROM {BASE_IMAGE} AS safe\nRUN echo this is {stage} safe\nFROM safe AS theirs\nRUN echo this is {stage} theirs\n"
        )
    };
    let files = [("Dockerfile", dockerfile("base")), ("slipway.yml", "build:\n  target: safe\n".to_owned())];
    repo.commit("base", &files.each_ref().map(|(path, text)| (*path, text.as_str())))?;
    let files = [("Dockerfile", dockerfile("proposed")), ("slipway.yml", "build:\n  target: theirs\n".to_owned())];
    let head = propose(&repo, 7, &files.each_ref().map(|(path, text)| (*path, text.as_str())))?;
    Ok((repo, project, head))
}

/// The only build of a project.
async fn only_build(world: &World, project: &Project) -> Result<Build> {
    let builds = world.api().builds(&project.id).await?;
    ensure!(builds.len() == 1, "{builds:?}");
    builds.into_iter().next().context("one")
}

async fn said(world: &World, build: &Build) -> Result<String> {
    world.api().log(&build.jobs.first().context("a job")?.id).await
}

async fn of_a_branch(world: Arc<World>) -> Result<()> {
    let (repo, project, head) = proposal(&world, "change").await?;
    let news = github::pull_request(&repo, (7, "opened"), &head, false, &project.hook.secret);
    let stored = world.api().deliver_and_wait(&project.hook.url, &news).await?;
    assert_eq!((stored.state.as_str(), stored.builds.len()), ("done", 1), "{stored:?}");
    let (build, job) = finished(&world, &only_build(&world, &project).await?).await?;
    assert_eq!((build.state.as_str(), build.trigger.as_str()), ("succeeded", "change"), "{job:?}");
    let log = world.api().log(&job.id).await?;
    assert!(log.contains("this is proposed theirs"), "the pull request's own rules count: {log}");
    assert!(job.images.is_empty() && log.contains("so nothing is pushed"), "{job:?}");
    assert_eq!(world.registry().tags(&image_path(&world, "change")).await?, Vec::<String>::new());
    Ok(())
}

async fn of_a_stranger(world: Arc<World>) -> Result<()> {
    let (repo, project, head) = proposal(&world, "stranger").await?;
    let news = |action| github::pull_request(&repo, (7, action), &head, true, &project.hook.secret);
    let opened = news("opened");
    world.api().deliver_and_wait(&project.hook.url, &opened).await?;
    let (again, _) = world.api().deliver(&project.hook.url, &opened).await?;
    assert_eq!(again, StatusCode::OK, "told twice, built once");
    let build = only_build(&world, &project).await?;
    let shown: Value = world.api().expect(Method::GET, &format!("/api/v1/builds/{}", build.id), None).await?;
    let waiting = shown["waiting"]["reason"].as_str().unwrap_or_default();
    assert_eq!((build.state.as_str(), build.jobs[0].state.as_str()), ("pending", "blocked"));
    assert!(waiting.contains("approve"), "{waiting}");

    let path = format!("/api/v1/builds/{}/approve", build.id);
    let (nobody, _) = world.api().with_token(None).call(Method::POST, &path, None).await?;
    assert!(nobody == StatusCode::UNAUTHORIZED || nobody == StatusCode::NOT_FOUND, "{nobody}");
    assert_eq!(world.api().build(&build.id).await?.jobs[0].state, "blocked");
    for _ in 0..2 {
        let _: Value = world.api().expect(Method::POST, &path, None).await?;
    }
    let (build, job) = finished(&world, &build).await?;
    let log = world.api().log(&job.id).await?;
    assert_eq!(build.state, "succeeded", "{log}");
    assert!(log.contains("this is proposed safe") && !log.contains("theirs"), "the base branch's rules count: {log}");
    assert!(job.images.is_empty(), "{job:?}");
    let (late, _) = world.api().call(Method::POST, &path, None).await?;
    assert_eq!(late, StatusCode::CONFLICT, "it is over");

    // A repeat is approved by whoever asks for it, and still a stranger's.
    let retry = format!("/api/v1/builds/{}/retry", build.id);
    let repeated: Build = world.api().expect(Method::POST, &retry, None).await?;
    let (repeated, job) = finished(&world, &repeated).await?;
    let log = world.api().log(&job.id).await?;
    assert!(repeated.state == "succeeded" && !log.contains("theirs") && job.images.is_empty(), "{log}");
    assert_eq!(world.registry().tags(&image_path(&world, "stranger")).await?, Vec::<String>::new());

    let closed = world.api().deliver_and_wait(&project.hook.url, &news("closed")).await?;
    assert_eq!((closed.state.as_str(), closed.builds.len()), ("ignored", 0));
    assert!(closed.reason.as_deref().is_some_and(|reason| reason.contains("was closed")), "{closed:?}");
    Ok(())
}

async fn that_brings_a_frontend(world: Arc<World>) -> Result<()> {
    let (repo, project) = new_project(&world, "frontend", json!({})).await?;
    repo.commit("base", &[("Dockerfile", &format!("FROM {BASE_IMAGE}\n"))])?;
    let head = propose(&repo, 8, &[("Dockerfile", "# syntax=stranger/frontend\nFROM scratch\n")])?;
    let news = github::pull_request(&repo, (8, "opened"), &head, true, &project.hook.secret);
    world.api().deliver_and_wait(&project.hook.url, &news).await?;
    let build = only_build(&world, &project).await?;
    let path = format!("/api/v1/builds/{}/approve", build.id);
    let build: Build = world.api().expect(Method::POST, &path, None).await?;
    let (build, _) = finished(&world, &build).await?;
    assert_eq!(build.state, "failed");
    assert!(said(&world, &world.api().build(&build.id).await?).await?.contains("may name no frontend"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_requests_are_built_and_strangers_reach_nothing() -> Result<()> {
    let Some(world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let mut stories = Together::new(world);
    stories.story("a pull request of a branch", of_a_branch);
    stories.story("a pull request of a stranger", of_a_stranger);
    stories.story("a stranger's own frontend", that_brings_a_frontend);
    stories.end().await
}
