//! `make demo`: the main job on a small real input, with nothing prepared. Starts what is missing, pushes a
//! commit to a Git server, sends the webhook as GitHub signs it, follows the log until the image is in the
//! registry, and leaves nothing running. `KEEP=1` keeps the service up until Ctrl-C.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use slipway_tests::api::{Build, Project};
use slipway_tests::env::base_image;
use slipway_tests::env::engine::{self, Engine};
use slipway_tests::env::git_server::GitServer;
use slipway_tests::env::registry::{Access, Registry, RegistryClient};
use slipway_tests::env::repo::{Move, Repo};
use slipway_tests::env::slipway::{Settings, Slipway};
use slipway_tests::hooks::github;
use tokio::process::Command;

/// Where an engine listens unless `DOCKER_HOST` says otherwise.
const LOCAL_ENGINE: &str = "unix:///var/run/docker.sock";

/// The base image, imported because nothing is pulled from the internet.
const BASE_IMAGE: &str = "slipway-demo/base:1";

/// The demo's repository and image.
const REPOSITORY: &str = "acme/harbour";

/// How long the build may take.
const BUILD: Duration = Duration::from_secs(300);

/// The exit code of a shell whose command was interrupted.
const INTERRUPTED: u8 = 130;

const DOCKERFILE: &str = "\
FROM slipway-demo/base:1 AS build
WORKDIR /src
COPY . .
RUN for part in hull deck rig; do echo \"building the $part\"; sleep 0.3; done
RUN mkdir /out && sed 's/PORT/Slipway/' greeting.txt > /out/greeting.txt && sha256sum /out/greeting.txt

FROM slipway-demo/base:1
COPY --from=build /out/ /srv/
RUN grep -q Slipway /srv/greeting.txt && echo \"the greeting is right\"
CMD [\"cat\", \"/srv/greeting.txt\"]
";

/// One thread, the main one: the services live as long as the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = demo() => done,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\ninterrupted; stopping what the demo started");
            return ExitCode::from(INTERRUPTED);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let engine = DemoEngine::find_or_start().await?;
    say("registry", "starting one on a free port");
    let registry = Registry::start(Access::Open).await?;
    let git = GitServer::start().await?;
    let slipway = Slipway::start(Settings { engine: engine.host(), ..Settings::default() }).await?.quiet();
    say("slipway", &format!("ready at {}", slipway.base_url()));

    let repo = git.repo(REPOSITORY)?;
    let project = create_project(&slipway, &repo, &registry).await?;
    let pushed = repo.commit("Build the harbour", &files())?;
    say("git", &format!("pushed {} to {}", pushed.after.as_deref().unwrap_or("nothing"), repo.clone_url()));
    let build = send_webhook(&slipway, &project, &repo, &pushed).await?;
    say("build", &format!("{build}; its log follows\n"));
    follow_log(&slipway, &build).await?;

    let build = slipway.api().finished_build(&build, BUILD).await?;
    if build.state != "succeeded" {
        let why = build.jobs.iter().filter_map(|job| job.failure.as_ref()).next();
        bail!("the build is {}: {why:?}\nthe service's log:\n{}", build.state, slipway.log_tail());
    }
    report(&slipway, &registry, &build).await?;
    if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
        println!("\nKEEP=1: everything stays up; sign in with the token {}\nCtrl-C stops it.", slipway.token());
        std::future::pending::<()>().await;
    }
    engine.tidy().await
}

/// The engine that is already here, or one of our own.
enum DemoEngine {
    Theirs { host: String, imported: bool },
    Ours(Engine),
}

