//! Builds that a story asks for by the API: a project, a commit, the end.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::api::{Build, Job, Project};
use slipway_tests::env::repo::Repo;
use slipway_tests::world::{Forge, World};

/// How long a small build may take on a machine that does other things too.
pub const BUILD: Duration = Duration::from_secs(90);

/// A project of the story `name`, with an image path of its own; `changes` replace fields of the request.
pub async fn new_project(world: &World, name: &str, changes: Value) -> Result<(Repo, Project)> {
    let repo = world.git.repo(&format!("{}/{name}", world.name))?;
    let mut body = world.project_body(Forge::Github, &repo);
    body["image"] = json!({ "repository": format!("{}/{}", world.registry, image_path(world, name)) });
    for (key, value) in changes.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let project = world.api().create_project(&body).await?;
    Ok((repo, project))
}

/// Where the images of the story `name` go in every registry.
pub fn image_path(world: &World, name: &str) -> String {
    format!("{}-{name}", world.image_path())
}

/// Asks for a build of a commit; `options` is its `build` object.
pub async fn start(world: &World, project: &Project, commit: &str, options: &Value) -> Result<Build> {
    let path = format!("/api/v1/projects/{}/builds", project.id);
    world.api().expect(Method::POST, &path, Some(&json!({ "commit": commit, "build": options }))).await
}

/// Commits a Dockerfile and asks for its build.
pub async fn start_dockerfile(world: &World, (repo, project): &(Repo, Project), dockerfile: &str) -> Result<Build> {
    repo.commit("a Dockerfile", &[("Dockerfile", dockerfile)])?;
    start(world, project, &repo.resolve("HEAD")?, &json!({})).await
}

/// Waits for the end; the build and its only job.
pub async fn finished(world: &World, build: &Build) -> Result<(Build, Job)> {
    let mut build = world.api().finished_build(&build.id, BUILD).await?;
    let job = build.jobs.pop().context("a build has a job")?;
    Ok((build, job))
}
