//! What forges tell, in every order they tell it: each move is built once, nothing else is, and everything
//! has its reason.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_runtime::secret_key::SecretKey;
use slipway_tests::api::StoredDelivery;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::repo::MAIN;
use slipway_tests::hooks::{Delivery, github};
use slipway_tests::world::{Database, World};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::builds::BUILD;
use super::gitlab_hooks;
use super::together::Together;
use super::told::Told;

/// How long intake may take.
const WORKED: Duration = Duration::from_secs(30);

async fn all(database: Database) -> Result<()> {
    let key = SecretKey::generate();
    let variables =
        vec![("SLIPWAY_SECRET_KEY".to_owned(), key.to_base64()), ("SLIPWAY_SLOTS".to_owned(), "4".to_owned())];
    let Some(world) = World::start_with(database, variables).await? else { return Ok(()) };
    let mut stories = Together::new(world);
    stories.story("a duplicate makes one build", duplicates);
    stories.story("a bad signature makes none", bad_signatures);
    stories.story("forth, back and forth again are three builds", forth_and_back);
    stories.story("two hooks for one push make one build", move |world| two_hooks(world, key));
    stories.story("what made no build is opened again", opened_again);
    stories.story("what starts no build is ignored with the reason", ignored);
    stories.story("a stored delivery is replayed", replayed);
    stories.story("GitLab by token", gitlab_hooks::by_token);
    stories.story("GitLab by signature", gitlab_hooks::by_signature);
    stories.end().await
}

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    all(Database::Sqlite).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    all(Database::Postgres).await
}

/// Quick to build; `n` tells the images apart.
pub fn dockerfile(n: u32) -> String {
    format!("FROM {BASE_IMAGE}\nLABEL n={n}\n")
}

/// How many builds the project has.
pub async fn count(world: &World, told: &Told) -> Result<usize> {
    Ok(world.api().builds(&told.project.id).await?.len())
}

/// A delivery that is answered with this status; what is stored of it, worked.
pub async fn answered(world: &World, told: &Told, delivery: &Delivery, expected: StatusCode) -> Result<StoredDelivery> {
    let (status, answer) = world.api().deliver(&told.project.hook.url, delivery).await?;
    ensure!(status == expected, "{status}: {answer}");
    let id = answer["delivery"].as_str().context("the delivery's id")?;
    world.api().worked_delivery(id, WORKED).await
}

async fn duplicates(world: Arc<World>) -> Result<()> {
    let told = Told::new(&world, "duplicates").await?;
    let moved = told.commit(&dockerfile(1))?;
    let delivery = github::push(&told.repo, &moved, &told.project.hook.secret);
    let api = world.api();
    let sent = (0..8).map(|_| api.deliver(&told.project.hook.url, &delivery));
    let answers: Result<Vec<_>> = futures_util::future::join_all(sent).await.into_iter().collect();
    let statuses: Vec<_> = answers?.into_iter().map(|(status, _)| status).collect();
    let accepted = statuses.iter().filter(|status| **status == StatusCode::ACCEPTED).count();
    let known = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    assert_eq!((accepted, known), (1, 7), "{statuses:?}");
    let stored = answered(&world, &told, &delivery, StatusCode::OK).await?;
    assert_eq!((stored.state.as_str(), stored.builds.len()), ("done", 1), "{stored:?}");
    assert_eq!(count(&world, &told).await?, 1);
    Ok(())
}

async fn bad_signatures(world: Arc<World>) -> Result<()> {
    let told = Told::new(&world, "signatures").await?;
    let moved = told.commit(&dockerfile(1))?;
    let good = github::push(&told.repo, &moved, &told.project.hook.secret);
    let other = github::push(&told.repo, &moved, "another secret");
    let signature = |delivery: &Delivery| {
        let found = delivery.headers.iter().find(|(name, _)| name == "x-hub-signature-256");
        found.map(|(_, value)| value.clone()).context("a signature")
    };
    let mut unsigned = good.clone();
    unsigned.headers.retain(|(name, _)| name != "x-hub-signature-256");
    let mut changed = good.clone();
    changed.body.push(b' ');
    let wrong = good.clone().with_header("x-hub-signature-256", &signature(&other)?);
    for delivery in [&unsigned, &changed, &wrong] {
        let (status, answer) = world.api().deliver(&told.project.hook.url, delivery).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    }
    let list = format!("/api/v1/deliveries?project={}", told.project.id);
    let stored: Value = world.api().expect(Method::GET, &list, None).await?;
    assert_eq!(stored["items"], json!([]));
    // None of them took the delivery's id.
    let stored = answered(&world, &told, &good, StatusCode::ACCEPTED).await?;
    assert_eq!((stored.builds.len(), count(&world, &told).await?), (1, 1), "{stored:?}");
    Ok(())
}

