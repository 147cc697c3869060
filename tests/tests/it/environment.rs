//! The test environment itself: every service starts, answers and leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_tests::env::base_image::{self, BASE_IMAGE};
use slipway_tests::env::engine::{self, Engine};
use slipway_tests::env::net_host::NetHost;
use slipway_tests::env::postgres::{Postgres, fresh_database};
use slipway_tests::env::registry::{Access, PASSWORD, Registry, RegistryClient, USER};
use slipway_tests::env::services::is_required;
use slipway_tests::wait::eventually_blocking;
use sqlx::{Connection as _, PgConnection};

/// True, said loudly, when the component is missing and this run goes on without it.
fn skip(missing: Option<String>) -> Result<bool> {
    match missing {
        None => Ok(false),
        Some(missing) => {
            ensure!(!is_required(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            Ok(true)
        }
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// What a room left on the host, in words; empty when nothing.
fn leftovers(folder: &Path, bridge: &str, cgroup: &str) -> Vec<String> {
    let mut left = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(mounts.lines().filter(|line| line.contains(&format!("{}/", folder.display()))).map(str::to_owned));
    if folder.exists() {
        left.push(folder.display().to_string());
    }
    if Path::new("/sys/class/net").join(bridge).exists() {
        left.push(bridge.to_owned());
    }
    let groups = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path().join(cgroup));
    left.extend(groups.filter(|group| group.exists()).map(|group| group.display().to_string()));
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(&format!("{}/", folder.display())) {
            left.push(String::from_utf8_lossy(&arguments).replace('\0', " "));
        }
    }
    left
}

/// A `docker build` by the engine's own client, as a child.
fn docker_build(host: &str, context: &Path) -> Command {
    let mut command = Command::new("/usr/bin/docker");
    command.args(["--host", host, "build", "--progress", "plain", "--no-cache"]).arg(context);
    command.env("DOCKER_BUILDKIT", "1").stdin(Stdio::null());
    command
}

fn context(dockerfile: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("Dockerfile"), dockerfile)?;
    Ok(folder)
}

#[tokio::test]
async fn an_engine_builds_and_leaves_nothing() -> Result<()> {
    if skip(Engine::missing())? {
        return Ok(());
    }
    let engine = Engine::start().await?;
    base_image::import(&engine.host(), BASE_IMAGE).await?;
    let (folder, bridge, cgroup) = (engine.room().path().to_owned(), engine.room().bridge(), engine.room().cgroup());
    assert!(!leftovers(&folder, &bridge, &cgroup).is_empty(), "the search for leftovers finds nothing at all");
    // A burst that an engine with its usual limits would clip.
    let context = context(&format!("FROM {BASE_IMAGE}\nRUN seq 1 150000 && echo the-end\n"))?;
    let output = docker_build(&engine.host(), context.path()).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("the-end") && told.contains(" 149999") && !told.contains("output clipped"));
    drop(engine);
    assert_eq!(leftovers(&folder, &bridge, &cgroup), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn two_engines_run_beside_each_other() -> Result<()> {
    if skip(Engine::missing())? {
        return Ok(());
    }
    let (one, two) = (Engine::start().await?, Engine::start().await?);
    base_image::import(&one.host(), BASE_IMAGE).await?;
    assert!(engine::connect(&one.host()).await?.inspect_image(BASE_IMAGE).await.is_ok());
    assert!(engine::connect(&two.host()).await?.inspect_image(BASE_IMAGE).await.is_err());
    Ok(())
}

#[tokio::test]
async fn an_engine_killed_in_a_step_starts_again_on_its_data() -> Result<()> {
    if skip(Engine::missing())? {
        return Ok(());
    }
    let mut engine = Engine::start().await?;
    base_image::import(&engine.host(), BASE_IMAGE).await?;
    let context = context(&format!("FROM {BASE_IMAGE}\nRUN sleep 600\n"))?;
    let mut build = docker_build(&engine.host(), context.path()).stderr(Stdio::null()).spawn()?;
    let group = engine.room().cgroup();
    let has_step = || !step_processes(&group).is_empty();
    assert!(eventually_blocking(Duration::from_secs(20), has_step), "the step never ran");
    let steps = step_processes(&group);
    engine.kill();
    build.wait()?;
    engine.restart().await?;
    assert!(engine::connect(&engine.host()).await?.inspect_image(BASE_IMAGE).await.is_ok());
    let (folder, bridge) = (engine.room().path().to_owned(), engine.room().bridge());
    drop(engine);
    assert!(steps.into_iter().all(|pid| !is_alive(pid)), "a step outlived its engine's room");
    assert_eq!(leftovers(&folder, &bridge, &group), Vec::<String>::new());
    Ok(())
}

fn step_processes(cgroup: &str) -> Vec<u32> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let groups = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|root| root.join(cgroup).join("buildkit"));
    let steps = groups.flat_map(|group| fs::read_dir(group).into_iter().flatten().flatten());
    let procs = steps.filter_map(|step| fs::read_to_string(step.path().join("cgroup.procs")).ok());
    procs.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()).collect()
}

