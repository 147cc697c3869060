//! The forge shows beside a commit how its build stands: told until it has it, never an older state after a
//! newer one, and without holding up the build.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::fake_forge::{Answer, FakeForge, TOKEN, Told as Status};
use slipway_tests::hooks;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, Forge, World};

use super::builds::BUILD;
use super::gate::Gate;
use super::told::Told;

/// How long the forge may wait for what it is due, with some refusals before.
const TELLS: Duration = Duration::from_secs(40);

/// A project on a fake forge that takes statuses.
pub struct Shown {
    pub forge: FakeForge,
    kind: Forge,
    told: Told,
}

impl Shown {
    pub async fn new(world: &World, name: &str, kind: Forge) -> Result<Self> {
        let forge = FakeForge::start(kind, &format!("{}/{name}", world.name)).await?;
        let connection = json!({ "kind": kind.kind(), "base_url": forge.base_url(), "token": TOKEN });
        let made: Value = world.api().expect(Method::POST, "/api/v1/connections", Some(&connection)).await?;
        let told = Told::with(world, name, json!({ "connection": made["id"], "forge": null })).await?;
        forge.holds(&told.repo);
        Ok(Self { forge, kind, told })
    }

    /// Pushes a Dockerfile and tells of it; the build's id.
    pub async fn push(&self, world: &World, dockerfile: &str) -> Result<String> {
        let moved = self.told.commit(dockerfile)?;
        let secret = &self.told.project.hook.secret;
        let delivery = hooks::push(self.kind, &self.told.repo, &moved, secret);
        let delivery = world.api().deliver_and_wait(&self.told.project.hook.url, &delivery).await?;
        delivery.builds.first().cloned().with_context(|| format!("no build: {delivery:?}"))
    }

    /// Waits until the forge was told this as its last word, and checks all words before it.
    pub async fn ends_with(&self, last: &str) -> Result<Vec<Status>> {
        let is_last = |told: &[Status]| {
            told.last().is_some_and(|told| told.state == last && matches!(told.answer, Answer::Take | Answer::Hang))
        };
        let told = self.forge.told_when(TELLS, is_last).await?;
        assert_eq!(self.forge.wrong(), Vec::<String>::new());
        let ranks: Vec<_> = told.iter().map(|told| rank(&told.state)).collect();
        assert!(ranks.is_sorted(), "an older state after a newer one: {told:?}");
        Ok(told)
    }
}

fn rank(state: &str) -> u8 {
    match state {
        "pending" => 0,
        "running" => 1,
        _ => 2,
    }
}

/// How a build's status stands, as its members see it: state and error.
async fn stands(world: &World, build: &str, wanted: &str) -> Result<Value> {
    let (api, path) = (world.api(), format!("/api/v1/builds/{build}"));
    let found = eventually("a status to stand so", TELLS, || async {
        let build: Value = api.expect(Method::GET, &path, None).await?;
        let status = build["statuses"][0].clone();
        Ok((status["state"] == wanted).then_some(status))
    });
    found.await.with_context(|| format!("the status never was {wanted}"))
}