impl DemoEngine {
    async fn find_or_start() -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| LOCAL_ENGINE.to_owned());
        if engine::answers(&host).await {
            say("engine", &format!("using the one at {host}"));
            let imported = engine::connect(&host).await?.inspect_image(BASE_IMAGE).await.is_err();
            if imported {
                base_image::import(&host, BASE_IMAGE).await?;
            }
            return Ok(Self::Theirs { host, imported });
        }
        if let Some(missing) = Engine::missing() {
            bail!("no Docker engine answers at {host}, and none can be started here: {missing}");
        }
        say("engine", &format!("none answers at {host}; starting one in a temporary folder"));
        let engine = Engine::start().await?;
        base_image::import(&engine.host(), BASE_IMAGE).await?;
        Ok(Self::Ours(engine))
    }

    fn host(&self) -> String {
        match self {
            Self::Theirs { host, .. } => host.clone(),
            Self::Ours(engine) => engine.host(),
        }
    }

    /// Takes back what was put into somebody else's engine.
    async fn tidy(self) -> Result<()> {
        if let Self::Theirs { host, imported: true } = self {
            let docker = engine::connect(&host).await?;
            let options = None::<bollard::query_parameters::RemoveImageOptions>;
            docker.remove_image(BASE_IMAGE, options, None).await.context("removing the demo's base image")?;
        }
        Ok(())
    }
}

fn files() -> [(&'static str, &'static str); 2] {
    [("Dockerfile", DOCKERFILE), ("greeting.txt", "Welcome to PORT.\n")]
}

async fn create_project(slipway: &Slipway, repo: &Repo, registry: &Registry) -> Result<Project> {
    let image = format!("{}/{REPOSITORY}", registry.address());
    let arguments = ["projects", "create", "--json", "--name", REPOSITORY, "--forge", "github"];
    let place = ["--clone-url", repo.clone_url(), "--repo", repo.full_path(), "--image", &image];
    let command = slipway.client(&[arguments.as_slice(), place.as_slice()].concat())?;
    let output = Command::from(command).output().await.context("running slipway projects create")?;
    if !output.status.success() {
        bail!("slipway projects create: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let project: Project = serde_json::from_slice(&output.stdout).context("reading what projects create printed")?;
    say("project", &format!("{} with the hook {}", project.name, project.hook.url));
    Ok(project)
}

async fn send_webhook(slipway: &Slipway, project: &Project, repo: &Repo, pushed: &Move) -> Result<String> {
    let delivery = github::push(repo, pushed, &project.hook.secret);
    say("webhook", &format!("sending {} bytes, signed with the hook's secret", delivery.body.len()));
    let delivery = slipway.api().deliver_and_wait(&project.hook.url, &delivery).await?;
    match delivery.builds.as_slice() {
        [build] => Ok(build.clone()),
        _ => bail!("the delivery made no build: {} ({:?})", delivery.state, delivery.reason),
    }
}

async fn follow_log(slipway: &Slipway, build: &str) -> Result<()> {
    let mut command = slipway.client(&["logs", "-f", build])?;
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut following = Command::from(command).kill_on_drop(true).spawn().context("running slipway logs -f")?;
    // Its exit code tells how the build ended; the caller reads that from the build itself.
    let followed = tokio::time::timeout(BUILD, following.wait()).await;
    followed.context("the log did not end")?.context("waiting for slipway logs -f").map(drop)
}

async fn report(slipway: &Slipway, registry: &Registry, build: &Build) -> Result<()> {
    println!();
    let client = RegistryClient::new(&registry.address(), None);
    for image in build.jobs.iter().flat_map(|job| &job.images) {
        let tag = image.image_ref.rsplit(':').next().unwrap_or_default();
        let there = client.digest(REPOSITORY, tag).await?;
        if there.as_deref() != Some(image.digest.as_str()) {
            bail!("the registry has {there:?} under {}, not {}", image.image_ref, image.digest);
        }
        say("image", &image.image_ref);
        say("digest", &image.digest);
    }
    say("build page", &format!("{}/builds/{}", slipway.base_url(), build.id));
    say("API docs", &format!("{}/api/docs", slipway.base_url()));
    Ok(())
}

fn say(what: &str, text: &str) {
    println!("{what:>10}  {text}");
}
