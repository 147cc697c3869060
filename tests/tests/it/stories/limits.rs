//! What a plan allows is in force: every limit is broken here by a build, which ends with words that name it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::api::{Build, Failure, Job};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::world::{Database, World};

use super::builds::{finished, new_project, start};
use super::processes::processes_gone;
use super::together::Together;

/// A plan under which everything is scarce. The wall clock has a test of its own among the failures.
const PLAN: &str = "[tiny]\nlike = \"free\"\nmillicpus = 100\nmemory_bytes = \"48 MiB\"\npids = 40\nsilence_secs = 20\n\
    context_bytes = \"1 MiB\"\ncontext_entries = 20\nlog_bytes = \"64 KiB\"\nimage_bytes = \"20 MiB\"\ntags = 2\njobs = 6\n";

/// Builds a Dockerfile beside other files under the options; the finished build and its job.
async fn built(world: &World, name: &str, files: &[(&str, &str)], options: Value) -> Result<(Build, Job)> {
    let (repo, project) = new_project(world, name, json!({})).await?;
    repo.commit(name, files)?;
    let build = start(world, &project, &repo.resolve("HEAD")?, &options).await?;
    finished(world, &build).await
}

async fn broken(world: &World, name: &str, steps: &str, options: Value) -> Result<(Failure, Job)> {
    let dockerfile = format!("FROM {BASE_IMAGE}\n{steps}");
    let (_, mut job) = built(world, name, &[("Dockerfile", &dockerfile)], options).await?;
    let Some(failure) = job.failure.take() else { anyhow::bail!("{name}: {job:?}") };
    ensure!(job.attempts.len() == 1, "nothing of it is tried again: {job:?}");
    Ok((failure, job))
}

fn says(failure: &Failure, class: &str, words: &str) -> Result<()> {
    ensure!(failure.class == class && failure.message.contains(words), "{failure:?}");
    Ok(())
}

async fn memory(world: Arc<World>) -> Result<()> {
    let (failure, _) = broken(&world, "memory", "RUN tail /dev/zero\n", json!({})).await?;
    says(&failure, "out_of_memory", "killed for its memory (limit 48.0 MiB)")?;
    // What the Dockerfile says of proxies does not hide a step.
    let (failure, _) = broken(&world, "memory-env", "ENV NO_PROXY=localhost\nRUN tail /dev/zero\n", json!({})).await?;
    says(&failure, "out_of_memory", "48.0 MiB")?;
    // A step that lived with it is no reason for one that fails later.
    let steps = "RUN tail /dev/zero || echo went on\nRUN sleep 1; exit 3\n";
    let (failure, _) = broken(&world, "memory-before", steps, json!({})).await?;
    ensure!((failure.class.as_str(), failure.exit_code) == ("run_failed", Some(3)), "{failure:?}");
    // Two stages at once share the limit: each alone would fit.
    let fill =
        "head -c 30m /dev/zero > /dev/shm/x && for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done && rm /dev/shm/x";
    let steps =
        format!("RUN {fill} && echo one\nFROM {BASE_IMAGE}\nRUN {fill} && echo two\nCOPY --from=0 /etc/passwd /p\n");
    let (_, job) =
        built(&world, "memory-of-two", &[("Dockerfile", &format!("FROM {BASE_IMAGE}\n{steps}"))], json!({})).await?;
    let failure = job.failure.context("together they are too large")?;
    says(&failure, "out_of_memory", "48.0 MiB")
}

async fn processes(world: Arc<World>) -> Result<()> {
    let marker = format!("9{}", world.name.bytes().map(|byte| char::from(b'0' + byte % 10)).collect::<String>());
    let steps = format!("RUN for i in $(seq 200); do sleep {marker} & done; wait\n");
    let (failure, _) = broken(&world, "processes", &steps, json!({})).await?;
    says(&failure, "run_failed", "more processes were wanted than the plan allows (40)")?;
    processes_gone(&format!("sleep {marker}")).await
}