async fn forth_and_back(world: Arc<World>) -> Result<()> {
    let told = Told::new(&world, "forth-and-back").await?;
    let first = told.commit(&dockerfile(1))?;
    let second = told.commit(&dockerfile(2))?;
    let old = first.commit.clone().context("a commit")?;
    let new = second.commit.clone().context("a commit")?;
    let mut moves = vec![first, second];
    for commit in [&old, &new] {
        moves.push(told.repo.force_push(MAIN, commit)?);
    }
    let mut builds = Vec::new();
    for moved in &moves {
        builds.push(told.build_of(&world, moved).await?);
    }
    let mut commits = Vec::new();
    for build in &builds {
        let build = world.api().finished_build(build, BUILD).await?;
        assert_eq!(build.state, "succeeded", "{build:?}");
        commits.push(build.commit);
    }
    assert_eq!(commits.iter().collect::<Vec<_>>(), [&old, &new, &old, &new]);
    assert_eq!(count(&world, &told).await?, 4);
    let last = world.api().build(&builds[3]).await?;
    told.check_tag(&world, &last, "main").await
}

/// There is no request that adds a hook, so that its row is made here, as the service makes it.
async fn two_hooks(world: Arc<World>, key: SecretKey) -> Result<()> {
    let told = Told::new(&world, "two-hooks").await?;
    let hook = Uuid::from_bytes(slipway_runtime::ids::random_bytes());
    let secret = "the second hook's own secret";
    let sealed = key.seal(&format!("hook:{hook}"), secret);
    let first: Uuid = told.project.hook.url.rsplit('/').next().context("the first hook's id")?.parse()?;
    const ADD: &str = "insert into hooks (id, project_id, secret_sealed, created_at) \
        select $1, project_id, $2, created_at from hooks where id = $3";
    let added = match world.slipway.database_url() {
        Some(url) => {
            let mut connection = PgConnection::connect(url).await?;
            sqlx::query(ADD).bind(hook).bind(sealed).bind(first).execute(&mut connection).await?.rows_affected()
        }
        None => {
            let file = world.slipway.data_dir().join("slipway.db");
            let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await?;
            sqlx::query(ADD).bind(hook).bind(sealed).bind(first).execute(&mut connection).await?.rows_affected()
        }
    };
    assert_eq!(added, 1);
    let second_url = told.project.hook.url.replace(&first.to_string(), &hook.to_string());
    let first_commit = told.commit(&dockerfile(1))?;
    let there = told.commit(&dockerfile(2))?;
    let back = told.repo.force_push(MAIN, first_commit.commit.as_deref().context("a commit")?)?;
    let api = world.api();
    let mut made = Vec::new();
    // The same move a second time, between others, is a move of its own; the second hook joins each.
    let again = told.repo.force_push(MAIN, there.commit.as_deref().context("a commit")?)?;
    for moved in [&first_commit, &there, &back, &again] {
        let (by_first, by_second) =
            (github::push(&told.repo, moved, &told.project.hook.secret), github::push(&told.repo, moved, secret));
        let (one, two) = tokio::join!(
            api.deliver_and_wait(&told.project.hook.url, &by_first),
            api.deliver_and_wait(&second_url, &by_second)
        );
        let (one, two) = (one?, two?);
        assert_eq!((one.state.as_str(), two.state.as_str()), ("done", "done"), "{one:?} {two:?}");
        made.push((one.builds, two.builds));
    }
    assert_eq!(count(&world, &told).await?, 4, "{made:?}");
    Ok(())
}

