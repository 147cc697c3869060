//! A forge or an object store that is sick delays what is its own. Everybody else is served meanwhile, and once it is
//! well again all of its own is done without an operator.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::StatusCode;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::s3::S3;
use slipway_tests::s3_server::Fault;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, Forge, World};

use super::builds::BUILD;
use super::gate::Gate;
use super::statuses::Shown;
use super::told::{Told, job};

/// How long it may take until a sick one is left alone, and until it is served again: pauses between looks and tries.
const NOTICED: Duration = Duration::from_secs(90);
/// Builds of the project on the sick forge: more statuses than are sent to it at once.
const PUSHES: usize = 6;

/// What `/readyz?verbose` says of upstreams that are out; it must stay ready, and tells strangers no address.
async fn upstreams(world: &World, kind: &str) -> Result<Vec<String>> {
    let answer = reqwest::get(format!("{}/readyz?verbose", world.slipway.base_url())).await?;
    let (status, text) = (answer.status(), answer.text().await?);
    assert_eq!(status, StatusCode::OK, "{text}");
    let begins = format!("upstream {kind} ");
    let lines: Vec<String> = text.lines().filter(|line| line.starts_with(&begins)).map(str::to_owned).collect();
    assert!(lines.iter().all(|line| !line.contains("127.0.0.1")), "{lines:?}");
    Ok(lines)
}

/// The metric of upstreams that are out.
async fn open(world: &World, kind: &str) -> Result<String> {
    let text = reqwest::get(format!("{}/metrics", world.slipway.base_url())).await?.text().await?;
    let name = format!("slipway_upstream_open{{kind=\"{kind}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name)).context("no such metric")?;
    Ok(value.to_owned())
}

async fn until_out(world: &World, kind: &str, count: usize) -> Result<()> {
    let what = format!("{count} sick {kind}");
    eventually(&what, NOTICED, || async { Ok((upstreams(world, kind).await?.len() == count).then_some(())) }).await?;
    assert_eq!(open(world, kind).await?, count.to_string());
    Ok(())
}

async fn a_frozen_forge(database: Database) -> Result<()> {
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), "4".to_owned())];
    let Some(world) = World::start_with(database, variables).await? else { return Ok(()) };
    let (sick, well) =
        (Shown::new(&world, "sick", Forge::Github).await?, Shown::new(&world, "well", Forge::Gitlab).await?);
    let dockerfile = |n: usize| format!("FROM {BASE_IMAGE}\nLABEL push={n}\n");
    sick.forge.freeze();
    let mut builds = Vec::new();
    for n in 0..PUSHES {
        builds.push(sick.push(&world, &dockerfile(n)).await?);
    }
    // Builds go on, and the other forge is told of its own while this one still answers nothing.
    let build = well.push(&world, &dockerfile(0)).await?;
    assert_eq!(world.api().finished_build(&build, BUILD).await?.state, "succeeded");
    well.ends_with("success").await?;
    assert_eq!(sick.forge.told().len(), 0);
    for build in &builds {
        assert_eq!(world.api().finished_build(build, BUILD).await?.state, "succeeded");
    }
    until_out(&world, "forge", 1).await?;
    let build = well.push(&world, &dockerfile(1)).await?;
    let commit = world.api().finished_build(&build, BUILD).await?.commit;
    let is_told = |commit: &str, told: &[slipway_tests::fake_forge::Told]| {
        told.iter().any(|told| told.commit == commit && told.state == "success")
    };
    well.forge.told_when(NOTICED, |told| is_told(&commit, told)).await?;

    sick.forge.let_go();
    for build in &builds {
        let commit = world.api().finished_build(build, BUILD).await?.commit;
        sick.forge.told_when(NOTICED, |told| is_told(&commit, told)).await?;
    }
    until_out(&world, "forge", 0).await?;
    assert_eq!((sick.forge.wrong(), well.forge.wrong()), (Vec::new(), Vec::new()));
    Ok(())
}

#[tokio::test]
async fn a_frozen_forge_delays_only_its_own_statuses_on_sqlite() -> Result<()> {
    a_frozen_forge(Database::Sqlite).await
}

#[tokio::test]
async fn a_frozen_forge_delays_only_its_own_statuses_on_postgres() -> Result<()> {
    a_frozen_forge(Database::Postgres).await
}

#[tokio::test]
async fn logs_outlive_an_object_store_that_says_503() -> Result<()> {
    let s3 = S3::start().await?;
    let keys = s3.credentials();
    let variables = vec![
        ("SLIPWAY_BLOB_URL".to_owned(), s3.bucket("logs").await?),
        ("AWS_ACCESS_KEY_ID".to_owned(), keys.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), keys.secret_key.clone()),
    ];
    let Some(world) = World::start_with(Database::Sqlite, variables).await? else { return Ok(()) };
    let told = Told::new(&world, "logged").await?;
    let gate = Gate::new();
    s3.harm("logs", Fault::Unavailable).await?;
    let build = told.push(&world, &gate.dockerfile(2000)).await?;
    gate.reached().await?;
    let id = job(&world.api().build(&build).await?)?.id.clone();
    let numbers: Vec<String> = (1..=2000).map(|n| n.to_string()).collect();
    let all = |log: &str| {
        let lines: Vec<&str> =
            log.lines().map(str::trim).filter(|line| line.bytes().all(|b| b.is_ascii_digit())).collect();
        lines.into_iter().filter(|line| !line.is_empty()).eq(numbers.iter().map(String::as_str))
    };
    let shown = || async { Ok(all(&world.api().log(&id).await?).then_some(())) };
    eventually("the log while nothing can be stored", NOTICED, shown).await?;
    until_out(&world, "blobs", 1).await?;

    s3.heal("logs").await?;
    gate.open().await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!((build.state.as_str(), job(&build)?.attempts.len()), ("succeeded", 1), "{build:?}");
    until_out(&world, "blobs", 0).await?;
    // What is read after a restart lay in the store.
    let mut world = world;
    world.slipway.restart().await?;
    let log = world.api().log(&id).await?;
    assert!(all(&log) && log.contains(&gate.last_line()) && !log.contains("cut at"), "the log is not whole");
    Ok(())
}
