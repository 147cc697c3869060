//! What goes wrong is told: its class, the step, the line, a sentence and a hint, and whose fault it is.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::api::{Build, Failure, Job};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::host::free_port;
use slipway_tests::env::services::{REGISTRY_AUTH, REGISTRY_AUTH_USER, shared};
use slipway_tests::world::{Database, World};

use super::builds::{BUILD, finished, new_project, start, start_dockerfile};
use super::later::Later;
use super::processes::{processes_gone, processes_seen};
use super::together::Together;

/// All of them run at the same time.
const SLOTS: &str = "16";

/// Long enough for a step to begin, short enough to wait for.
const TIMEOUT_SECS: u64 = 10;

/// The first try and its retries.
const TRIES: usize = 4;

/// A build that is expected not to succeed.
struct Case<'a> {
    files: &'a [(&'a str, &'a str)],
    /// The `build` object of the request.
    options: Value,
}

impl<'a> Case<'a> {
    fn of(files: &'a [(&'a str, &'a str)]) -> Self {
        Self { files, options: json!({}) }
    }

    /// Builds the files as a project of its own; the finished build with its only job.
    async fn run(&self, world: &World, name: &str) -> Result<(Build, Job)> {
        let (repo, project) = new_project(world, name, json!({})).await?;
        repo.commit(name, self.files)?;
        let build = start(world, &project, &repo.resolve("HEAD")?, &self.options).await?;
        finished(world, &build).await
    }

    /// The same for a build that fails by its user's doing, at the first try.
    async fn fails(&self, world: &World, name: &str) -> Result<(Failure, Job)> {
        let (build, job) = self.run(world, name).await?;
        failed_once(&build, job)
    }
}

/// The user's fault is `failed`, tried once, and told with a sentence and a hint.
fn failed_once(build: &Build, job: Job) -> Result<(Failure, Job)> {
    assert_eq!((build.state.as_str(), job.state.as_str()), ("failed", "failed"), "{job:?}");
    let outcomes: Vec<_> = job.attempts.iter().map(|attempt| attempt.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("failed")]);
    assert!(job.images.is_empty(), "{job:?}");
    let failure = job.failure.clone().context("a failed job says why")?;
    ensure!(!failure.message.is_empty() && failure.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{failure:?}");
    Ok((failure, job))
}

async fn failing_run(world: Arc<World>) -> Result<()> {
    let last = format!("the last words of {}", world.name);
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN echo fine\n\nRUN echo first; echo {last} >&2; exit 42\n");
    let (failure, job) = Case::of(&[("Dockerfile", &dockerfile)]).fails(&world, "run").await?;
    assert_eq!((failure.class.as_str(), failure.exit_code), ("run_failed", Some(42)), "{failure:?}");
    assert_eq!((failure.dockerfile.as_deref(), failure.dockerfile_line), (Some("Dockerfile"), Some(4)));
    let shown: Vec<_> = failure.excerpt.iter().map(|it| (it.line, it.failing)).collect();
    assert_eq!(shown, [(2, false), (3, false), (4, true)], "{failure:?}");
    assert!(failure.excerpt[2].text.starts_with("RUN echo first"), "{failure:?}");
    // One went to stdout and one to stderr, between which there is no order.
    let said = BTreeSet::from_iter(failure.last_lines.iter().map(String::as_str));
    assert_eq!(said, BTreeSet::from(["first", last.as_str()]));
    assert!(failure.step.as_ref().is_some_and(|step| step.contains("RUN echo first")), "{failure:?}");
    let step = job.steps.iter().find(|step| step.name.contains("echo first")).context("the step is listed")?;
    assert_eq!((step.state.as_str(), step.exit_code), ("failed", Some(42)));
    let log = world.api().log(&job.id).await?;
    let (output, ending) = log.split_at(log.rfind(&last).context("the log has the step's output")? + last.len());
    assert!(output.contains("first\n"), "{log}");
    // After the command's own words only our sentence comes, with the hint.
    let ending: Vec<_> = ending.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(ending.len(), 1, "{log}");
    assert!(ending[0].contains("exit code 42") && ending[0].contains(failure.hint.as_deref().unwrap_or("?")), "{log}");
    Ok(())
}

