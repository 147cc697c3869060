//! The scripted engine under the real service: a builder that knows nothing of it makes, pushes, fails, cancels and
//! retries as with a real one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_runtime::ids::random_bytes;
use slipway_tests::env::git_server::GitServer;
use slipway_tests::env::registry::{Access, Registry};
use slipway_tests::env::services::is_required;
use slipway_tests::env::slipway::{Settings, Slipway};
use slipway_tests::hooks::github;
use slipway_tests::scripted_engine::{ScriptedEngine, Told, log_lines};
use slipway_tests::wait::eventually;
use slipway_tests::world::World;

use super::builds::{BUILD, finished, image_path, new_project, start_dockerfile};
use super::together::Together;

/// Enough for several segments of a log.
const LINES: usize = 40_000;
/// How long a cancelled build may go on in the engine.
const STOPS: Duration = Duration::from_secs(15);

/// What the engine tells of the builds of one job.
fn begun(told: &Told, job: &str) -> Vec<(String, u32)> {
    let local = format!("slipway-build/{job}:");
    let own = told.begun.iter().filter_map(|(image, times)| Some((image.strip_prefix(&local)?.to_owned(), *times)));
    own.collect()
}

/// The numbered lines of a log.
fn scripted_lines(log: &str) -> String {
    let is_ours = |line: &&str| {
        line.len() == "00000001 0123456789abcdef".len() && line.as_bytes()[..8].iter().all(u8::is_ascii_digit)
    };
    log.lines().filter(is_ours).flat_map(|line| [line, "\n"]).collect()
}

async fn a_push_becomes_an_image(world: Arc<World>, engine: Arc<ScriptedEngine>) -> Result<()> {
    let (repo, project) = new_project(&world, "pushed", json!({})).await?;
    let dockerfile = format!("FROM base\n# script: log {LINES}\nRUN make\n");
    let pushed = repo.commit("Make it", &[("Dockerfile", &dockerfile)])?;
    let delivery = github::push(&repo, &pushed, &project.hook.secret);
    let delivery = world.api().deliver_and_wait(&project.hook.url, &delivery).await?;
    let build = delivery.builds.first().context("a push makes a build")?;
    let build = world.api().finished_build(build, BUILD).await?;
    let job = build.jobs.first().context("a build has a job")?;
    assert_eq!(build.state, "succeeded", "{job:?}");
    assert_eq!(job.images.len(), 2, "{job:?}");
    for image in &job.images {
        let tag = image.image_ref.rsplit(':').next().context("an image has a tag")?;
        let there = world.registry().digest(&image_path(&world, "pushed"), tag).await?;
        assert_eq!(there.as_deref(), Some(image.digest.as_str()));
    }
    let (_, config) = world.registry().image(&image_path(&world, "pushed"), "main").await?;
    assert_eq!(config["config"]["Labels"]["slipway.job"], job.id.as_str());
    assert!(scripted_lines(&world.api().log(&job.id).await?) == log_lines(LINES), "every line once and in order");
    let told = engine.state().await?;
    assert_eq!(begun(&told, &job.id), [("1".to_owned(), 1)]);
    let carrier = format!("{}/{}:b{}.1", world.registry, image_path(&world, "pushed"), build.id.replace('-', ""));
    assert_eq!(told.pushes.get(&carrier), Some(&1), "{:?}", told.pushes);
    Ok(())
}

async fn a_failing_script_names_its_line(world: Arc<World>) -> Result<()> {
    let project = new_project(&world, "failing", json!({})).await?;
    let dockerfile = "FROM base\nRUN first\n\n# script: log 5\n# script: fail exit 7\nRUN second\n";
    let build = start_dockerfile(&world, &project, dockerfile).await?;
    let (build, job) = finished(&world, &build).await?;
    let failure = job.failure.context("a failure")?;
    assert_eq!((build.state.as_str(), failure.class.as_str()), ("failed", "run_failed"), "{failure:?}");
    assert_eq!((failure.exit_code, failure.dockerfile_line), (Some(7), Some(6)), "{failure:?}");
    assert_eq!(failure.step.as_deref(), Some("[3/3] RUN second"));
    Ok(())
}

