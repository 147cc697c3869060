//! Through the client libraries that builders use.

use std::collections::HashMap;
use std::path::Path;

use bollard::auth::DockerCredentials;
use bollard::errors::Error as EngineError;
use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptions, PushImageOptions, RemoveImageOptions, TagImageOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use futures_util::TryStreamExt as _;
use slipway_buildkit::client::BuildKit;
use slipway_buildkit::endpoint::Endpoint;
use slipway_buildkit::error::SolveError;
use slipway_buildkit::solve::{Export, Solve};
use slipway_runtime::lifecycle::Life;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::env::registry::{Access, PASSWORD, Registry, RegistryClient, USER};
use crate::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(30);
/// Builds before memory is looked at, and between the two looks.
const WARM: usize = 300;
/// How much more may be held after as many builds again.
const GROWTH_KB: u64 = 1500;

fn docker(host: &str) -> Docker {
    Docker::connect_with_unix(host.strip_prefix("unix://").unwrap(), 120, API_DEFAULT_VERSION).unwrap()
}

/// What a build says.
#[derive(Default)]
struct Seen {
    image: Option<String>,
    log: Vec<u8>,
    /// Names of steps with how they ended, when they did.
    steps: HashMap<String, Option<String>>,
}

async fn build(host: &str, name: &str, epoch: i64, dockerfile: &str) -> (Seen, Result<(), SolveError>) {
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("context.tar");
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(std::fs::File::create(&context).unwrap());
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).unwrap();
    tar.finish().unwrap();
    let labels = [("slipway.builder", "me".to_owned()), ("slipway.epoch", epoch.to_string())];
    let request = Solve {
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Solve::new(context, folder.path().to_owned(), Export::Image(name.to_owned()))
    };
    let buildkit = BuildKit::new(Life::new(), Endpoint::Docker(host.parse().unwrap()));
    let (reader, mut progress) = mpsc::channel::<StatusResponse>(4);
    let cancel = CancellationToken::new();
    let mut seen = Seen::default();
    let listening = async {
        while let Some(status) = progress.recv().await {
            for vertex in status.vertexes {
                seen.steps.insert(vertex.name, vertex.completed.map(|_| vertex.error));
            }
            seen.log.extend(status.logs.into_iter().flat_map(|log| log.msg));
        }
    };
    let (result, ()) = tokio::join!(buildkit.solve(request, reader, &cancel), listening);
    let result = result.map(|solved| seen.image = solved.image);
    (seen, result)
}

async fn images(docker: &Docker, label: &str) -> Vec<ImageSummary> {
    let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
    docker.list_images(Some(ListImagesOptions { filters: Some(filters), ..Default::default() })).await.unwrap()
}

async fn remove(docker: &Docker, name: &str) -> Result<(), EngineError> {
    docker.remove_image(name, None::<RemoveImageOptions>, None).await.map(drop)
}

#[tokio::test]
async fn a_script_is_followed_and_told() {
    let engine = InsideEngine::start().unwrap();
    let docker = docker(&engine.host());
    docker.ping().await.unwrap();
    assert_eq!(docker.info().await.unwrap().os_type.as_deref(), Some("linux"));
    assert_eq!(docker.version().await.unwrap().arch.as_deref(), Some("amd64"));

    let (seen, result) = build(&engine.host(), "x/y:1", 1, "FROM a\n# script: log 3000\nRUN b\n").await;
    result.unwrap();
    let log = String::from_utf8(seen.log).unwrap();
    assert!(log.contains(&log_lines(3000)) && !log.contains(&log_lines(3001)));
    assert_eq!(seen.steps["[2/2] RUN b"].as_deref(), Some(""));
    let held = images(&docker, "slipway.builder=me").await;
    assert_eq!(
        (held[0].repo_tags.as_slice(), Some(&held[0].id)),
        (["x/y:1".to_owned()].as_slice(), seen.image.as_ref())
    );
    assert_eq!(images(&docker, "slipway.builder=you").await, []);

    let (seen, result) = build(&engine.host(), "x/y:2", 1, "FROM a\n# script: fail exit 7\nRUN b\n").await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("executor failed running [/bin/sh -c b]: exit code: 7"), "{error}");
    assert!(seen.steps["[2/2] RUN b"].as_deref().is_some_and(|error| error.ends_with("exit code: 7")));

    let flaky = "FROM a\n# script: infra 1\nRUN b\n";
    assert!(build(&engine.host(), "x/y:3", 1, flaky).await.1.unwrap_err().to_string().contains("no active session"));
    build(&engine.host(), "x/y:4", 2, flaky).await.1.unwrap();
    assert!(
        build(&engine.host(), "x/y:5", 1, "RUNN\n").await.1.unwrap_err().to_string().contains("parse error line 1")
    );

    let told = engine.state().await.unwrap();
    assert_eq!((told.succeeded, told.failed, told.infra, told.images), (2, 2, 1, 2));
    assert_eq!((told.begun.len(), told.begun.values().max()), (5, Some(&1)));
    remove(&docker, "x/y:1").await.unwrap();
    let again = remove(&docker, "x/y:1").await.unwrap_err();
    assert!(matches!(again, EngineError::DockerResponseServerError { status_code: 404, .. }), "{again}");
}