async fn missing_dockerfile(world: Arc<World>) -> Result<()> {
    let (failure, _) = Case::of(&[("README.md", "nothing to build\n")]).fails(&world, "no-dockerfile").await?;
    assert_eq!(failure.class, "dockerfile_missing");
    assert!(failure.message.contains("\"Dockerfile\""), "{failure:?}");
    Ok(())
}

async fn dockerfile_syntax(world: Arc<World>) -> Result<()> {
    let dockerfile = format!("FROM {BASE_IMAGE}\n\nRUNN echo typo\n");
    let (failure, _) = Case::of(&[("Dockerfile", &dockerfile)]).fails(&world, "syntax").await?;
    assert_eq!((failure.class.as_str(), failure.dockerfile_line), ("dockerfile_syntax", Some(3)), "{failure:?}");
    assert!(failure.message.contains("RUNN"), "{failure:?}");
    Ok(())
}

async fn unknown_base_image(world: Arc<World>) -> Result<()> {
    let name = format!("{}/nope-{}:1", world.registry, world.name);
    let dockerfile = format!("FROM {name}\nRUN true\n");
    let (failure, _) = Case::of(&[("Dockerfile", &dockerfile)]).fails(&world, "base").await?;
    assert_eq!(failure.class, "base_image_missing", "{failure:?}");
    assert!(failure.message.contains(&name), "{failure:?}");
    Ok(())
}

async fn unknown_target(world: Arc<World>) -> Result<()> {
    let dockerfile = format!("FROM {BASE_IMAGE} AS one\nRUN true\n");
    let case = Case { files: &[("Dockerfile", &dockerfile)], options: json!({ "target": "two" }) };
    let (failure, _) = case.fails(&world, "target").await?;
    assert_eq!(failure.class, "target_missing", "{failure:?}");
    assert_eq!(failure.hint.as_deref(), Some("Set build.target to a stage that there is: one."));
    Ok(())
}

async fn missing_copy_source(world: Arc<World>) -> Result<()> {
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN true\nCOPY not-there.txt /x\n");
    let files = [("Dockerfile", dockerfile.as_str()), ("not_there.txt", "")];
    let (failure, _) = Case::of(&files).fails(&world, "copy").await?;
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("there is not_there.txt")), "{failure:?}");
    assert_eq!((failure.class.as_str(), failure.dockerfile_line), ("copy_source_missing", Some(3)), "{failure:?}");
    assert!(failure.message.contains("not-there.txt"), "{failure:?}");
    Ok(())
}

async fn wrong_pipeline_file(world: Arc<World>) -> Result<()> {
    let dockerfile = format!("FROM {BASE_IMAGE}\n");
    let files = [("Dockerfile", dockerfile.as_str()), ("slipway.yml", "build:\n  docker_file: Dockerfile\n")];
    let (failure, _) = Case::of(&files).fails(&world, "pipeline").await?;
    assert_eq!(failure.class, "pipeline_invalid", "{failure:?}");
    for words in ["slipway.yml line 2", "docker_file", "did you mean \"dockerfile\"?"] {
        assert!(failure.message.contains(words), "{failure:?}");
    }
    Ok(())
}

async fn dockerfile_path_that_leaves(world: Arc<World>) -> Result<()> {
    let files = [("slipway.yml", "build:\n  dockerfile: ../../../etc/passwd\n")];
    let (failure, _) = Case::of(&files).fails(&world, "path").await?;
    assert_eq!(failure.class, "context_invalid", "{failure:?}");
    assert!(failure.message.contains("leads out of the repository"), "{failure:?}");
    Ok(())
}