async fn a_cancel_stops_it(world: Arc<World>, engine: Arc<ScriptedEngine>) -> Result<()> {
    let project = new_project(&world, "cancelled", json!({})).await?;
    let build = start_dockerfile(&world, &project, "FROM base\n# script: sleep 3600s\nRUN make\n").await?;
    let job = build.jobs.first().context("a build has a job")?.id.clone();
    let runs =
        async || Ok::<_, anyhow::Error>(engine.state().await?.running.iter().any(|it| it.labels["slipway.job"] == job));
    eventually("the engine to build", BUILD, || async { Ok(runs().await?.then_some(())) }).await?;
    let (status, answer) = world.api().cancel(&build.id).await?;
    ensure!(status == StatusCode::OK, "{status}: {answer}");
    eventually("the engine to stop", STOPS, || async { Ok((!runs().await?).then_some(())) }).await?;
    assert_eq!(world.api().finished_build(&build.id, STOPS).await?.state, "cancelled");
    assert_eq!(engine.state().await?.cancelled, 1);
    Ok(())
}

async fn a_fault_is_tried_again(world: Arc<World>, engine: Arc<ScriptedEngine>) -> Result<()> {
    let project = new_project(&world, "faulty", json!({})).await?;
    let build = start_dockerfile(&world, &project, "FROM base\n# script: infra 1\nRUN make\n").await?;
    let (build, job) = finished(&world, &build).await?;
    let outcomes: Vec<_> = job.attempts.iter().map(|attempt| attempt.outcome.as_deref()).collect();
    assert_eq!(
        (build.state.as_str(), outcomes.as_slice()),
        ("succeeded", [Some("infra"), Some("succeeded")].as_slice())
    );
    assert_eq!(begun(&engine.state().await?, &job.id), [("1".to_owned(), 1), ("2".to_owned(), 1)]);
    Ok(())
}

/// Times alone would take the left stage for part of the path: the engine works on one after the other.
async fn the_critical_path_goes_through_inputs(world: Arc<World>) -> Result<()> {
    let project = new_project(&world, "critical", json!({})).await?;
    let dockerfile = "FROM base AS shared\n# script: sleep 100ms\nRUN zero\nFROM shared AS left\n\
        # script: sleep 100ms\nRUN left\nFROM shared AS right\n# script: sleep 100ms\nRUN right\nFROM left\n\
        # script: sleep 100ms\nCOPY --from=right / /\n";
    let build = start_dockerfile(&world, &project, dockerfile).await?;
    let (build, _) = finished(&world, &build).await?;
    assert_eq!(build.state, "succeeded");
    let told: Value = world.api().expect(Method::GET, &format!("/api/v1/builds/{}", build.id), None).await?;
    let steps = told["jobs"][0]["steps"].as_array().context("a job has steps")?;
    let step = |part: &str| steps.iter().find(|step| step["name"].as_str().is_some_and(|name| name.contains(part)));
    let number = |part: &str| Some(step(part)?["number"].clone());
    let copy = step("COPY").context("it is told")?;
    assert_eq!(copy["inputs"], json!([number("RUN left"), number("RUN right")]), "{steps:?}");
    let (_, page) = world.api().call(Method::GET, &format!("/builds/{}", build.id), None).await?;
    let page = page.as_str().context("a page")?;
    let rows: Vec<&str> = page.lines().filter(|line| line.contains("class=\"bar ")).collect();
    for (part, wanted) in [("RUN zero", true), ("RUN left", false), ("RUN right", true), ("COPY", true)] {
        let row = rows.iter().find(|row| row.contains(part)).with_context(|| format!("no {part} in {page}"))?;
        assert_eq!(row.contains(" critical\""), wanted, "{row}");
    }
    Ok(())
}

#[tokio::test]
async fn a_scripted_engine_serves_the_real_builder() -> Result<()> {
    if let Some(missing) = Registry::missing() {
        ensure!(!is_required(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let registry = Registry::start(Access::Open).await?;
    let engine = Arc::new(ScriptedEngine::start().await?);
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), "4".to_owned())];
    let slipway = Slipway::start(Settings { engine: engine.host(), variables, ..Settings::default() }).await?;
    let world = World {
        slipway,
        git: GitServer::start().await?,
        registry: registry.address(),
        engine: engine.host(),
        name: hex::encode(random_bytes::<5>()),
    };
    let mut together = Together::new(world);
    let with = || Arc::clone(&engine);
    together.story("a push becomes an image", {
        let engine = with();
        |world| a_push_becomes_an_image(world, engine)
    });
    together.story("a failing script names its line", a_failing_script_names_its_line);
    together.story("a cancel stops it", {
        let engine = with();
        |world| a_cancel_stops_it(world, engine)
    });
    together.story("a fault is tried again", {
        let engine = with();
        |world| a_fault_is_tried_again(world, engine)
    });
    together.story("the critical path goes through inputs", the_critical_path_goes_through_inputs);
    together.end().await?;
    let told = engine.state().await?;
    assert_eq!((told.running.len(), told.images), (0, 0), "nothing stays on the engine: {told:?}");
    Ok(())
}
