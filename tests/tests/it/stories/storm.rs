//! Two hundred pushes at once, told in any order: the newest commit is built, what it overtook is stopped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::json;
use slipway_tests::env::repo::{Move, Repo, git};
use slipway_tests::hooks::github;
use slipway_tests::scripted_engine::ScriptedEngine;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};

use super::builds::{BUILD, image_path, new_project};

/// Pushes before the newest one. A prime number, so that any step through them meets each once.
const OLDER: usize = 199;
/// The step by which they are told.
const STEP: usize = 77;
/// Requests at once.
const TOGETHER: usize = 16;
/// How long the last of them may take to be stopped.
const QUIET: Duration = Duration::from_secs(60);

/// Commits that would be built for ever, each pushed by itself.
fn pushes(repo: &Repo) -> Result<Vec<Move>> {
    let mut before = repo.commit("first", &[("Dockerfile", "FROM base\n# script: sleep 3600s\nRUN make\n")])?;
    let mut moves = vec![before.clone()];
    for number in 1..OLDER {
        git(repo.work(), &["commit", "--quiet", "--allow-empty", "--message", &number.to_string()])?;
        let commit = Some(repo.resolve("HEAD")?);
        before = Move { before: before.after, after: commit.clone(), commit, ..moves[0].clone() };
        moves.push(before.clone());
    }
    Ok(moves)
}

#[tokio::test]
async fn of_a_storm_of_pushes_the_newest_is_built() -> Result<()> {
    let engine = ScriptedEngine::start().await?;
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "4".to_owned())];
    let Some(world) = World::start_scripted(&engine, Database::Sqlite, slots).await? else { return Ok(()) };
    let api = world.api();
    let (repo, project) = new_project(&world, "storm", json!({ "rules": { "supersede": "running" } })).await?;
    let older = pushes(&repo)?;
    let newest = repo.commit("newest", &[("Dockerfile", "FROM base\nRUN make\n")])?;
    // To the server it is one push; the hook tells of each commit.
    let newest = Move { before: older.last().and_then(|last| last.after.clone()), ..newest };

    let began = Instant::now();
    let deliveries = (0..OLDER).map(|at| github::push(&repo, &older[at * STEP % OLDER], &project.hook.secret));
    let told = stream::iter(deliveries).map(|delivery| {
        let (api, url) = (api.clone(), project.hook.url.clone());
        async move { api.deliver(&url, &delivery).await }
    });
    let told: Vec<_> = told.buffer_unordered(TOGETHER).try_collect().await?;
    ensure!(told.iter().all(|(status, _)| *status == StatusCode::ACCEPTED), "{told:?}");
    let delivery = github::push(&repo, &newest, &project.hook.secret);
    let delivery = api.deliver_and_wait(&project.hook.url, &delivery).await?;
    let build = api.finished_build(delivery.builds.first().context("a build")?, BUILD).await?;
    let took = began.elapsed();
    assert_eq!((build.state.as_str(), Some(&build.commit)), ("succeeded", newest.commit.as_ref()), "{build:?}");

    let quiet = eventually("all of them to end", QUIET, || async {
        let mut states = BTreeMap::new();
        for build in api.builds(&project.id).await? {
            *states.entry(build.state).or_insert(0) += 1;
        }
        let live = ["pending", "running"].iter().any(|state| states.contains_key(*state));
        Ok((!live && states.values().sum::<usize>() > OLDER).then_some(states))
    });
    let states = quiet.await?;
    let wanted = [("succeeded".to_owned(), 1), ("superseded".to_owned(), OLDER)];
    assert_eq!(states, wanted.into(), "each push has a build");
    let shown = world.registry().digest(&image_path(&world, "storm"), "main").await?;
    assert_eq!(shown.as_deref(), build.jobs[0].images.first().map(|image| image.digest.as_str()));
    assert!(shown.is_some());
    eprintln!("{OLDER} pushes and the newest one: built after {took:.1?}, all quiet after {:.1?}", began.elapsed());
    Ok(())
}