async fn symlink_that_leaves(world: Arc<World>) -> Result<()> {
    let (repo, project) = new_project(&world, "link", json!({})).await?;
    symlink("/etc/passwd", repo.work().join("Dockerfile"))?;
    repo.commit("a link", &[])?;
    let build = start(&world, &project, &repo.resolve("HEAD")?, &json!({})).await?;
    let (build, job) = finished(&world, &build).await?;
    let (failure, job) = failed_once(&build, job)?;
    assert_eq!(failure.class, "context_invalid", "{failure:?}");
    let log = world.api().log(&job.id).await?;
    assert!(!log.contains("root:"), "the log shows a file of the host: {log}");
    Ok(())
}

async fn unknown_commit(world: Arc<World>) -> Result<()> {
    let (repo, project) = new_project(&world, "commit", json!({})).await?;
    repo.commit("there", &[("Dockerfile", "FROM scratch\n")])?;
    let build = start(&world, &project, &"deadbeef".repeat(5), &json!({})).await?;
    let (build, job) = finished(&world, &build).await?;
    let (failure, _) = failed_once(&build, job)?;
    assert_eq!(failure.class, "commit_missing", "{failure:?}");
    Ok(())
}

async fn missing_repository(world: Arc<World>) -> Result<()> {
    let url = format!("{}/failures/gone-{}.git", world.git.base_url(), world.name);
    let repo = json!({ "full_path": "failures/gone", "clone_url": url });
    let (_, project) = new_project(&world, "gone", json!({ "repo": repo })).await?;
    let build = start(&world, &project, &"0123456789".repeat(4), &json!({})).await?;
    let (build, job) = finished(&world, &build).await?;
    let (failure, _) = failed_once(&build, job)?;
    assert_eq!(failure.class, "source_missing", "{failure:?}");
    Ok(())
}

async fn wrong_registry_password(world: Arc<World>) -> Result<()> {
    const WRONG: &str = "surely-not-the-password";
    let (Some(host), Some(user)) = (shared(REGISTRY_AUTH)?, shared(REGISTRY_AUTH_USER)?) else { return Ok(()) };
    let login = json!({ "host": host, "user": user, "password": WRONG });
    let _: Value = world.api().expect(Method::POST, "/api/v1/registries", Some(&login)).await?;
    let image = json!({ "repository": format!("{host}/{}", world.image_path()) });
    let project = new_project(&world, "password", json!({ "image": image })).await?;
    let build = start_dockerfile(&world, &project, &format!("FROM {BASE_IMAGE}\nRUN echo {}\n", world.name)).await?;
    let (build, job) = finished(&world, &build).await?;
    let (failure, job) = failed_once(&build, job)?;
    assert_eq!(failure.class, "registry_auth", "{failure:?}");
    assert!(failure.message.contains(&host), "{failure:?}");
    assert_eq!(job.attempts[0].phase.as_deref(), Some("pushing"));
    let log = world.api().log(&job.id).await?;
    assert!(!log.contains(WRONG) && !format!("{failure:?}").contains(WRONG), "the password is shown");
    Ok(())
}

/// A build of a repository whose host does not answer.
async fn of_nobody(world: &World) -> Result<Build> {
    let url = format!("http://127.0.0.1:{}/failures/nobody.git", free_port()?);
    let repo = json!({ "full_path": "failures/nobody", "clone_url": url });
    let (_, project) = new_project(world, "nobody", json!({ "repo": repo })).await?;
    start(world, &project, &"0123456789".repeat(4), &json!({})).await
}

async fn cancel_between_tries(world: Arc<World>) -> Result<()> {
    let build = of_nobody(&world).await?;
    let closed = |build: &Build| build.jobs[0].attempts.first().is_some_and(|attempt| attempt.state == "closed");
    let tried = world.api().build_when(&build.id, BUILD, closed).await?;
    let (job, attempt) = (&tried.jobs[0], &tried.jobs[0].attempts[0]);
    assert_eq!(attempt.outcome.as_deref(), Some("infra"), "{job:?}");
    assert_eq!(attempt.failure.as_ref().map(|failure| failure.class.as_str()), Some("source_unreachable"));
    // It is ours to repair, so it is tried again, after a pause.
    assert!(!matches!(job.state.as_str(), "failed" | "errored"), "{job:?}");
    assert!(matches!(tried.state.as_str(), "pending" | "running"), "{tried:?}");
    let (status, answer) = world.api().cancel(&build.id).await?;
    assert!(status.is_success(), "{status} {answer}");
    let (build, _) = finished(&world, &build).await?;
    assert_eq!(build.state, "cancelled");
    Ok(())
}

