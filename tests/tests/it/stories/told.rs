//! Pushes as stories begin with: a repository, its project, and the forge's word of the push.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use slipway_tests::api::{Build, Job, Project};
use slipway_tests::env::repo::{Move, Repo};
use slipway_tests::hooks::github;
use slipway_tests::world::World;

use super::builds::{image_path, new_project};

/// A project on a GitHub, with its repository.
pub struct Told {
    pub repo: Repo,
    pub project: Project,
    image_path: String,
}

impl Told {
    /// An empty repository and its project, which pushes to an image of its own.
    pub async fn new(world: &World, name: &str) -> Result<Self> {
        Self::with(world, name, json!({})).await
    }

    /// The same; `changes` replace fields of the project's request.
    pub async fn with(world: &World, name: &str, changes: Value) -> Result<Self> {
        let (repo, project) = new_project(world, name, changes).await?;
        Ok(Self { repo, project, image_path: image_path(world, name) })
    }

    /// Pushes this Dockerfile to the main branch.
    pub fn commit(&self, dockerfile: &str) -> Result<Move> {
        self.repo.commit("Change the image", &[("Dockerfile", dockerfile)])
    }

    /// Tells of a move that makes a build; the build's id.
    pub async fn build_of(&self, world: &World, moved: &Move) -> Result<String> {
        let delivery = github::push(&self.repo, moved, &self.project.hook.secret);
        let delivery = world.api().deliver_and_wait(&self.project.hook.url, &delivery).await?;
        assert_eq!((delivery.state.as_str(), delivery.builds.len()), ("done", 1), "{delivery:?}");
        delivery.builds.into_iter().next().context("a push makes a build")
    }

    /// Pushes this Dockerfile and tells of it; the build's id.
    pub async fn push(&self, world: &World, dockerfile: &str) -> Result<String> {
        self.build_of(world, &self.commit(dockerfile)?).await
    }

    /// A build that succeeded shows its commit under the branch's tag.
    pub async fn check_tag(&self, world: &World, build: &Build, tag: &str) -> Result<()> {
        assert_eq!(build.state, "succeeded", "{build:?}");
        let registry = world.registry();
        let shown = registry.digest(&self.image_path, tag).await?;
        let images = &job(build)?.images;
        let image = images.iter().find(|image| image.image_ref.ends_with(&format!(":{tag}")));
        assert_eq!(image.map(|image| &image.digest), shown.as_ref(), "{images:?}");
        let by_commit = registry.digest(&self.image_path, &build.commit).await?;
        assert!(shown.is_some() && shown == by_commit, "{shown:?} {by_commit:?}");
        Ok(())
    }
}

/// The only job of a build.
pub fn job(build: &Build) -> Result<&Job> {
    assert_eq!(build.jobs.len(), 1, "{build:?}");
    build.jobs.first().context("a build has a job")
}

/// The outcomes of its attempts, oldest first.
pub fn outcomes(build: &Build) -> Result<Vec<&str>> {
    Ok(job(build)?.attempts.iter().map(|attempt| attempt.outcome.as_deref().unwrap_or("open")).collect())
}