#[tokio::test]
async fn a_registry_takes_images_and_knows_its_user() -> Result<()> {
    if skip(Registry::missing())? || skip(Engine::missing())? {
        return Ok(());
    }
    let (open, closed) = (Registry::start(Access::Open).await?, Registry::start(Access::Password).await?);
    let engine = Engine::start().await?;
    let name = format!("{}/env/base:1", open.address());
    base_image::import(&engine.host(), &name).await?;
    let pushed = Command::new("/usr/bin/docker").args(["--host", &engine.host(), "push", "--quiet", &name]).output()?;
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let client = RegistryClient::new(&open.address(), None);
    assert_eq!(client.tags("env/base").await?, ["1"]);
    let digest = client.digest("env/base", "1").await?.context("the tag has a digest")?;
    assert!(digest.starts_with("sha256:"));
    assert_eq!(client.image("env/base", &digest).await?.1["os"], "linux");
    assert_eq!(client.digest("env/base", "2").await?, None);
    assert!(RegistryClient::new(&closed.address(), Some((USER, "wrong"))).digest("x", "1").await.is_err());
    assert_eq!(RegistryClient::new(&closed.address(), Some((USER, PASSWORD))).digest("x", "1").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_postgres_gives_fresh_databases_and_goes() -> Result<()> {
    if skip(Postgres::missing())? {
        return Ok(());
    }
    let postgres = Postgres::start().await?;
    let (one, two) = (fresh_database(postgres.url()).await?, fresh_database(postgres.url()).await?);
    let mut connection = PgConnection::connect(&one).await?;
    sqlx::query("create table t (x int)").execute(&mut connection).await?;
    let mut other = PgConnection::connect(&two).await?;
    assert!(sqlx::query("select x from t").fetch_all(&mut other).await.is_err());
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await?;
    assert_eq!(fsync, "on");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await?;
    drop(postgres);
    assert!(!is_alive(pid.unsigned_abs()), "a backend outlived its server");
    Ok(())
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_services_along() -> Result<()> {
    if skip(Engine::missing())? || skip(Postgres::missing())? || skip(Registry::missing())? {
        return Ok(());
    }
    let mut supervisor = Command::new(env!("CARGO_BIN_EXE_slipway-testenv"))
        .args(["--", "/bin/sh", "-c", "echo $$ $TEST_DOCKER_HOST; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = supervisor.stdout.take().context("the supervisor's output is a pipe")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
    let (command, host) = line.trim().split_once(' ').context("the command's id and the engine's address")?;
    let command: u32 = command.parse()?;
    assert!(engine::answers(host).await, "no engine at {host}");
    supervisor.kill()?;
    supervisor.wait()?;
    assert!(eventually_blocking(Duration::from_secs(10), || !is_alive(command)), "the command outlived its supervisor");
    let socket = host.strip_prefix("unix://").context("a socket")?;
    let folder = Path::new(socket).parent().context("a folder")?.to_owned();
    let id = folder.extension().and_then(|id| id.to_str()).context("a room's id")?.to_owned();
    // The next run clears what is left; here the next run is any new room.
    let clean = || {
        drop(slipway_tests::env::room::Room::new());
        leftovers(&folder, &format!("slw{id}"), &format!("slipway-test.{id}")).is_empty()
    };
    assert!(eventually_blocking(Duration::from_secs(30), clean), "the dead supervisor's engine left things behind");
    Ok(())
}

/// Says a line to a service of ours from within the host; what came back.
async fn ask_from(host: &NetHost, port: u16) -> Result<String> {
    let mut command = host.command(Path::new("/usr/bin/timeout"));
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; head -n1 <&3");
    command.args(["1", "/bin/bash", "-c", &script]);
    let output = tokio::process::Command::from(command).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test]
async fn a_test_host_reaches_what_it_shall_and_can_be_cut_off() -> Result<()> {
    if skip(NetHost::missing())? {
        return Ok(());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let echo = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let host = NetHost::start(250, &[port]).await?;
    let answers = async || Ok((ask_from(&host, port).await? == "hello").then_some(()));
    slipway_tests::wait::eventually("the forwarder", Duration::from_secs(10), answers).await?;
    host.cut()?;
    assert_eq!(ask_from(&host, port).await?, "", "nothing passes a cut cable");
    host.heal()?;
    slipway_tests::wait::eventually("the cable to be mended", Duration::from_secs(10), answers).await?;
    drop(host);
    echo.abort();
    Ok(())
}