async fn too_slow(world: Arc<World>) -> Result<()> {
    let marker = format!("slow-step-of-{}", world.name);
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN trap '' TERM; (sleep 600; : {marker}) & sleep 600; : {marker}\n");
    let (repo, project) = new_project(&world, "slow", json!({})).await?;
    repo.commit("slow", &[("Dockerfile", &dockerfile)])?;
    let options = json!({ "timeout_secs": TIMEOUT_SECS });
    let build = start(&world, &project, &repo.resolve("HEAD")?, &options).await?;
    processes_seen(&marker).await?;
    let (build, job) = finished(&world, &build).await?;
    processes_gone(&marker).await?;
    assert_eq!((build.state.as_str(), job.state.as_str()), ("failed", "timed_out"), "{job:?}");
    assert_eq!(job.attempts.len(), 1, "{job:?}");
    let failure = job.failure.context("a job that timed out says so")?;
    assert_eq!(failure.class, "timed_out");
    assert!(failure.hint.is_some_and(|hint| hint.contains("timeout")));
    Ok(())
}

#[tokio::test]
async fn each_failure_is_told_with_its_class_and_place() -> Result<()> {
    let variables = vec![("SLIPWAY_SLOTS".to_owned(), SLOTS.to_owned())];
    let Some(world) = World::start_with(Database::Sqlite, variables).await? else { return Ok(()) };
    let mut stories = Together::new(world);
    stories.story("build timeout", too_slow);
    stories.story("failing RUN", failing_run);
    stories.story("missing Dockerfile", missing_dockerfile);
    stories.story("Dockerfile syntax", dockerfile_syntax);
    stories.story("unknown base image", unknown_base_image);
    stories.story("unknown target", unknown_target);
    stories.story("missing COPY source", missing_copy_source);
    stories.story("wrong slipway.yml", wrong_pipeline_file);
    stories.story("Dockerfile path that leaves the checkout", dockerfile_path_that_leaves);
    stories.story("symlink that leaves the checkout", symlink_that_leaves);
    stories.story("unknown commit", unknown_commit);
    stories.story("missing repository", missing_repository);
    stories.story("wrong registry password", wrong_registry_password);
    stories.story("cancel between tries", cancel_between_tries);
    stories.end().await
}

#[tokio::test]
async fn an_unreachable_repository_is_an_error_of_ours_after_all_tries() -> Result<()> {
    let Some(mut world) = World::start(Database::Sqlite).await? else { return Ok(()) };
    let build = of_nobody(&world).await?;
    let mut later = Later::default();
    for tries in 1..=TRIES {
        let closed = |build: &Build| build.jobs[0].attempts.iter().filter(|attempt| attempt.state == "closed").count();
        // A job is read before its attempts, so that the first read of a closed one may show it running.
        let ended = |build: &Build| closed(build) == tries && build.jobs[0].state != "running";
        let tried = world.api().build_when(&build.id, BUILD, ended).await?;
        let (job, last) = (&tried.jobs[0], tries == TRIES);
        assert_eq!(job.state, if last { "errored" } else { "queued" }, "after {tries} tries: {job:?}");
        later.skip_the_pause(&mut world).await?;
    }
    let (build, job) = finished(&world, &build).await?;
    assert_eq!((build.state.as_str(), job.state.as_str()), ("errored", "errored"));
    assert!(job.attempts.iter().all(|attempt| attempt.outcome.as_deref() == Some("infra")), "{job:?}");
    assert_eq!(job.attempts.len(), TRIES);
    let failure = job.failure.context("a job that errored says why")?;
    assert_eq!(
        (failure.class.as_str(), failure.step.as_deref()),
        ("source_unreachable", Some("[slipway] fetch source"))
    );
    assert!(failure.message.contains("could not be spoken to"), "{failure:?}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("check the host")));
    Ok(())
}