async fn opened_again(world: Arc<World>) -> Result<()> {
    let told = Told::new(&world, "opened-again").await?;
    let moved = told.commit(&dockerfile(1))?;
    let delivery = github::push(&told.repo, &moved, &told.project.hook.secret);
    let stored = while_paused(&world, &told, &delivery).await?;
    // People press "redeliver" at the forge: the same id.
    let again = answered(&world, &told, &delivery, StatusCode::ACCEPTED).await?;
    assert_eq!((&again.id, again.state.as_str(), again.builds.len()), (&stored.id, "done", 1), "{again:?}");
    assert_eq!((again.reason, count(&world, &told).await?), (None, 1));
    answered(&world, &told, &delivery, StatusCode::OK).await?;
    assert_eq!(count(&world, &told).await?, 1);
    Ok(())
}

async fn replayed(world: Arc<World>) -> Result<()> {
    let told = Told::new(&world, "replayed").await?;
    let moved = told.commit(&dockerfile(1))?;
    let delivery = github::push(&told.repo, &moved, &told.project.hook.secret);
    let stored = while_paused(&world, &told, &delivery).await?;
    for _ in 0..2 {
        let path = format!("/api/v1/deliveries/{}/replay", stored.id);
        let (status, answer) = world.api().call(Method::POST, &path, None).await?;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let worked = world.api().worked_delivery(&stored.id, WORKED).await?;
        assert_eq!((worked.state.as_str(), worked.builds.len()), ("done", 1), "{worked:?}");
        assert_eq!(count(&world, &told).await?, 1, "a replay doubles nothing");
    }
    Ok(())
}

/// Delivers to a paused project, which is then resumed.
async fn while_paused(world: &World, told: &Told, delivery: &Delivery) -> Result<StoredDelivery> {
    let path = |verb: &str| format!("/api/v1/projects/{}/{verb}", told.project.id);
    let _: Value = world.api().expect(Method::POST, &path("pause"), None).await?;
    let stored = answered(world, told, delivery, StatusCode::ACCEPTED).await?;
    assert_eq!((stored.state.as_str(), stored.builds.len()), ("ignored", 0), "{stored:?}");
    assert_eq!(stored.reason.as_deref(), Some("the project is paused"));
    let _: Value = world.api().expect(Method::POST, &path("resume"), None).await?;
    Ok(stored)
}

async fn ignored(world: Arc<World>) -> Result<()> {
    let told = Told::new(&world, "ignored").await?;
    let secret = &told.project.hook.secret;
    let skipped = told.repo.commit("Fix a word [skip ci]", &[("Dockerfile", &dockerfile(1))])?;
    told.repo.switch("old")?;
    told.repo.commit("A branch", &[("Dockerfile", &dockerfile(2))])?;
    let deleted = told.repo.delete("refs/heads/old")?;
    let head = skipped.commit.as_deref().context("the commit")?;
    let closed = github::pull_request(&told.repo, (7, "closed"), head, false, secret);
    let edited = github::pull_request(&told.repo, (7, "labeled"), head, false, secret);
    let star = json!({ "action": "created", "repository": { "id": 1, "full_name": told.repo.full_path() } });
    let star = github::sign("star", star.to_string().into_bytes(), secret);
    let cases = [
        (github::push(&told.repo, &skipped, secret), "[skip ci]"),
        (github::push(&told.repo, &deleted, secret), "branch \"old\" was deleted"),
        (closed, "pull request 7 was closed"),
        (edited, "of pull request 7"),
        (github::ping(&told.repo, secret), "ping"),
        (star, "star is not an event that starts builds"),
    ];
    for (delivery, words) in &cases {
        let (status, answer) = world.api().deliver(&told.project.hook.url, delivery).await?;
        ensure!(status.is_success(), "{status}: {answer}");
        let id = answer["delivery"].as_str().context("the delivery's id")?;
        let stored = world.api().worked_delivery(id, WORKED).await?;
        assert_eq!((stored.state.as_str(), stored.builds.len()), ("ignored", 0), "{stored:?}");
        ensure!(stored.reason.as_deref().is_some_and(|reason| reason.contains(words)), "{words}: {stored:?}");
        // A ping and what no build can come of is answered as done.
        let expected =
            if ["ping", "star"].contains(&stored.event.as_str()) { StatusCode::OK } else { StatusCode::ACCEPTED };
        assert_eq!(status, expected, "{stored:?}");
    }
    assert_eq!(count(&world, &told).await?, 0);
    Ok(())
}
