//! Secrets reach the steps that mount them, on their branches, and stay nowhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use slipway_runtime::ids::random_bytes;
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::connect;
use slipway_tests::env::repo::Repo;
use slipway_tests::hooks;
use slipway_tests::world::{Database, Forge, World};

use super::builds::BUILD;
use super::processes::processes_seen;

/// A text that is in no file of this machine.
fn canary(of: &str) -> String {
    format!("canary-{of}-{}", hex::encode(random_bytes::<12>()))
}

async fn set(world: &World, path: &str, body: Value) -> Result<()> {
    let (status, answer) = world.api().call(Method::PUT, path, Some(&body)).await?;
    ensure!(status == 201, "{status} {answer}");
    Ok(())
}

/// Pushes to a branch; the build that came of it, as it is then.
async fn pushed(world: &World, (repo, project): (&Repo, &Project), dockerfile: &str) -> Result<Build> {
    let pushed = repo.commit("use a secret", &[("Dockerfile", dockerfile)])?;
    let delivery = hooks::push(Forge::Github, repo, &pushed, &project.hook.secret);
    let delivery = world.api().deliver_and_wait(&project.hook.url, &delivery).await?;
    world.api().build(delivery.builds.first().context("a build")?).await
}

/// Files below a folder in which a text stands.
fn files_with(text: &str, folder: &Path) -> Result<String> {
    let found = Command::new("grep").args(["-rlaF", "--devices=skip", "-e", text]).arg(folder).output()?;
    ensure!(found.status.code().is_some_and(|code| code < 3), "grep: {}", String::from_utf8_lossy(&found.stderr));
    Ok(String::from_utf8_lossy(&found.stdout).into_owned())
}

/// Environments and arguments of all processes in which a text stands.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        for file in ["environ", "cmdline"] {
            let path = process.path().join(file);
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn reach_the_steps_that_mount_them_and_stay_nowhere() -> Result<()> {
    let Some(world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let repo = world.git.repo(&format!("team/{}", world.name))?;
    let project = world.project(Forge::Github, &repo).await?;
    let (own, shared, other) = (canary("own"), canary("shared"), canary("other"));
    let of_project = format!("/api/v1/projects/{}/secrets", project.id);
    set(&world, &format!("{of_project}/own"), json!({ "value": own, "branches": ["main"] })).await?;
    set(&world, &format!("{of_project}/elsewhere"), json!({ "value": other, "branches": ["release/*"] })).await?;
    set(&world, "/api/v1/secrets/shared", json!({ "value": format!("{shared}\n") })).await?;
    let marker = format!("sleep-{}", world.name);
    let dockerfile = format!(
        "FROM {BASE_IMAGE}\n\
         RUN --mount=type=secret,id=own --mount=type=secret,id=shared,target=/a --mount=type=secret,id=elsewhere \
         cat /run/secrets/own /a && base64 /run/secrets/own && wc -c < /a > /size \
         && test ! -e /run/secrets/elsewhere && : {marker} && sleep 3 && true\n\
         RUN test ! -s /run/secrets/own && test \"$(cat /size)\" -gt 10\n"
    );
    let build = pushed(&world, (&repo, &project), &dockerfile).await?;
    let api = world.api();
    tokio::select! {
        seen = processes_seen(&marker) => seen?,
        ended = api.finished_build(&build.id, BUILD) => {
            anyhow::bail!("it ended early: {}", api.log(&ended?.jobs[0].id).await?);
        }
    }
    for canary in [&own, &shared] {
        assert_eq!(processes_with(canary), Vec::<String>::new(), "while the step runs");
    }
    let build = world.api().finished_build(&build.id, BUILD).await?;
    let log = world.api().log(&build.jobs[0].id).await?;
    assert_eq!(build.state, "succeeded", "{log}");
    assert!(log.contains("The secret elsewhere is not there") && !log.contains("The secret own"), "{log}");
    assert!(log.contains("******\n***"), "raw twice, and as base64: {log}");

    let tag = build.commit.clone();
    let (manifest, config) = world.registry().image(&world.image_path(), &tag).await?;
    let engine = connect(&world.engine).await?;
    let root = engine.info().await?.docker_root_dir.context("the engine has a folder")?;
    for canary in [&own, &shared, &other] {
        let encoded = STANDARD.encode(canary);
        let encoded = encoded.get(4..encoded.len() - 4).context("long enough")?;
        for text in [canary.as_str(), encoded] {
            assert!(!log.contains(text), "{log}");
            assert!(!manifest.to_string().contains(text) && !config.to_string().contains(text));
            for folder in [world.slipway.data_dir().as_path(), Path::new(&root), &world.slipway.log()] {
                assert_eq!(files_with(text, folder)?, "", "{text}");
            }
        }
        assert_eq!(processes_with(canary), Vec::<String>::new());
    }
    Ok(())
}
