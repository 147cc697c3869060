//! A cancel stops a build wherever it stands, and nothing of it becomes visible; once it publishes, a cancel
//! comes too late and says so.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::ListImagesOptionsBuilder;
use reqwest::StatusCode;
use serde_json::json;
use slipway_tests::api::{Build, Job};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::connect;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::builds::{BUILD, finished, image_path, new_project, start, start_dockerfile};
use super::processes::{processes_gone, processes_seen};
use super::stalling_registry::{Stall, StallingRegistry};
use super::together::Together;

/// How long the answer to a cancel may take; far more than it takes on a machine that does other things too.
const ANSWERED: Duration = Duration::from_secs(10);

/// How long a cancelled build may take to end; far less than the time after which it is written off.
const CANCELLED: Duration = Duration::from_secs(15);

/// How long a client may take to end once the build has.
const CLIENT: Duration = Duration::from_secs(20);

/// Cancels and waits for the end, which is `cancelled`, with an image nowhere.
async fn cancelled(world: &World, build: &Build) -> Result<Job> {
    let asked = Instant::now();
    let (status, answer) = world.api().cancel(&build.id).await?;
    let answered = asked.elapsed();
    ensure!(status == StatusCode::OK, "{status}: {answer}");
    ensure!(answered < ANSWERED, "answered after {answered:?}");
    let build = world.api().finished_build(&build.id, CANCELLED).await?;
    let job = build.jobs.first().cloned().context("a build has a job")?;
    let phase = job.attempts.first().and_then(|attempt| attempt.phase.clone()).unwrap_or_default();
    eprintln!("cancelled while {phase:<9} answered in {answered:>8.1?}, ended in {:>8.1?}", asked.elapsed());
    no_image(world, &job).await?;
    assert_eq!((build.state.as_str(), job.state.as_str()), ("cancelled", "cancelled"), "{job:?}");
    assert!(job.images.is_empty(), "{job:?}");
    let (again, _) = world.api().cancel(&build.id).await?;
    assert_eq!(again, StatusCode::OK, "cancelling what is cancelled is no error");
    Ok(job)
}

/// No name of the job's image stays on the engine; it goes beside the last word.
async fn no_image(world: &World, job: &Job) -> Result<()> {
    let docker = connect(&world.engine).await?;
    let filters = std::collections::HashMap::from([("label", vec![format!("slipway.job={}", job.id)])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let gone = || async { Ok(docker.list_images(Some(options.clone())).await?.is_empty().then_some(())) };
    eventually("the image to be gone from the engine", CANCELLED, gone).await
}

async fn no_tags(world: &World, name: &str) -> Result<()> {
    assert_eq!(world.registry().tags(&image_path(world, name)).await?, Vec::<String>::new());
    Ok(())
}

async fn while_fetching(world: Arc<World>) -> Result<()> {
    // Takes the request and never answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let silent = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
        }
    });
    // A port is no marker: the repository's name stands in the arguments of git and of its helper.
    let marker = format!("silent-{}.git", world.name);
    let url = format!("http://{address}/{marker}");
    let repo = json!({ "full_path": "cancels/silent", "clone_url": url });
    let (_, project) = new_project(&world, "fetching", json!({ "repo": repo })).await?;
    let build = start(&world, &project, &"0123456789".repeat(4), &json!({})).await?;
    processes_seen(&marker).await?;
    cancelled(&world, &build).await?;
    processes_gone(&marker).await?;
    silent.abort();
    Ok(())
}

async fn while_a_step_ignores_signals(world: Arc<World>) -> Result<()> {
    let marker = format!("stubborn-{}", world.name);
    // One in the background, one in a session of its own, and the shell itself, all deaf to SIGTERM.
    let stubborn = format!("trap \"\" TERM INT HUP; while :; do sleep 1; done; : {marker}");
    let dockerfile = format!(
        "FROM {BASE_IMAGE}\nRUN trap '' TERM INT HUP; sh -c '{stubborn}' & setsid sh -c '{stubborn}' & \
         echo {marker} is busy; sh -c '{stubborn}'\n"
    );
    let project = new_project(&world, "running", json!({})).await?;
    let build = start_dockerfile(&world, &project, &dockerfile).await?;
    let mut command = Command::from(world.slipway.client(&["logs", "-f", &build.id])?);
    let mut client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut shown = BufReader::new(client.stdout.take().context("the client's output is a pipe")?).lines();
    let busy = format!("{marker} is busy");
    let seen = async {
        while let Some(line) = shown.next_line().await? {
            if line.ends_with(&busy) {
                return Ok(());
            }
        }
        anyhow::bail!("the log ended without the step's line")
    };
    tokio::time::timeout(BUILD, seen).await.context("the step's line never came")??;
    processes_seen(&marker).await?;

    let (job, gone) = tokio::join!(cancelled(&world, &build), processes_gone(&marker));
    gone?;
    let job = job?;
    assert_eq!(job.attempts[0].outcome.as_deref(), Some("cancelled"), "{job:?}");
    let stopped = job.steps.iter().find(|step| step.name.contains("trap")).context("the step is listed")?;
    assert_eq!(stopped.state, "cancelled", "{stopped:?}");
    no_tags(&world, "running").await?;
    let status = tokio::time::timeout(CLIENT, client.wait()).await.context("the client did not end")??;
    let mut told = String::new();
    client.stderr.take().context("a pipe")?.read_to_string(&mut told).await?;
    assert_eq!(status.code(), Some(130), "{told}");
    Ok(())
}

