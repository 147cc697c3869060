//! What an image was built upon is told, and is what registries have where one asks for that.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::api::Project;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::Repo;
use slipway_tests::world::{Database, World};

use super::builds::{finished, new_project, start};

/// Builds this Dockerfile; the build as JSON.
async fn built(world: &World, (repo, project): &(Repo, Project), dockerfile: &str, options: Value) -> Result<Value> {
    repo.commit("change", &[("Dockerfile", dockerfile)])?;
    let build = start(world, project, &repo.resolve("HEAD")?, &options).await?;
    let (build, job) = finished(world, &build).await?;
    ensure!(build.state == "succeeded", "{job:?}\n{}", world.api().log(&job.id).await?);
    let path = format!("/api/v1/builds/{}", build.id);
    let build: Value = world.api().expect(Method::GET, &path, None).await?;
    Ok(build["jobs"][0].clone())
}

fn base(job: &Value) -> (&str, Option<&str>) {
    let base = &job["built"][0]["bases"][0];
    (base["name"].as_str().unwrap_or_default(), base["digest"].as_str())
}

#[tokio::test]
async fn are_told_and_are_as_new_as_one_asks_for() -> Result<()> {
    let Some(world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let lower = new_project(&world, "lower", json!({})).await?;
    let upper = new_project(&world, "upper", json!({})).await?;
    let own = |word: &str| format!("FROM {BASE_IMAGE}\nRUN echo {word} > /word\n");

    let first = built(&world, &lower, &own("first"), json!({ "tags": ["v1"] })).await?;
    assert_eq!(base(&first), (format!("docker.io/{BASE_IMAGE}").as_str(), None), "no registry has it");
    let image = first["images"][0]["ref"].as_str().context("an image")?;
    let dockerfile = |salt: &str| format!("FROM {image}\nRUN cat /word && echo {salt}\n");
    let upon = built(&world, &upper, &dockerfile("1"), json!({})).await?;
    assert_eq!(base(&upon), (image, first["images"][0]["digest"].as_str()), "{upon}");

    let second = built(&world, &lower, &own("second"), json!({ "tags": ["v1"] })).await?;
    ensure!(second["images"][0]["ref"] == image && second["images"][0]["digest"] != first["images"][0]["digest"]);
    let word = async |job: &Value| world.api().log(job["id"].as_str().unwrap_or_default()).await;
    let newer = built(&world, &upper, &dockerfile("2"), json!({ "pull": true })).await?;
    assert_eq!(base(&newer), (image, second["images"][0]["digest"].as_str()), "{newer}");
    ensure!(word(&upon).await?.contains("\nfirst\n") && word(&newer).await?.contains("\nsecond\n"));
    Ok(())
}

#[tokio::test]
async fn come_by_digest_through_a_mirror_or_past_one_that_is_dead() -> Result<()> {
    let Some(mut world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let lower = new_project(&world, "lower", json!({})).await?;
    let upper = new_project(&world, "upper", json!({})).await?;
    let first =
        built(&world, &lower, &format!("FROM {BASE_IMAGE}\nRUN echo lower\n"), json!({ "tags": ["v1"] })).await?;
    let image = first["images"][0]["ref"].as_str().context("an image")?;
    let path = image.strip_prefix(&world.registry).context("a path")?;
    // The registry of the name is nowhere, that of the image is reached past its own mirror, where nobody listens.
    let mirrors = format!("nowhere.invalid={registry},{registry}=127.0.0.1:1", registry = world.registry);
    world.slipway.restart_with(vec![("SLIPWAY_REGISTRY_MIRRORS".to_owned(), mirrors)]).await?;

    let far = format!("nowhere.invalid{path}");
    let dockerfile = format!(
        "ARG IMAGE={}\nFROM ${{IMAGE}}:v1\nCOPY Dockerfile /\nRUN head -c 15 /Dockerfile && echo\n",
        far.trim_end_matches(":v1")
    );
    let mirrored = built(&world, &upper, &dockerfile, json!({})).await?;
    assert_eq!(base(&mirrored), (far.as_str(), first["images"][0]["digest"].as_str()), "{mirrored}");
    let log = world.api().log(mirrored["id"].as_str().unwrap_or_default()).await?;
    ensure!(log.contains(&format!("{far} comes from {}", world.registry)), "{log}");
    ensure!(log.contains("\nARG IMAGE=nowhe\n"), "the steps see the Dockerfile that was committed: {log}");
    ensure!(!log.contains(&format!("FROM {}", world.registry)), "{log}");

    let past = built(&world, &upper, &format!("FROM {image}\nRUN echo past\n"), json!({})).await?;
    assert_eq!(base(&past), (image, first["images"][0]["digest"].as_str()), "{past}");
    let pushed = mirrored["images"][0]["digest"].as_str().context("a digest")?;
    let (reference, _) = mirrored["images"][0]["ref"].as_str().and_then(|it| it.rsplit_once(':')).context("a name")?;
    let repository = reference.split_once('/').context("a path")?.1;
    let (_, config) = world.registry().image(repository, pushed).await?;
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.base.name"], far.as_str());
    assert_eq!(labels["org.opencontainers.image.base.digest"], first["images"][0]["digest"]);
    Ok(())
}
