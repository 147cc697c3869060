//! The most that one RUN writes: a line of 1 GiB, and 1 GB in lines, neither of which packs well. What the builder
//! and the log service hold of it at most, and whether all of it can be read afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Project;
use crate::bench::split::Split;
use crate::bench::{Row, cpu_secs, forget_peak, peak_mb};
use crate::env::base_image::BASE_IMAGE;
use crate::env::cluster::Role;
use crate::env::git_server::GitServer;
use crate::env::remote_builder::RemoteBuilder;
use crate::env::repo::Repo;
use crate::env::services::{ENGINE, shared};

const BUILD: Duration = Duration::from_secs(600);
const LINE_BYTES: u64 = 1 << 30;
const LINES_BYTES: u64 = 1_000_000_000;

struct Bench {
    split: Split,
    builder: RemoteBuilder,
    repo: Repo,
    project: Project,
}

/// Measures both. Empty when a backend is missing.
pub async fn run() -> Result<Vec<Row>> {
    let (Some(split), Some(engine)) = (Split::start(1).await?, shared(ENGINE)?) else { return Ok(Vec::new()) };
    let git = GitServer::start().await?;
    let repo = git.repo("bench/logs")?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "github" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
    });
    let project = split.api().create_project(&body).await?;
    let builder = split.builder("logs", engine).await?;
    let bench = Bench { split, builder, repo, project };
    // Four characters for three bytes.
    let line = format!("head -c {} /dev/urandom | base64 -w 0", LINE_BYTES / 4 * 3);
    let lines = format!("head -c {} /dev/urandom | base64 -w 99", LINES_BYTES / 4 * 3);
    Ok(vec![
        bench.build("a line of 1 GiB written in RUN", &line, LINE_BYTES).await?,
        bench.build("1 GB of lines written in RUN", &lines, LINES_BYTES).await?,
    ])
}

impl Bench {
    async fn build(&self, figure: &'static str, command: &str, bytes: u64) -> Result<Row> {
        let logsvc = self.split.cluster.members.iter().find(|member| member.role == Role::Logsvc);
        let logsvc = logsvc.context("a log service")?.id();
        self.repo.commit(figure, &[("Dockerfile", &format!("FROM {BASE_IMAGE}\nRUN {command}\n"))])?;
        forget_peak(self.builder.id())?;
        forget_peak(logsvc)?;
        let (began, cpu) = (Instant::now(), cpu_secs(self.builder.id())?);
        let api = self.split.api();
        let path = format!("/api/v1/projects/{}/builds", self.project.id);
        let body = json!({ "commit": self.repo.resolve("HEAD")? });
        let made: Value = api.expect(Method::POST, &path, Some(&body)).await?;
        let build = api.finished_build(made["id"].as_str().context("a build has an id")?, BUILD).await?;
        ensure!(build.state == "succeeded", "{build:?}\n{}", self.builder.log_tail());
        let took = began.elapsed().as_secs_f64();
        let job = &build.jobs.first().context("a build has a job")?.id;
        let length = api.sealed_log_length(job, BUILD).await?;
        ensure!(length >= bytes, "of {bytes} bytes {length} can be read");
        let (peak, log_peak) = (peak_mb(self.builder.id())?, peak_mb(logsvc)?);
        Ok(Row {
            figure,
            baseline: "none".to_owned(),
            ours: format!("builder {peak:.0} MB at most, log service {log_peak:.0} MB, in {took:.0} s"),
            ratio: "-".to_owned(),
            cpu: format!("{:.0} s of the builder", cpu_secs(self.builder.id())? - cpu),
            target: "builder under 200 MB",
            reached: peak < 200.0,
        })
    }
}
