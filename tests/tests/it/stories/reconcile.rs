//! Pushes that the forge tells nobody of: what is owed is built once, and a late word of it finds that build.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::hooks::github;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};

use super::builds::{finished, new_project};

/// A look at the refs comes every second, and takes less than that.
const FOUND: Duration = Duration::from_secs(30);

/// Waits until the refs were looked at once more; what was there before that look is known from then on.
async fn looked_at(world: &World, project: &Project) -> Result<()> {
    let path = format!("/api/v1/projects/{}", project.id);
    let when = async || {
        let shown: Value = world.api().expect(Method::GET, &path, None).await?;
        ensure!(shown["refs"]["error"].is_null(), "{shown}");
        anyhow::Ok(shown["refs"]["looked_at"].clone())
    };
    // The one that is under way may have begun before.
    for _ in 0..2 {
        let before = when().await?;
        eventually("a look at the refs", FOUND, || async {
            let now = when().await?;
            Ok((!now.is_null() && now != before).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn builds_when(world: &World, project: &Project, count: usize) -> Result<Vec<Build>> {
    eventually("the builds that are owed", FOUND, || async {
        let builds = world.api().builds(&project.id).await?;
        ensure!(builds.len() <= count, "{builds:?}");
        Ok((builds.len() == count).then_some(builds))
    })
    .await
}

async fn what_was_lost_is_built(database: Database) -> Result<()> {
    let variables = vec![("SLIPWAY_RECONCILE_SECS".to_owned(), "1".to_owned())];
    let Some(world) = World::start_with(database, variables).await? else { return Ok(()) };
    let (repo, project) = new_project(&world, "lost", json!({ "rules": { "branches": ["!wip/**"] } })).await?;
    let dockerfile = |text: &str| format!("FROM {BASE_IMAGE}\nRUN echo {text}\n");
    repo.commit("old", &[("Dockerfile", &dockerfile("old"))])?;
    looked_at(&world, &project).await?;

    // Two pushes, of which nobody says a word; then the words of both come late, the newer one first.
    let first = repo.commit("first", &[("Dockerfile", &dockerfile("first"))])?;
    let second = repo.commit("second", &[("Dockerfile", &dockerfile("second"))])?;
    let is_second = |build: &&Build| Some(&build.commit) == second.commit.as_ref();
    let found = eventually("the newest commit to be built", FOUND, || async {
        let builds = world.api().builds(&project.id).await?;
        Ok(builds.iter().find(is_second).cloned())
    })
    .await?;
    let (found, job) = finished(&world, &found).await?;
    ensure!((found.state.as_str(), found.trigger.as_str()) == ("succeeded", "push"), "{found:?}");
    ensure!(job.images.iter().any(|image| image.image_ref.ends_with(":main")), "{job:?}");
    let tell = async |moved| {
        let delivery = github::push(&repo, moved, &project.hook.secret);
        world.api().deliver_and_wait(&project.hook.url, &delivery).await
    };
    let told = tell(&second).await?;
    assert_eq!((told.state.as_str(), told.builds.as_slice()), ("done", std::slice::from_ref(&found.id)));
    let late = tell(&first).await?;
    let late = world.api().build(late.builds.first().context("a build of its own, or the one that was found")?).await?;
    finished(&world, &late).await?;
    let tag = world.registry().digest(&super::builds::image_path(&world, "lost"), "main").await?;
    let newest = job.images.first().map(|image| image.digest.clone());
    assert_eq!(tag, newest, "what is told late moves no tag back");

    // A tag, a branch that the rules leave out, and a deleted one.
    let before = world.api().builds(&project.id).await?.len();
    repo.tag("v1")?;
    repo.switch("wip/x")?;
    repo.commit("wip", &[("a", "a")])?;
    let builds = builds_when(&world, &project, before + 1).await?;
    ensure!(builds.iter().any(|build| build.git_ref.as_deref() == Some("refs/tags/v1")), "{builds:?}");
    repo.delete("refs/tags/v1")?;
    looked_at(&world, &project).await?;

    // While it is paused nothing is owed, and nothing of that time afterwards.
    for verb in ["pause", "resume"] {
        let path = format!("/api/v1/projects/{}/{verb}", project.id);
        let (answered, _) = world.api().call(Method::POST, &path, None).await?;
        assert_eq!(answered, StatusCode::OK);
        if verb == "pause" {
            repo.switch("main")?;
            repo.commit("nobody's", &[("b", "b")])?;
        }
    }
    looked_at(&world, &project).await?;
    assert_eq!(world.api().builds(&project.id).await?.len(), before + 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forge_loses_is_built_once_on_sqlite() -> Result<()> {
    what_was_lost_is_built(Database::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forge_loses_is_built_once_on_postgres() -> Result<()> {
    what_was_lost_is_built(Database::Postgres).await
}
