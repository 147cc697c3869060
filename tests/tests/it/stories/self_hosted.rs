//! A bare repository with one hook file: the real git tells Slipway of what is pushed to it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::{Repo, git};
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};

use super::builds::{finished, image_path};

/// How long the newest delivery may take to be worked.
const WORKED: Duration = Duration::from_secs(20);

/// The newest delivery of the installation, once it is worked.
async fn newest_delivery(world: &World, count: usize) -> Result<Value> {
    eventually("the delivery to be worked", WORKED, || async {
        let list: Value = world.api().expect(Method::GET, "/api/v1/deliveries", None).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let newest = items.first().filter(|newest| items.len() == count && newest["state"] != "received");
        Ok(newest.cloned())
    })
    .await
}

fn install(repo: &Repo, hook: &Value) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/git/post-receive");
    symlink(file.canonicalize()?, repo.bare().join("hooks/post-receive"))?;
    let text = |key: &str| hook[key].as_str().unwrap_or_default().to_owned();
    for (key, value) in [("url", text("url")), ("secret", text("secret")), ("repository", repo.full_path().to_owned())]
    {
        git(repo.bare(), &["config", &format!("slipway.{key}"), &value])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_repository_needs_one_hook_file() -> Result<()> {
    let Some(world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let repo = world.git.repo(&format!("{}/bare", world.name))?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "gitea" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
        "image": { "repository": format!("{}/{}", world.registry, image_path(&world, "bare")) },
    });
    let project: Value = world.api().expect(Method::POST, "/api/v1/projects", Some(&body)).await?;
    install(&repo, &project["hook"])?;

    let moved = repo.commit("Größe: \"x\" <b>", &[("Dockerfile", &format!("FROM {BASE_IMAGE}\nRUN echo bare\n"))])?;
    let told = newest_delivery(&world, 1).await?;
    ensure!(told["state"] == "done" && told["event"] == "push", "{told}");
    let builds = world.api().builds(project["id"].as_str().unwrap_or_default()).await?;
    ensure!(builds.len() == 1 && Some(&builds[0].commit) == moved.commit.as_ref(), "{builds:?}");
    let (build, job) = finished(&world, &builds[0]).await?;
    assert_eq!((build.state.as_str(), build.git_ref.as_deref()), ("succeeded", Some("refs/heads/main")), "{job:?}");
    let tags = world.registry().tags(&image_path(&world, "bare")).await?;
    assert!(tags.contains(&"main".to_owned()), "{tags:?}");
    let shown: Value = world.api().expect(Method::GET, &format!("/api/v1/builds/{}", build.id), None).await?;
    assert_eq!(shown["title"], "Größe: \"x\" <b>");

    let tag = repo.tag("v1")?;
    let told = newest_delivery(&world, 2).await?;
    ensure!(told["state"] == "done", "{told}");
    let tagged = world.api().build(told["builds"][0].as_str().unwrap_or_default()).await?;
    assert_eq!((tagged.trigger.as_str(), Some(&tagged.commit)), ("tag", tag.commit.as_ref()), "the tag is peeled");

    repo.delete("refs/tags/v1")?;
    let told = newest_delivery(&world, 3).await?;
    ensure!(told["state"] == "ignored" && told["reason"].to_string().contains("was deleted"), "{told}");

    // A secret that does not fit is told to nobody but the counter; the push succeeds all the same.
    git(repo.bare(), &["config", "slipway.secret", "another"])?;
    repo.commit("again", &[("more", "x")])?;
    let list: Value = world.api().expect(Method::GET, "/api/v1/deliveries", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3));
    Ok(())
}
