//! Updating Docker on a builder's host, as deploy/UPGRADE.md tells it: drain, update, start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::env::remote_builder::{Joining, RemoteBuilder};
use slipway_tests::hooks::github;
use slipway_tests::world::{Database, Forge, World};

/// How long a small build may take on a machine that does other things too.
const BUILD: Duration = Duration::from_secs(120);

#[tokio::test]
async fn docker_is_updated_on_a_builders_host_and_no_build_notices() -> Result<()> {
    let Some(mut engine) = Engine::odd(Oddity::None).await? else { return Ok(()) };
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "0".to_owned())];
    let Some(world) = World::start_with(Database::Sqlite, slots).await? else { return Ok(()) };
    let api = world.api();
    let repo = world.git.repo(&format!("team/{}", world.name))?;
    let project = world.project(Forge::Github, &repo).await?;
    let made: Value = api.expect(Method::POST, "/api/v1/builders/tokens", Some(&json!({}))).await?;
    let joining = Joining {
        server_url: world.slipway.base_url(),
        token: made["token"].as_str().context("a join token")?.to_owned(),
        engine: engine.host(),
        name: "updated".to_owned(),
        variables: Vec::new(),
    };
    let push = async |number: u32| {
        let dockerfile = format!("FROM {BASE_IMAGE}\nRUN echo {number} of {} && sleep 4\n", world.name);
        let pushed = repo.commit(&format!("Change {number}"), &[("Dockerfile", &dockerfile)])?;
        let delivery = github::push(&repo, &pushed, &project.hook.secret);
        let delivery = api.deliver_and_wait(&project.hook.url, &delivery).await?;
        delivery.builds.first().cloned().context("a push makes a build")
    };

    let mut builder = RemoteBuilder::start(&joining)?;
    let running = push(1).await?;
    api.build_when(&running, BUILD, |build| {
        build.jobs[0].attempts.iter().any(|at| at.phase.as_deref() == Some("building"))
    })
    .await?;
    builder.sigterm()?;
    let waiting = push(2).await?;
    let status = builder.stopped().await?;
    ensure!(status.success(), "the drained builder ended with {status}");
    let first = api.build(&running).await?;
    ensure!(first.state == "succeeded" && first.jobs[0].attempts.len() == 1, "{first:?}");
    let second = api.build(&waiting).await?;
    ensure!(second.jobs[0].attempts.is_empty(), "a draining builder took a job: {second:?}");

    engine.restart().await?;
    let _builder = RemoteBuilder::start(&joining)?;
    let second = api.finished_build(&waiting, BUILD).await?;
    ensure!(second.state == "succeeded" && second.jobs[0].attempts.len() == 1, "{second:?}");
    Ok(())
}
