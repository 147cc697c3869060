//! The same stories on each of the seven forges, told as the forge tells them and answered as it answers: what is
//! built, what is not and why, who waits for whom, and what the developer sees beside the commit.

mod bad_input;
mod changes;
mod names;
mod pushes;
mod rules;
mod site;
mod statuses;

use anyhow::Result;
use slipway_tests::scripted_engine::ScriptedEngine;
use slipway_tests::world::{Database, Forge, World};

use super::together::Together;

/// Builds of one world that run at the same time.
const SLOTS: &str = "6";

async fn all(kind: Forge, database: Database) -> Result<()> {
    let engine = ScriptedEngine::start().await?;
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), SLOTS.to_owned())];
    let Some(world) = World::start_scripted(&engine, database, variables).await? else { return Ok(()) };
    let mut together = Together::new(world);
    together.story("pushes", move |world| pushes::are_built(world, kind));
    together.story("a deleted branch", move |world| pushes::of_deleted_branches(world, kind));
    together.story("what is not believed or not read", move |world| bad_input::is_refused(world, kind));
    together.story("ids of 64 digits", move |world| bad_input::long_ids(world, kind));
    together.story("a change of an own branch", move |world| changes::of_a_branch(world, kind));
    together.story("a change of a stranger", move |world| changes::of_a_stranger(world, kind));
    together.story("a change of somebody who may push", move |world| changes::of_a_writer(world, kind));
    together.story("a change that is closed", move |world| changes::that_is_closed(world, kind));
    together.story("statuses", move |world| statuses::are_shown(world, kind));
    together.story("a lost answer", move |world| statuses::survive_a_lost_answer(world, kind));
    together.story("a revoked token", move |world| statuses::are_given_up(world, kind));
    together.story("hostile branches", move |world| names::of_branches(world, kind));
    together.story("hostile words of a change", move |world| names::of_changes(world, kind));
    together.story("a repository that is renamed", move |world| names::of_a_renamed_repository(world, kind));
    together.story("rules for files", move |world| rules::of_files(world, kind));
    together.story("rules for drafts", move |world| rules::of_drafts(world, kind));
    // What the forge has no part in is told on two of them.
    if [Forge::Github, Forge::Gitlab].contains(&kind) {
        together.story("a commit is built once", move |world| rules::of_one_build_per_commit(world, kind));
        together.story("newer builds win", move |world| rules::of_newer_builds(world, kind));
    }
    if kind == Forge::Github {
        together.story("run again", rules::runs_again);
    }
    together.end().await
}

#[tokio::test]
async fn on_github() -> Result<()> {
    all(Forge::Github, Database::Sqlite).await
}

#[tokio::test]
async fn on_gitlab() -> Result<()> {
    all(Forge::Gitlab, Database::Postgres).await
}

#[tokio::test]
async fn on_bitbucket() -> Result<()> {
    all(Forge::Bitbucket, Database::Sqlite).await
}

#[tokio::test]
async fn on_bitbucket_dc() -> Result<()> {
    all(Forge::BitbucketDc, Database::Postgres).await
}

#[tokio::test]
async fn on_gitea() -> Result<()> {
    all(Forge::Gitea, Database::Sqlite).await
}

#[tokio::test]
async fn on_gitee() -> Result<()> {
    all(Forge::Gitee, Database::Postgres).await
}

#[tokio::test]
async fn on_coding() -> Result<()> {
    all(Forge::Coding, Database::Sqlite).await
}