/// A tenth of a core is slower by far than a core, however busy this host is.
async fn cores(world: Arc<World>) -> Result<()> {
    let steps = "RUN time sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; echo\n";
    let dockerfile = format!("FROM {BASE_IMAGE}\n{steps}");
    let (build, job) = built(&world, "cores", &[("Dockerfile", &dockerfile)], json!({})).await?;
    let log = world.api().log(&job.id).await?;
    ensure!(build.state == "succeeded" && log.contains("It may use 0.1 cores, 48.0 MiB of memory"), "{log}");
    let seconds = |word: &str| {
        let line = log.lines().find_map(|line| line.trim().strip_prefix(word));
        let (minutes, seconds) = line.and_then(|line| line.trim().trim_end_matches('s').split_once("m "))?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let (Some(real), Some(user)) = (seconds("real"), seconds("user")) else { anyhow::bail!("{log}") };
    ensure!(real > 5.0 * user, "{real} s for {user} s of a core\n{log}");
    Ok(())
}

async fn silence(world: Arc<World>) -> Result<()> {
    let marker = format!("8{}", world.name.bytes().map(|byte| char::from(b'0' + byte % 10)).collect::<String>());
    let (failure, job) = broken(&world, "silence", &format!("RUN echo begun; sleep {marker}\n"), json!({})).await?;
    says(&failure, "silent", "said nothing for 20 s")?;
    assert_eq!(job.state, "timed_out");
    processes_gone(&format!("sleep {marker}")).await
}

async fn log(world: Arc<World>) -> Result<()> {
    let steps = format!("RUN echo the first words; seq 1 40000; echo the last words of {}\n", world.name);
    let dockerfile = format!("FROM {BASE_IMAGE}\n{steps}");
    let (build, job) = built(&world, "log", &[("Dockerfile", &dockerfile)], json!({})).await?;
    let log = world.api().log(&job.id).await?;
    assert_eq!(build.state, "succeeded", "a long log stops no build");
    ensure!(log.contains("the first words\n1\n2\n") && log.contains("40000\nthe last words of"), "{log}");
    ensure!(
        log.contains("the 64.0 KiB that the plan allows") && log.contains(" of the log are left out here."),
        "{log}"
    );
    ensure!(log.len() < 80 * 1024, "{}", log.len());
    let left_out = job.attempts[0].remarks["log_left_out_bytes"].as_u64();
    ensure!(left_out.is_some_and(|bytes| bytes > 100 * 1024), "{:?}", job.attempts);
    Ok(())
}

async fn image(world: Arc<World>) -> Result<()> {
    let (failure, job) = broken(&world, "image", "RUN head -c 30m /dev/zero > /large\n", json!({})).await?;
    says(&failure, "image_too_large", "the plan allows 20.0 MiB")?;
    ensure!(job.images.is_empty(), "{job:?}");
    Ok(())
}

async fn tags(world: Arc<World>) -> Result<()> {
    let (failure, job) = broken(&world, "tags", "RUN true\n", json!({ "tags": ["a", "b", "c"] })).await?;
    says(&failure, "too_many_tags", "3 tags; the plan allows 2")?;
    ensure!(job.images.is_empty(), "{job:?}");
    Ok(())
}

async fn context(world: Arc<World>) -> Result<()> {
    let large = "x".repeat(2 << 20);
    let files = [("Dockerfile", "FROM scratch\nCOPY . /\n"), ("large", large.as_str())];
    let (_, job) = built(&world, "context", &files, json!({})).await?;
    says(&job.failure.context("too large")?, "context_too_large", "1.0 MiB")?;
    let names: Vec<String> = (0..30).map(|number| format!("f{number}")).collect();
    let mut files = vec![("Dockerfile", "FROM scratch\nCOPY . /\n")];
    files.extend(names.iter().map(|name| (name.as_str(), "x")));
    let (_, job) = built(&world, "entries", &files, json!({})).await?;
    says(&job.failure.context("too many")?, "context_too_large", "20")
}

#[tokio::test]
async fn each_limit_of_a_plan_is_in_force() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("plans.toml");
    std::fs::write(&file, PLAN)?;
    let variables = vec![
        ("SLIPWAY_PLANS_FILE".to_owned(), file.display().to_string()),
        ("SLIPWAY_SLOTS".to_owned(), "8".to_owned()),
    ];
    let Some(world) = World::start_with(Database::Sqlite, variables).await? else { return Ok(()) };
    let tiny = json!({ "plan": "tiny" });
    let tenant: Value = world.api().expect(Method::PATCH, "/api/v1/tenants/default", Some(&tiny)).await?;
    ensure!(tenant["running_limit"] == 6 && tenant["limits"]["pids"] == 40, "{tenant}");
    let mut cases = Together::new(world);
    cases.story("memory", memory);
    cases.story("processes", processes);
    cases.story("cores", cores);
    cases.story("silence", silence);
    cases.story("log", log);
    cases.story("image", image);
    cases.story("tags", tags);
    cases.story("context", context);
    cases.end().await
}