async fn is_shown(kind: Forge, database: Database) -> Result<()> {
    let Some(world) = World::start(database).await? else { return Ok(()) };
    let shown = Shown::new(&world, "shown", kind).await?;
    let gate = Gate::new();
    let build = shown.push(&world, &gate.dockerfile(1)).await?;
    gate.reached().await?;
    let waiting: &[&str] = match kind {
        Forge::Gitlab => &["pending", "running"],
        _ => &["pending"],
    };
    shown
        .forge
        .told_when(TELLS, |told| told.last().is_some_and(|told| told.state == waiting[waiting.len() - 1]))
        .await?;
    gate.open().await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    let told = shown.ends_with("success").await?;
    assert!(told.iter().all(|told| told.commit == build.commit), "{told:?}");
    let last = told.last().context("a last word")?;
    let context = if kind == Forge::Github { "context" } else { "name" };
    assert_eq!(last.fields[context], format!("slipway/{}", shown.told.project.name));
    assert_eq!(last.fields["target_url"], format!("{}/builds/{}", world.slipway.base_url(), build.id));
    if kind == Forge::Gitlab {
        assert_eq!(
            (&last.fields["ref"], last.fields["pipeline_id"].to_string().contains("4711")),
            (&json!("main"), true)
        );
    }
    let status = stands(&world, &build.id, "sent").await?;
    assert_eq!((&status["shows"], &status["error"]), (&json!("succeeded"), &Value::Null));

    let failing = shown.push(&world, &format!("FROM {BASE_IMAGE}\nRUN exit 3\n")).await?;
    let failing = world.api().finished_build(&failing, BUILD).await?;
    assert_eq!(failing.state, "failed");
    let word = if kind == Forge::Github { "failure" } else { "failed" };
    let is_failure =
        |told: &[Status]| told.last().is_some_and(|told| told.state == word && told.commit == failing.commit);
    shown.forge.told_when(TELLS, is_failure).await?;
    assert_eq!(shown.forge.wrong(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn on_github() -> Result<()> {
    is_shown(Forge::Github, Database::Sqlite).await
}

#[tokio::test]
async fn on_gitlab() -> Result<()> {
    is_shown(Forge::Gitlab, Database::Postgres).await
}

#[tokio::test]
async fn a_troubled_forge_is_told_again_and_holds_nobody_up() -> Result<()> {
    let Some(world) = World::start_with(Database::Sqlite, vec![("SLIPWAY_SLOTS".to_owned(), "4".to_owned())]).await?
    else {
        return Ok(());
    };
    let (refuses, limits, hangs, wrong_token) = tokio::join!(
        is_told_again(&world, "broken", Answer::Refuse(500), Duration::ZERO),
        is_told_again(&world, "limited", Answer::RetryAfter(3), Duration::from_secs(3)),
        holds_nobody_up(&world),
        gives_up(&world),
    );
    refuses.context("500")?;
    limits.context("429")?;
    hangs.context("a slow forge")?;
    wrong_token.context("401")
}

async fn is_told_again(world: &World, name: &str, answer: Answer, pause: Duration) -> Result<()> {
    let shown = Shown::new(world, name, Forge::Github).await?;
    shown.forge.answer_next(&[answer, answer]);
    let build = shown.push(world, &format!("FROM {BASE_IMAGE}\nLABEL story={name}\n")).await?;
    world.api().finished_build(&build, BUILD).await?;
    let told = shown.ends_with("success").await?;
    let refused = told.iter().filter(|told| told.answer == answer).count();
    assert_eq!(refused, 2, "{told:?}");
    for pair in told.windows(2).filter(|pair| pair[0].answer == answer) {
        // Measured here, from the answer on.
        assert!(pair[1].at.duration_since(pair[0].at) >= pause.mul_f32(0.9), "told again too early: {told:?}");
    }
    stands(world, &build, "sent").await?;
    Ok(())
}

async fn holds_nobody_up(world: &World) -> Result<()> {
    let shown = Shown::new(world, "slow", Forge::Github).await?;
    shown.forge.answer_always(Answer::Hang);
    let build = shown.push(world, &format!("FROM {BASE_IMAGE}\nLABEL story=slow\n")).await?;
    shown.forge.told_when(TELLS, |told| !told.is_empty()).await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!(build.state, "succeeded");
    // It still has no answer, and nothing newer overtook it.
    let told = shown.forge.told();
    assert!(told.iter().all(|told| (told.state.as_str(), told.answer) == ("pending", Answer::Hang)), "{told:?}");
    shown.told.check_tag(world, &build, "main").await?;
    shown.forge.let_go();
    shown.ends_with("success").await?;
    Ok(())
}

async fn gives_up(world: &World) -> Result<()> {
    let shown = Shown::new(world, "revoked", Forge::Github).await?;
    shown.forge.answer_always(Answer::Refuse(401));
    let build = shown.push(world, &format!("FROM {BASE_IMAGE}\nLABEL story=revoked\n")).await?;
    let build = world.api().finished_build(&build, BUILD).await?;
    assert_eq!(build.state, "succeeded");
    shown.forge.told_when(TELLS, |told| told.last().is_some_and(|told| told.state == "success")).await?;
    let status = stands(world, &build.id, "given_up").await?;
    assert!(status["error"].as_str().is_some_and(|error| error.contains("401")), "{status}");
    let (_, page) = world.api().call(Method::GET, &format!("/builds/{}", build.id), None).await?;
    assert!(page.as_str().is_some_and(|page| page.contains("does not show this build as it is")), "the page is silent");
    // Once each: what the forge refuses for good is not sent again.
    let told = shown.forge.told();
    assert!(told.len() <= 2, "{told:?}");
    Ok(())
}
