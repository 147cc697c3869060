//! An engine that is down: the builder says so, takes nothing, and goes on when the engine comes.

use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};

use super::builds::{finished, new_project, start_dockerfile};

/// How long a builder may take to say how it stands.
const SAID: Duration = Duration::from_secs(30);

/// Why the only builder takes nothing; empty when it takes jobs, `None` while there is no builder.
async fn not_taking(world: &World) -> Result<Option<String>> {
    let page: Value = world.api().expect(Method::GET, "/api/v1/builders", None).await?;
    let builder = page["items"].get(0).filter(|builder| builder["state"] == "online");
    Ok(builder.map(|builder| builder["load"]["not_taking"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn a_builder_without_an_engine_says_so_and_recovers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("docker.sock");
    let host = vec![("DOCKER_HOST".to_owned(), format!("unix://{}", socket.display()))];
    let Some(world) = World::start_with(Database::Sqlite, host).await? else { return Ok(()) };
    let told = eventually("the builder to say why it takes nothing", SAID, || async {
        Ok(not_taking(&world).await?.filter(|reason| !reason.is_empty()))
    });
    let told = told.await?;
    assert!(told.contains("engine does not answer"), "{told}");
    let page = reqwest::Client::new().get(format!("{}/builders", world.slipway.base_url()));
    let page = page.bearer_auth(world.slipway.token()).send().await?.error_for_status()?.text().await?;
    assert!(
        page.contains("takes nothing: <span lang=\"en\">the engine does not answer"),
        "the page does not say it:\n{page}"
    );

    let project = new_project(&world, "down", json!({})).await?;
    let build = start_dockerfile(&world, &project, &format!("FROM {BASE_IMAGE}\nRUN echo {}\n", world.name)).await?;
    let path = format!("/api/v1/builds/{}", build.id);
    let waiting = eventually("the build to say why it waits", SAID, || async {
        let build: Value = world.api().expect(Method::GET, &path, None).await?;
        Ok(build["waiting"]["reason"].as_str().map(str::to_owned))
    });
    let reason = waiting.await?;
    assert!(!reason.is_empty());

    let engine = world.engine.strip_prefix("unix://").context("the engine has a socket")?;
    symlink(engine, &socket)?;
    let (build, job) = finished(&world, &build).await?;
    assert_eq!((build.state.as_str(), job.attempts.len()), ("succeeded", 1), "waiting costs no attempt: {job:?}");
    let recovered = eventually("the builder to take jobs", SAID, || async {
        Ok(not_taking(&world).await?.filter(String::is_empty))
    });
    recovered.await.map(drop)
}
