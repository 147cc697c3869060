//! A commit built by a job that pushes nothing, against `docker build` by the distribution's client in a folder with
//! the same files, on the same engine: with nothing of it in the cache, and again with everything. Ours is the user's
//! whole wait, from asking for the build to its end in the API: queue, claim, fetch, context, build, report.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Build, Project};
use crate::bench::overhead::docker;
use crate::bench::{Row, cpu_secs, ended_children_cpu_secs, stats};
use crate::env::base_image::BASE_IMAGE;
use crate::env::repo::Repo;
use crate::world::World;

const ROUNDS: usize = 10;
const BUILD: Duration = Duration::from_secs(60);
const FILES: usize = 200;
/// What the Dockerfile copies and runs, without FROM.
const STEPS: usize = 5;

/// Seconds of the first build of some files, and of the second one, and the CPU of both.
struct Took {
    empty: f64,
    full: f64,
    cpu: f64,
}

struct Bench<'a> {
    world: &'a World,
    repo: Repo,
    project: Project,
    folder: tempfile::TempDir,
}

/// Measures all three.
pub async fn run(world: &World) -> Result<Vec<Row>> {
    let repo = world.git.repo("bench/docker-build")?;
    let body = json!({
        "name": repo.full_path(),
        "forge": { "kind": "github" },
        "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
    });
    let project = world.api().create_project(&body).await?;
    let bench = Bench { world, repo, project, folder: tempfile::tempdir()? };
    plant(bench.repo.work())?;
    plant(bench.folder.path())?;

    // The first of both pays for what only the first one needs.
    bench.ours(0).await?;
    bench.theirs(0)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        if round % 2 == 0 {
            ours.push(bench.ours(round).await?);
            theirs.push(bench.theirs(round)?);
        } else {
            theirs.push(bench.theirs(round)?);
            ours.push(bench.ours(round).await?);
        }
    }
    // The kernel counts in hundredths of a second, so that only the mean says something.
    let cpu = |took: &[Took]| took.iter().map(|took| took.cpu).sum::<f64>() / (2 * took.len()) as f64 * 1e3;
    let cpu = format!("{:.0} ms (docker {:.0} ms)", cpu(&ours), cpu(&theirs));
    Ok(vec![
        over("a build, nothing cached", (&ours, &theirs), |took| took.empty, cpu.clone()),
        over("a build, everything cached", (&ours, &theirs), |took| took.full, cpu),
        again(&ours, &theirs),
    ])
}

fn over(figure: &'static str, (ours, theirs): (&[Took], &[Took]), secs: fn(&Took) -> f64, cpu: String) -> Row {
    let (ours, theirs): (Vec<f64>, Vec<f64>) = (ours.iter().map(secs).collect(), theirs.iter().map(secs).collect());
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    let over: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours - 1.03 * theirs).collect();
    Row {
        figure,
        baseline: format!("{:.0} ms (docker build)", stats::median(&theirs) * 1e3),
        ours: format!("{:.0} ms", stats::median(&ours) * 1e3),
        ratio: format!("{}; {:.0} ms over 1.03x", stats::shown(&ratios), stats::median(&over) * 1e3),
        cpu,
        target: "at most 1.03x + 250 ms",
        reached: stats::median(&over) <= 0.25,
    }
}

fn again(ours: &[Took], theirs: &[Took]) -> Row {
    let ratios = |took: &[Took]| took.iter().map(|took| took.full / took.empty).collect::<Vec<_>>();
    let ours = ratios(ours);
    Row {
        figure: "second build of an unchanged commit against the first",
        baseline: format!("{} (docker build)", stats::shown(&ratios(theirs))),
        ours: "every step cached".to_owned(),
        ratio: stats::shown(&ours),
        cpu: "-".to_owned(),
        target: "under 0.3x",
        reached: stats::median(&ours) < 0.3,
    }
}

/// What the steps copy.
fn plant(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("src"))?;
    for number in 0..FILES {
        fs::write(folder.join(format!("src/file-{number}")), format!("line of {number}\n").repeat(number * 2))?;
    }
    Ok(())
}

/// Steps whose results nobody else can have: the first one's text is in all keys after it.
fn dockerfile(side: &str, round: usize, world: &World) -> String {
    format!(
        "FROM {BASE_IMAGE}\nRUN echo {side} {round} {}\nCOPY . /work\n\
         RUN sleep 1; find /work -type f | xargs sha256sum > /one\nRUN sleep 1; sort /one > /two\n\
         RUN sleep 1; wc -l /two\n",
        world.name
    )
}

impl Bench<'_> {
    async fn ours(&self, round: usize) -> Result<Took> {
        let text = dockerfile("ours", round, self.world);
        self.repo.commit(&format!("Round {round}"), &[("Dockerfile", &text)])?;
        let commit = self.repo.resolve("HEAD")?;
        let cpu = self.our_cpu()?;
        let (empty, first) = self.build(&commit).await?;
        let (full, second) = self.build(&commit).await?;
        for (build, cached) in [(first, 0), (second, STEPS)] {
            let found = cached_steps(&build);
            ensure!(found == Some(cached), "{found:?} steps were cached instead of {cached}: {build:?}");
        }
        Ok(Took { empty, full, cpu: self.our_cpu()? - cpu })
    }

    async fn build(&self, commit: &str) -> Result<(f64, Build)> {
        let api = self.world.api();
        let began = Instant::now();
        let path = format!("/api/v1/projects/{}/builds", self.project.id);
        let made: Value = api.expect(Method::POST, &path, Some(&json!({ "commit": commit }))).await?;
        let build = api.finished_build(made["id"].as_str().context("a build has an id")?, BUILD).await?;
        let took = began.elapsed().as_secs_f64();
        ensure!(build.state == "succeeded", "{build:?}");
        Ok((took, build))
    }

    fn theirs(&self, round: usize) -> Result<Took> {
        fs::write(self.folder.path().join("Dockerfile"), dockerfile("theirs", round, self.world))?;
        let build = || -> Result<f64> {
            let began = Instant::now();
            docker(&self.world.engine, &["build", "-q", "-t", "bench/docker-build", "."], self.folder.path())?;
            Ok(began.elapsed().as_secs_f64())
        };
        let cpu = ended_children_cpu_secs(std::process::id())?;
        let (empty, full) = (build()?, build()?);
        Ok(Took { empty, full, cpu: ended_children_cpu_secs(std::process::id())? - cpu })
    }

    /// Of the control plane with its builder, and of the programs that it ran.
    fn our_cpu(&self) -> Result<f64> {
        let pid = self.world.slipway.id();
        Ok(cpu_secs(pid)? + ended_children_cpu_secs(pid)?)
    }
}

/// How many of the Dockerfile's steps were found in the cache; `None` if steps are missing.
fn cached_steps(build: &Build) -> Option<usize> {
    let steps = &build.jobs.first()?.steps;
    let made: Vec<_> = steps
        .iter()
        .filter(|step| step.name.starts_with('[') && (step.name.contains("] RUN ") || step.name.contains("] COPY ")))
        .collect();
    (made.len() == STEPS).then(|| made.iter().filter(|step| step.cached).count())
}
