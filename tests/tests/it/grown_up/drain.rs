//! Builders that leave a cluster: by an operator's drain, by a signal, by a second one. Each with a path to the broker
//! and without: whoever drains takes nothing new from either, ends what it has, and another goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::remote_builder::RemoteBuilder;
use slipway_tests::env::repo::Repo;
use slipway_tests::hooks::github;
use slipway_tests::wait::eventually;
use sqlx::PgPool;

use super::{BUILD, Site};
use crate::stories::gate::Gate;

/// Lines before the gate; more than one chunk of the log.
const LINES: usize = 20_000;
/// How long a told builder may take to say that it drains.
const TOLD: Duration = Duration::from_secs(20);

/// How a builder is asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// By an operator.
    Drain,
    /// By a signal.
    Signal,
    /// By a signal, and then another.
    Twice,
}

/// A cluster with one project and one builder at a time.
struct Story {
    site: Site,
    repo: Repo,
    project: Project,
    builders: usize,
}

impl Story {
    async fn builder(&mut self, has_bus: bool) -> Result<(String, RemoteBuilder)> {
        self.builders += 1;
        let name = format!("builder-{}-{}", self.builders, if has_bus { "broker" } else { "session" });
        // A second slot, so that a job could be taken.
        let slots = vec![("SLIPWAY_SLOTS".to_owned(), "2".to_owned())];
        let builder = self.site.builder_with(&name, has_bus, slots).await?;
        Ok((name, builder))
    }

    async fn push(&self, dockerfile: &str) -> Result<String> {
        let pushed = self.repo.commit("Change the image", &[("Dockerfile", dockerfile)])?;
        let delivery = github::push(&self.repo, &pushed, &self.project.hook.secret);
        let delivery = self.site.cluster.api().deliver_and_wait(&self.project.hook.url, &delivery).await?;
        delivery.builds.into_iter().next().context("a push makes a build")
    }

    /// Each attempt's outcome and builder.
    async fn attempts(&self, build: &str) -> Result<Vec<(String, String)>> {
        let build: Build = self.site.cluster.api().build(build).await?;
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "open".to_owned());
        let attempts = build.jobs.iter().flat_map(|job| &job.attempts);
        Ok(attempts.map(|at| (word(&at.outcome), word(&at.builder))).collect())
    }

    async fn ask(&self, asked: Asked, (name, builder): (&str, &RemoteBuilder)) -> Result<()> {
        let api = self.site.cluster.api();
        match asked {
            Asked::Drain => {
                let id = self.site.builder_is(name, "online", TOLD).await?;
                let (status, answer) = api.call(Method::POST, &format!("/api/v1/builders/{id}/drain"), None).await?;
                ensure!(status == StatusCode::ACCEPTED, "{answer}");
            }
            Asked::Signal | Asked::Twice => builder.sigterm()?,
        }
        self.site.builder_is(name, "draining", TOLD).await.map(drop)
    }
}

#[tokio::test]
async fn who_drains_takes_nothing_new_and_ends_what_it_has() -> Result<()> {
    let Some(site) = Site::start().await? else { return Ok(()) };
    let (repo, project) = site.project().await?;
    let mut story = Story { site, repo, project, builders: 0 };
    let mut at_work = story.builder(true).await?;
    for asked in [Asked::Drain, Asked::Signal, Asked::Twice] {
        // The one that takes over is asked to leave next.
        for next_has_bus in [false, true] {
            let leaving = at_work.0.clone();
            let left = leaves(&mut story, asked, at_work, next_has_bus).await;
            at_work = left.with_context(|| format!("{leaving} leaves by {asked:?}"))?;
        }
    }
    Ok(())
}

/// A builder leaves while it builds; the one that takes over.
async fn leaves(
    story: &mut Story,
    asked: Asked,
    (name, mut builder): (String, RemoteBuilder),
    next_has_bus: bool,
) -> Result<(String, RemoteBuilder)> {
    let gate = Gate::new();
    let running = story.push(&gate.dockerfile(LINES)).await?;
    gate.reached().await?;
    story.ask(asked, (&name, &builder)).await?;
    let later = story.push(&format!("FROM {BASE_IMAGE}\nLABEL later={}\n", story.builders)).await?;
    let by = |outcome: &str, name: &str| (outcome.to_owned(), name.to_owned());
    let next = if asked == Asked::Twice {
        builder.sigterm()?;
        ended(&mut builder).await?;
        gate.left(Duration::from_secs(5)).await?;
        let next = story.builder(next_has_bus).await?;
        gate.open().await?;
        whole(story, &running, &gate).await?;
        ensure!(story.attempts(&running).await? == [by("handed_back", &name), by("succeeded", &next.0)]);
        next
    } else {
        // Nobody else is there, and it has a free slot. Whoever looks for work does so within this build.
        ensure!(story.attempts(&later).await?.is_empty(), "it took a job while it drained");
        gate.open().await?;
        ended(&mut builder).await?;
        whole(story, &running, &gate).await?;
        ensure!(story.attempts(&running).await? == [by("succeeded", &name)]);
        story.builder(next_has_bus).await?
    };
    let build = story.site.cluster.api().finished_build(&later, BUILD).await?;
    ensure!(build.state == "succeeded", "{build:?}");
    ensure!(story.attempts(&later).await? == [by("succeeded", &next.0)], "{build:?}");
    no_try_was_spent(story).await?;
    Ok(next)
}

async fn ended(builder: &mut RemoteBuilder) -> Result<()> {
    let status = builder.stopped().await?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    Ok(())
}

/// Every line of the build is in its newest log, and sealed there.
async fn whole(story: &Story, build: &str, gate: &Gate) -> Result<()> {
    let api = story.site.cluster.api();
    let build = api.finished_build(build, BUILD).await?;
    ensure!(build.state == "succeeded", "{build:?}");
    let log = api.log(&build.jobs[0].id).await?;
    let numbers = log.lines().filter_map(|line| line.trim().parse::<usize>().ok());
    ensure!(numbers.eq(1..=LINES) && log.contains(&gate.last_line()), "{} lines", log.lines().count());
    let db = PgPool::connect(&story.site.backends.database_url).await?;
    let open = "select count(*) from attempt_logs l join jobs j on j.id = l.job_id and j.epoch = l.epoch \
        where j.build_id = $1::uuid and l.state <> 'sealed'";
    eventually("the log to be sealed", TOLD, || async {
        let open: i64 = sqlx::query_scalar(open).bind(&build.id).fetch_one(&db).await?;
        Ok((open == 0).then_some(()))
    })
    .await
}

/// Being asked to leave is no fault.
async fn no_try_was_spent(story: &Story) -> Result<()> {
    let db = PgPool::connect(&story.site.backends.database_url).await?;
    let spent: i64 =
        sqlx::query_scalar("select coalesce(sum(infra_retries), 0)::bigint from jobs").fetch_one(&db).await?;
    ensure!(spent == 0, "{spent} tries were spent");
    Ok(())
}
