//! Our own image: its last stage, on a base and with a binary that are made here because nothing can be pulled.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_runtime::ids::random_bytes;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::env::slipway::binary;
use slipway_tests::wait::eventually;

use super::{deploy, program, text, told};

/// The distribution's client, which needs no plugin for BuildKit.
const CLIENT: &str = "/usr/bin/docker";
/// How long a container may take to be healthy.
const HEALTHY: Duration = Duration::from_secs(60);

/// Docker's client at an engine of this test's own.
struct Docker {
    engine: Engine,
}

impl Docker {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(CLIENT);
        command.env("DOCKER_BUILDKIT", "1").args(["--host", &self.engine.host()]).args(arguments);
        Ok(told(&mut command)?.trim().to_owned())
    }

    fn inspect(&self, what: &str) -> Result<Value> {
        let all: Value = serde_json::from_str(&self.run(&["inspect", what])?)?;
        Ok(all[0].clone())
    }
}

/// The binary, stripped, and the libraries that it is linked to, at their paths.
fn gather(folder: &Path) -> Result<()> {
    let target = folder.join("out/slipway");
    fs::create_dir_all(folder.join("out"))?;
    told(Command::new("strip").arg("-o").arg(&target).arg(binary()?))?;
    for word in told(Command::new("ldd").arg(&target))?.split_whitespace().filter(|word| word.starts_with('/')) {
        let at = folder.join("lib").join(word.trim_start_matches('/'));
        fs::create_dir_all(at.parent().context("a library lies in a folder")?)?;
        fs::copy(word, at)?;
    }
    fs::write(folder.join("binary"), "FROM scratch\nCOPY out /out\n")?;
    fs::write(folder.join("system"), format!("FROM {BASE_IMAGE}\nCOPY lib /\n"))?;
    Ok(())
}

#[tokio::test]
async fn the_image_runs_as_nobody_and_tells_its_health() -> Result<()> {
    if program("docker", "docker.io")?.is_none() || program("strip", "binutils")?.is_none() {
        return Ok(());
    }
    let Some(engine) = Engine::odd(Oddity::None).await? else { return Ok(()) };
    let docker = Docker { engine };
    let folder = tempfile::tempdir()?;
    gather(folder.path())?;
    let context = folder.path().to_str().context("a path in UTF-8")?;
    for part in ["binary", "system"] {
        let (file, tag) = (format!("{context}/{part}"), format!("slipway-test/{part}:1"));
        docker.run(&["build", "-q", "-t", &tag, "-f", &file, context])?;
    }
    let (file, context) = (deploy("Dockerfile"), deploy("."));
    let (file, context) = (file.to_str().context("UTF-8")?, context.to_str().context("UTF-8")?);
    let parts = ["--build-arg", "BINARY=slipway-test/binary:1", "--build-arg", "SYSTEM=slipway-test/system:1"];
    docker.run(&[&["build", "-q", "-t", "slipway:test", "-f", file], parts.as_slice(), &[context]].concat())?;

    let image = docker.inspect("slipway:test")?;
    assert_eq!((&image["Config"]["User"], &image["Config"]["Cmd"][0]), (&"10001:10001".into(), &"serve".into()));
    let version = docker.run(&["run", "--rm", "slipway:test", "--version"])?;
    ensure!(version.starts_with("slipway "), "{version}");
    let name = format!("slipway-{}", hex::encode(random_bytes::<4>()));
    let hardened = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let run = ["run", "-d", "--name", &name, "--health-interval", "1s", "-e", "SLIPWAY_SLOTS=0"];
    docker.run(&[run.as_slice(), &hardened, &["slipway:test"]].concat())?;
    let healthy = async || Ok((docker.inspect(&name)?["State"]["Health"]["Status"] == "healthy").then_some(()));
    let waited = eventually("the container to be healthy", HEALTHY, healthy).await;
    waited.with_context(|| docker.run(&["logs", &name]).unwrap_or_default())?;
    let owner =
        docker.run(&["exec", &name, "stat", "-c", "%u %a", "/var/lib/slipway", "/var/lib/slipway/secret.key"])?;
    assert_eq!(owner, "10001 700\n10001 600");
    docker.run(&["stop", "--time", "30", &name])?;
    assert_eq!(docker.inspect(&name)?["State"]["ExitCode"], 0, "{}", docker.run(&["logs", &name])?);
    Ok(())
}

/// What the stages that nothing here can build say.
#[test]
fn the_build_copies_what_cargo_reads_and_installs_what_a_builder_needs() -> Result<()> {
    let dockerfile = text("Dockerfile")?;
    for needed in ["cargo build --release --locked -p slipway", "ca-certificates curl git openssh-client"] {
        ensure!(dockerfile.contains(needed), "the Dockerfile says nothing of {needed}");
    }
    let ignored = text("Dockerfile.dockerignore")?;
    let copied: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let manifest: toml::Table = fs::read_to_string(deploy("../Cargo.toml"))?.parse()?;
    let members = manifest["workspace"]["members"].as_array().context("members")?;
    for member in members.iter().filter_map(toml::Value::as_str) {
        let room = member.split('/').next().unwrap_or_default();
        ensure!(
            copied.iter().any(|path| *path == room || path.starts_with(&format!("{room}/"))),
            "{member} is left out"
        );
    }
    for path in copied {
        ensure!(deploy("..").join(path).exists(), "there is no {path}");
    }
    Ok(())
}
