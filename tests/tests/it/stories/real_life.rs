//! Dockerfiles as people write them, on a Debian system, with packages from the machine's own sources.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use slipway_tests::api::Job;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::debian::{self, DEBIAN_IMAGE};
use slipway_tests::env::services::is_required;
use slipway_tests::env::way_out::WayOut;
use slipway_tests::world::{Database, World};

use super::builds::{finished, image_path, new_project, start};
use super::together::Together;

/// How long packages may take to come and be installed.
const INSTALLED: Duration = Duration::from_secs(240);

/// The same for all, so that it is done once.
const UPDATED: &str = "RUN apt-get update -q";

/// Without what a package only recommends.
const INSTALL: &str = "apt-get install -qy --no-install-recommends";

/// The last npm that runs on Debian's node.
const NPM: &str = "npm/-/npm-9.9.4.tgz";

/// Builds these files as a project of its own; the job, which succeeded, and its log.
async fn built(world: &World, name: &str, files: &[(&str, &str)], options: &Value) -> Result<(Job, String)> {
    let (repo, project) = new_project(world, name, json!({})).await?;
    repo.commit(name, files)?;
    let build = start(world, &project, &repo.resolve("HEAD")?, options).await?;
    let mut build = world.api().finished_build(&build.id, INSTALLED).await?;
    let job = build.jobs.pop().context("a build has a job")?;
    let log = world.api().log(&job.id).await?;
    ensure!(build.state == "succeeded", "{:?}\n{}", job.failure, shown(&log));
    Ok((job, log))
}

/// Where a package manager's log says what went wrong first, and its end.
fn shown(log: &str) -> String {
    let is_bad = |line: &&str| ["E:", "W:", "onnect", "ERROR", "npm error"].iter().any(|word| line.contains(word));
    let (bad, end) = (log.lines().filter(is_bad).take(20), log.lines().rev().take(10).collect::<Vec<_>>());
    bad.chain(["…"]).chain(end.into_iter().rev()).collect::<Vec<_>>().join("\n")
}

/// One target of several, with arguments of the build.
async fn system_packages(world: Arc<World>, way_out: Value) -> Result<()> {
    let dockerfile = format!(
        "ARG BASE={DEBIAN_IMAGE}\nFROM $BASE AS base\n{UPDATED}\n\
         FROM base AS tools\nARG WORD=unset\nARG OTHER=default\nRUN {INSTALL} file\n\
         RUN file -L /bin/sh && echo \"$WORD and $OTHER\"\n\
         FROM base AS never\nRUN echo {} is not wanted && false\n\
         FROM tools\nRUN false\n",
        world.name
    );
    let mut args = way_out;
    args["WORD"] = json!(world.name);
    let options = json!({ "target": "tools", "args": args });
    let (job, log) = built(&world, "packages", &[("Dockerfile", &dockerfile)], &options).await?;
    assert!(log.contains("ELF 64-bit") && log.contains(&format!("{} and default", world.name)), "{log}");
    assert!(!job.steps.iter().any(|step| step.name.contains("is not wanted")), "{:?}", job.steps);
    let commit = job.images[0].image_ref.rsplit(':').next().context("a tag")?.to_owned();
    let (_, config) = world.registry().image(&image_path(&world, "packages"), &commit).await?;
    assert!(!config.to_string().contains("http_proxy"), "the way out is no part of the image: {config}");
    Ok(())
}

async fn python_package(world: Arc<World>, way_out: Value) -> Result<()> {
    let dockerfile = format!(
        "FROM {DEBIAN_IMAGE}\n{UPDATED}\nRUN {INSTALL} python3-venv && python3 -m venv /venv\n\
         COPY requirements.txt /\nRUN /venv/bin/pip install --no-cache-dir -r /requirements.txt\n\
         RUN /venv/bin/python -c 'import six; print(\"six is\", six.__version__)' # {}\n",
        world.name
    );
    let files = [("Dockerfile", dockerfile.as_str()), ("requirements.txt", "six==1.16.0\n")];
    let (_, log) = built(&world, "python", &files, &json!({ "args": way_out })).await?;
    assert!(log.contains("six is 1.16.0"), "{log}");
    Ok(())
}

/// npm comes as a file of its registry, which the engine fetches; what builds is not in the image.
async fn node_package(world: Arc<World>, way_out: Value) -> Result<()> {
    let dockerfile = format!(
        "ARG NPM\nFROM {DEBIAN_IMAGE} AS build\n{UPDATED}\nRUN {INSTALL} nodejs\n\
         ARG NPM\nADD $NPM /npm.tgz\nRUN tar xzf npm.tgz\nWORKDIR /app\nCOPY package.json .\n\
         RUN node /package/bin/npm-cli.js install --omit=dev --no-audit --no-fund\n\
         RUN node -e 'console.log(\"seven is a number:\", require(\"is-number\")(7))'\n\
         FROM {BASE_IMAGE}\nCOPY --from=build /app/node_modules /node_modules\n\
         RUN test -f /node_modules/is-number/package.json && test ! -e /usr/bin/node && echo {}\n",
        world.name
    );
    let package = r#"{ "name": "story", "version": "1.0.0", "dependencies": { "is-number": "7.0.0" } }"#;
    let files = [("Dockerfile", dockerfile.as_str()), ("package.json", package)];
    let mut args = way_out;
    args["NPM"] = json!(format!("{}/{NPM}", debian::npm_registry()));
    let (_, log) = built(&world, "node", &files, &json!({ "args": args })).await?;
    assert!(log.contains("seven is a number: true"), "{log}");
    Ok(())
}

/// What one build leaves in a cache mount, the next one finds there; the image has none of it.
async fn cache_mounts(world: Arc<World>, _: Value) -> Result<()> {
    let (repo, project) = new_project(&world, "caches", json!({})).await?;
    for (number, found) in [(1, "nothing"), (2, "the first")] {
        let step = format!(
            "RUN --mount=type=cache,id={},target=/kept cat /kept/seen || echo nothing; echo the first > /kept/seen; \
             echo build {number}",
            world.name
        );
        repo.commit("next", &[("Dockerfile", &format!("FROM {BASE_IMAGE}\n{step}\nRUN test ! -e /kept/seen\n"))])?;
        let build = start(&world, &project, &repo.resolve("HEAD")?, &json!({})).await?;
        let (build, job) = finished(&world, &build).await?;
        let log = world.api().log(&job.id).await?;
        assert_eq!(build.state, "succeeded", "{log}");
        assert!(log.lines().any(|line| line.ends_with(found)), "{number}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn dockerfiles_of_real_life_are_built() -> Result<()> {
    if let Some(missing) = debian::missing() {
        if is_required() {
            bail!(missing);
        }
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "4".to_owned())];
    let Some(world) = World::start_with(Database::Sqlite, slots).await? else { return Ok(()) };
    debian::import(&world.engine).await?;
    let way_out = WayOut::start(&world.engine).await?;
    let args = || way_out.args();
    let mut stories = Together::new(world);
    stories.story("system packages", |world| system_packages(world, args()));
    stories.story("a Python package", |world| python_package(world, args()));
    stories.story("a Node package", |world| node_package(world, args()));
    stories.story("cache mounts", |world| cache_mounts(world, args()));
    stories.end().await
}
