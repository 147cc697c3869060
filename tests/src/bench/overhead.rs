//! From the push's delivery to the image in the registry, against the distribution's own client building and
//! pushing the same context on the same engine, both with every step in the cache.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::{Row, cpu_secs, stats};
use crate::env::base_image::BASE_IMAGE;
use crate::hooks::github;
use crate::world::{Forge, World};

const ROUNDS: usize = 12;
const BUILD: Duration = Duration::from_secs(60);
/// The client of Debian's docker.io; another one may stand before it in the path.
const CLIENT: &str = "/usr/bin/docker";
const MIB: usize = 1 << 20;

/// Measures.
pub async fn run(world: &World) -> Result<Row> {
    let api = world.api();
    let repo = world.git.repo("bench/overhead")?;
    let project = world.project(Forge::Github, &repo).await?;
    let dockerfile = format!(
        "FROM {BASE_IMAGE} AS build\nCOPY . /src\nRUN cat /src/data > /out\nFROM {BASE_IMAGE}\nCOPY --from=build /out /out\n\
         RUN echo done\n"
    );
    let data = "0123456789abcdef".repeat(MIB / 16);
    repo.commit("Bench", &[("Dockerfile", &dockerfile), ("data", &data)])?;
    let context = tempfile::tempdir()?;
    std::fs::write(context.path().join("Dockerfile"), &dockerfile)?;
    std::fs::write(context.path().join("data"), &data)?;
    let image = format!("{}/bench/baseline:latest", world.registry);

    let ours = async |round: usize| -> Result<f64> {
        let pushed = repo.commit(&format!("Round {round}"), &[])?;
        let delivery = github::push(&repo, &pushed, &project.hook.secret);
        let began = Instant::now();
        let (status, answer) = api.deliver(&project.hook.url, &delivery).await?;
        ensure!(status == 202, "the delivery was answered {status}: {answer}");
        let id = answer["delivery"].as_str().context("a delivery has an id")?;
        let delivery = api.worked_delivery(id, BUILD).await?;
        let build = api.finished_build(&delivery.builds[0], BUILD).await?;
        let took = began.elapsed();
        ensure!(build.state == "succeeded", "{build:?}");
        Ok(took.as_secs_f64())
    };
    let theirs = || -> Result<f64> {
        let began = Instant::now();
        docker(&world.engine, &["build", "-q", "-t", &image, "."], context.path())?;
        docker(&world.engine, &["push", "-q", &image], context.path())?;
        Ok(began.elapsed().as_secs_f64())
    };

    // Both caches warm before the first round.
    ours(0).await?;
    theirs()?;
    let cpu_before = cpu_secs(world.slipway.id())?;
    let (mut our_times, mut their_times, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (mine, other) = if round % 2 == 0 {
            let mine = ours(round).await?;
            (mine, theirs()?)
        } else {
            let other = theirs()?;
            (ours(round).await?, other)
        };
        over.push(mine - 1.05 * other);
        our_times.push(mine);
        their_times.push(other);
    }
    let cpu = (cpu_secs(world.slipway.id())? - cpu_before) / ROUNDS as f64;
    let ratios: Vec<f64> = our_times.iter().zip(&their_times).map(|(ours, theirs)| ours / theirs).collect();
    Ok(Row {
        figure: "push -> image pushed, warm",
        baseline: format!("{:.0} ms (docker build + push)", stats::median(&their_times) * 1e3),
        ours: format!("{:.0} ms", stats::median(&our_times) * 1e3),
        ratio: format!("{}; {:.0} ms over 1.05x", stats::shown(&ratios), stats::median(&over) * 1e3),
        cpu: format!("{:.0} ms", cpu * 1e3),
        target: "at most 1.05x + 300 ms",
        reached: stats::median(&over) <= 0.3,
    })
}

/// Runs the distribution's client, with the BuildKit that is in it.
pub fn docker(engine: &str, arguments: &[&str], folder: &std::path::Path) -> Result<()> {
    let output = Command::new(CLIENT)
        .args(["-H", engine])
        .args(arguments)
        .current_dir(folder)
        .env("DOCKER_BUILDKIT", "1")
        .stdin(Stdio::null())
        .output()
        .context("running the distribution's docker client")?;
    ensure!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