async fn while_pulling(world: Arc<World>) -> Result<()> {
    let registry = StallingRegistry::start(&world.registry, Stall::Pulls).await?;
    let project = new_project(&world, "pulling", json!({})).await?;
    let dockerfile = format!("FROM {}/bases/{}:1\nRUN true\n", registry.address(), world.name);
    let build = start_dockerfile(&world, &project, &dockerfile).await?;
    registry.reached().await?;
    let job = cancelled(&world, &build).await?;
    assert_eq!(job.attempts[0].phase.as_deref(), Some("building"), "{job:?}");
    no_tags(&world, "pulling").await
}

/// Builds beside all the cancelled ones.
async fn a_neighbour(world: Arc<World>) -> Result<()> {
    let project = new_project(&world, "neighbour", json!({})).await?;
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN sleep 6; echo the neighbour of {}\n", world.name);
    let build = start_dockerfile(&world, &project, &dockerfile).await?;
    let (build, job) = finished(&world, &build).await?;
    assert_eq!(build.state, "succeeded", "{job:?}");
    assert!(world.api().log(&job.id).await?.contains(&format!("the neighbour of {}\n", world.name)));
    Ok(())
}

async fn while_pushing(world: Arc<World>) -> Result<()> {
    let registry = StallingRegistry::start(&world.registry, Stall::Uploads).await?;
    let image = json!({ "repository": format!("{}/{}", registry.address(), image_path(&world, "pushing")) });
    let project = new_project(&world, "pushing", json!({ "image": image })).await?;
    // A layer of its own, so that there is something to upload.
    let build = start_dockerfile(&world, &project, &one_layer(&world.name)).await?;
    registry.reached().await?;
    let job = cancelled(&world, &build).await?;
    assert_eq!(job.attempts[0].phase.as_deref(), Some("pushing"), "{job:?}");
    registry.open();
    no_tags(&world, "pushing").await
}

async fn while_publishing(world: Arc<World>) -> Result<()> {
    let registry = StallingRegistry::start(&world.registry, Stall::UserTags).await?;
    let image = json!({ "repository": format!("{}/{}", registry.address(), image_path(&world, "publishing")) });
    let project = new_project(&world, "publishing", json!({ "image": image })).await?;
    let build = start_dockerfile(&world, &project, &one_layer(&format!("{}-2", world.name))).await?;
    registry.reached().await?;
    let (status, answer) = world.api().cancel(&build.id).await?;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("already publishing")), "{answer}");
    registry.open();
    let (build, job) = finished(&world, &build).await?;
    assert_eq!(build.state, "succeeded", "{job:?}");
    let there = world.registry().digest(&image_path(&world, "publishing"), &build.commit).await?;
    assert_eq!(there.as_deref(), job.images.first().map(|image| image.digest.as_str()));
    assert!(there.is_some());
    let (status, answer) = world.api().cancel(&build.id).await?;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    Ok(())
}

fn one_layer(text: &str) -> String {
    format!("FROM {BASE_IMAGE}\nRUN echo {text} > /own\n")
}

#[tokio::test]
async fn a_build_is_cancelled_wherever_it_stands() -> Result<()> {
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), "8".to_owned())];
    let Some(world) = World::start_with(Database::Sqlite, variables).await? else { return Ok(()) };
    let mut stories = Together::new(world);
    stories.story("while fetching", while_fetching);
    stories.story("while a step ignores signals", while_a_step_ignores_signals);
    stories.story("while pulling", while_pulling);
    stories.story("while pushing", while_pushing);
    stories.story("while publishing", while_publishing);
    stories.story("a neighbour", a_neighbour);
    stories.end().await
}

#[tokio::test]
async fn a_build_cancelled_in_the_queue_never_starts() -> Result<()> {
    let slots = |slots: &str| vec![("SLIPWAY_SLOTS".to_owned(), slots.to_owned())];
    let Some(mut world) = World::start_with(Database::Sqlite, slots("0")).await? else { return Ok(()) };
    let project = new_project(&world, "queued", json!({})).await?;
    let first = start_dockerfile(&world, &project, &one_layer("first")).await?;
    let second = start_dockerfile(&world, &project, &one_layer("second")).await?;
    let job = cancelled(&world, &first).await?;
    assert!(job.attempts.is_empty(), "{job:?}");
    // With a builder, the queue moves; the cancelled build stays what it is.
    world.slipway.restart_with(slots("1")).await?;
    let (second, job) = finished(&world, &second).await?;
    assert_eq!(second.state, "succeeded", "{job:?}");
    let first = world.api().build(&first.id).await?;
    assert_eq!((first.state.as_str(), first.jobs[0].attempts.len()), ("cancelled", 0));
    let tags = world.registry().tags(&image_path(&world, "queued")).await?;
    assert!(!tags.contains(&first.commit) && tags.contains(&second.commit), "{tags:?}");
    Ok(())
}