#[tokio::test]
async fn a_killed_engine_knows_nothing_when_it_comes_back() {
    let mut engine = ScriptedEngine::start().await.unwrap();
    let docker = docker(&engine.host());
    build(&engine.host(), "x:1", 1, "FROM a\nRUN b\n").await.1.unwrap();
    assert_eq!(engine.state().await.unwrap().images, 1);
    engine.kill();
    assert!(docker.ping().await.is_err());
    engine.restart().await.unwrap();
    assert_eq!(engine.state().await.unwrap(), Told::default());
}

#[tokio::test]
async fn a_build_that_nobody_awaits_stops_at_once() {
    let engine = InsideEngine::start().unwrap();
    let dockerfile = "FROM a\n# script: sleep 3600s\nRUN b\n";
    let host = engine.host();
    let building = tokio::spawn(async move { build(&host, "x:1", 1, dockerfile).await.1 });
    let running = eventually("the build to run", PATIENCE, || async { Ok(engine.state().await?.running.pop()) });
    let running = running.await.unwrap();
    assert_eq!((running.image.as_str(), running.labels["slipway.builder"].as_str()), ("x:1", "me"));
    building.abort();
    let stopped = eventually("the build to stop", PATIENCE, || async {
        let told = engine.state().await?;
        Ok((told.running.is_empty() && told.cancelled == 1 && told.images == 0).then_some(()))
    });
    stopped.await.unwrap();
}

#[tokio::test]
async fn an_image_is_really_pushed() {
    if let Some(missing) = Registry::missing() {
        assert!(!crate::env::services::is_required(), "{missing}");
        return eprintln!("SKIPPED: {missing}");
    }
    let mut registry = Registry::start(Access::Password).await.unwrap();
    let engine = InsideEngine::start().unwrap();
    let docker = docker(&engine.host());
    build(&engine.host(), "x:1", 1, "FROM a\nRUN b\n").await.1.unwrap();
    let repository = format!("{}/team/app", registry.address());
    let tag = TagImageOptions { repo: Some(repository.clone()), tag: Some("b0.1".to_owned()) };
    docker.tag_image("x:1", Some(tag)).await.unwrap();
    let push = async |password: &str| {
        let login = DockerCredentials {
            username: Some(USER.to_owned()),
            password: Some(password.to_owned()),
            ..DockerCredentials::default()
        };
        let options = PushImageOptions { tag: Some("b0.1".to_owned()), ..PushImageOptions::default() };
        docker.push_image(&repository, Some(options), Some(login)).try_collect::<Vec<_>>().await
    };
    assert!(push("wrong").await.unwrap_err().to_string().contains("unauthorized"));
    let said = push(PASSWORD).await.unwrap();
    let client = RegistryClient::new(&registry.address(), Some((USER, PASSWORD)));
    let digest = client.digest("team/app", "b0.1").await.unwrap().unwrap();
    let last = said.last().and_then(|info| info.status.clone()).unwrap();
    assert!(last.starts_with(&format!("b0.1: digest: {digest} size: ")), "{last}");
    let (manifest, config) = client.image("team/app", "b0.1").await.unwrap();
    assert_eq!(config["config"]["Labels"]["slipway.builder"], "me");
    assert_eq!(manifest["layers"][0]["digest"], config["rootfs"]["diff_ids"][0]);
    registry.stop();
    assert!(push(PASSWORD).await.unwrap_err().to_string().contains("connection refused"));
    let told = engine.state().await.unwrap();
    assert_eq!((told.pushes[&format!("{repository}:b0.1")], told.pushed), (3, 1));
}

#[tokio::test]
async fn a_session_is_held_until_its_client_lets_go() {
    let engine = ScriptedEngine::start().await.unwrap();
    let open = || std::fs::read_dir(Path::new("/proc").join(engine.id().to_string()).join("fd")).unwrap().count();
    let before = open();
    let mut sessions = Vec::new();
    for id in 0..20 {
        let host = engine.host();
        let mut session = UnixStream::connect(host.strip_prefix("unix://").unwrap()).await.unwrap();
        let question = format!(
            "POST /v1.41/session HTTP/1.1\r\nHost: x\r\nX-Docker-Expose-Session-Uuid: {id}\r\n\
             Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        );
        session.write_all(question.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        session.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
        sessions.push(session);
    }
    assert!(open() >= before + 20, "{before} and then {}", open());
    sessions.clear();
    let closed = eventually("the sessions to close", PATIENCE, || async { Ok((open() <= before).then_some(())) });
    closed.await.unwrap();
}

#[tokio::test]
async fn memory_stays_flat() {
    let engine = ScriptedEngine::start().await.unwrap();
    let docker = docker(&engine.host());
    let rounds = async |from: usize| {
        for at in from..from + WARM {
            let name = format!("slipway-build/{at:036}:1");
            build(&engine.host(), &name, 1, "FROM a\n# script: log 400\nRUN b\n").await.1.unwrap();
            remove(&docker, &name).await.unwrap();
        }
        resident_kb(engine.id())
    };
    let before = rounds(0).await;
    let after = rounds(WARM).await;
    assert!(after < before + GROWTH_KB, "{before} kB, then {after} kB");
    assert_eq!(engine.state().await.unwrap().images, 0);
}

fn resident_kb(process: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
