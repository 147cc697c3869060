//! Slipway on the backends that operators run: every role in processes of its own, two of each, builders with and
//! without a path to the broker.

mod crashes;
mod drain;
mod misconfigured;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_runtime::ids::random_bytes;
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::cluster::{Backends, Cluster, Role};
use slipway_tests::env::git_server::GitServer;
use slipway_tests::env::nginx::Nginx;
use slipway_tests::env::remote_builder::{Joining, RemoteBuilder};
use slipway_tests::env::repo::Repo;
use slipway_tests::env::services::{ENGINE, REGISTRY, is_required, shared};
use slipway_tests::hooks::github;
use slipway_tests::wait::eventually;

/// How long a small build may take on a machine that does other things too, and through the loss of a role.
const BUILD: Duration = Duration::from_secs(120);
/// Processes of each role.
const EACH: usize = 2;

/// A cluster with a project and what it needs.
struct Site {
    cluster: Cluster,
    backends: Backends,
    git: GitServer,
    registry: String,
    engine: String,
    name: String,
}

impl Site {
    async fn start() -> Result<Option<Self>> {
        if let Some(missing) = Nginx::missing() {
            ensure!(!is_required(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return Ok(None);
        }
        let (Some(engine), Some(registry)) = (shared(ENGINE)?, shared(REGISTRY)?) else { return Ok(None) };
        let Some(backends) = Backends::fresh().await? else { return Ok(None) };
        let cluster = Cluster::start(backends.clone(), EACH).await?;
        let git = GitServer::start().await?;
        Ok(Some(Self { cluster, backends, git, registry, engine, name: hex::encode(random_bytes::<5>()) }))
    }

    async fn project(&self) -> Result<(Repo, Project)> {
        let repo = self.git.repo(&format!("team/{}", self.name))?;
        let body = json!({
            "name": repo.full_path(),
            "forge": { "kind": "github" },
            "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
            "image": { "repository": format!("{}/grown/{}", self.registry, self.name) },
        });
        let project = self.cluster.api().create_project(&body).await?;
        Ok((repo, project))
    }

    async fn builder(&self, name: &str, has_bus: bool) -> Result<RemoteBuilder> {
        self.builder_with(name, has_bus, Vec::new()).await
    }

    async fn builder_with(
        &self,
        name: &str,
        has_bus: bool,
        mut variables: Vec<(String, String)>,
    ) -> Result<RemoteBuilder> {
        let made: Value = self.cluster.api().expect(Method::POST, "/api/v1/builders/tokens", Some(&json!({}))).await?;
        let token = made["token"].as_str().context("a join token")?.to_owned();
        if has_bus {
            let url = self.backends.builder_bus_url()?.context("a broker's user for builders")?;
            variables.push(("SLIPWAY_BUS_URL".to_owned(), url));
        }
        let (server_url, engine) = (self.cluster.agent_url(), self.engine.clone());
        let builder = RemoteBuilder::start(&Joining { server_url, token, engine, name: name.to_owned(), variables })?;
        self.builder_is(name, "online", BUILD).await?;
        Ok(builder)
    }

    /// Waits until the builder of this name is shown in a state; its id.
    async fn builder_is(&self, name: &str, state: &str, within: Duration) -> Result<String> {
        let api = self.cluster.api();
        let what = format!("{name} to be {state}");
        eventually(&what, within, || async {
            let list: Value = api.expect(Method::GET, "/api/v1/builders", None).await?;
            let mut items = list["items"].as_array().into_iter().flatten();
            let found = items.find(|item| item["name"] == name && item["state"] == state);
            Ok(found.and_then(|item| item["id"].as_str()).map(str::to_owned))
        })
        .await
    }

    /// Pushes a commit and delivers it; the build's id.
    async fn push(&self, repo: &Repo, project: &Project, number: usize) -> Result<String> {
        let dockerfile = format!(
            "FROM {BASE_IMAGE}\nRUN echo begun {number} of {name} && sleep 1 && seq 1 2000 && echo made {number}\n",
            name = self.name
        );
        let pushed = repo.commit(&format!("Change {number}"), &[("Dockerfile", &dockerfile)])?;
        let delivery = github::push(repo, &pushed, &project.hook.secret);
        let delivery = self.cluster.api().deliver_and_wait(&project.hook.url, &delivery).await?;
        ensure!(delivery.builds.len() == 1, "{delivery:?}");
        Ok(delivery.builds[0].clone())
    }

    /// A build that ended as it should, with its whole log.
    async fn succeeded(&self, build: &str, number: usize) -> Result<Build> {
        let api = self.cluster.api();
        let build = api.finished_build(build, BUILD).await?;
        ensure!(build.state == "succeeded", "{build:?}");
        let log = api.log(&build.jobs[0].id).await?;
        let numbers: Vec<usize> = log.lines().filter_map(|line| line.trim().parse().ok()).collect();
        ensure!(numbers == (1..=2000).collect::<Vec<_>>(), "the log is not whole: {} numbers", numbers.len());
        ensure!(log.contains(&format!("made {number}")), "the log's end is missing");
        Ok(build)
    }
}

fn built_by(builds: &[Build]) -> Vec<String> {
    builds
        .iter()
        .flat_map(|build| &build.jobs)
        .flat_map(|job| &job.attempts)
        .filter_map(|at| at.builder.clone())
        .collect()
}

#[tokio::test]
async fn two_of_every_role_build_and_survive_each_others_death() -> Result<()> {
    let Some(mut site) = Site::start().await? else { return Ok(()) };
    let (repo, project) = site.project().await?;
    let _with_bus = site.builder("with-bus", true).await?;
    let first = site.push(&repo, &project, 0).await?;
    site.succeeded(&first, 0).await?;
    let _without_bus = site.builder("without-bus", false).await?;

    let mut ids = Vec::new();
    for number in 1..=4 {
        ids.push(site.push(&repo, &project, number).await?);
    }
    let mut builds = Vec::new();
    for (number, id) in (1..).zip(&ids) {
        builds.push(site.succeeded(id, number).await?);
    }
    let by = built_by(&builds);
    let names: std::collections::BTreeSet<_> = by.iter().collect();
    ensure!(names.len() == 2, "both builders serve one pool: {by:?}");

    // While builds run, one of each role dies, and comes back.
    for (number, role) in (5..).zip(Role::ALL) {
        let id = site.push(&repo, &project, number).await?;
        site.cluster.api().build_when(&id, BUILD, |build| build.state == "running").await?;
        let victim = site.cluster.of(role)[0];
        site.cluster.members[victim].kill9();
        let build = site.succeeded(&id, number).await?;
        ensure!(build.jobs[0].attempts.len() == 1, "the death of a {} costs no attempt: {build:?}", role.name());
        site.cluster.start_again(victim)?;
        site.cluster.members[victim].ready().await?;
    }

    // A rolling restart of all of them changes no build's outcome.
    let id = site.push(&repo, &project, 20).await?;
    for at in 0..site.cluster.members.len() {
        site.cluster.members[at].signal(Signal::TERM)?;
        site.cluster.members[at].ended().await?;
        site.cluster.start_again(at)?;
        site.cluster.members[at].ready().await?;
    }
    let build = site.succeeded(&id, 20).await?;
    ensure!(build.jobs[0].attempts.len() == 1, "{build:?}");
    Ok(())
}
