//! Against a real engine: set `TEST_DOCKER_HOST` to one of your own (unix:///…). The base image is made
//! of the host's static busybox, so that nothing is pulled.

mod cancels;

use bollard::query_parameters::CreateImageOptions;
use futures_util::TryStreamExt as _;
use slipway_domain::agent::Login;
use slipway_domain::attempt::StepState;
use slipway_domain::ids::JobId;
use slipway_domain::spec::{BuildOptions, NetworkMode};
use slipway_runtime::egress::Egress;
use slipway_runtime::ids::{new_id, random_id};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use std::collections::BTreeMap;

use slipway_domain::ids::BuilderId;

use super::*;
use crate::work::context::{ContextRequest, make_context};

mod caches;
mod evil;

const BASE: &str = "slipway-test-base:1";

struct Site {
    life: Life,
    engine: Engine,
    builder: BuilderId,
    attempt: AttemptRef,
    folder: tempfile::TempDir,
}

/// The engine to test against, or `None` with a loud word: a laptop may have none, CI must.
async fn site() -> Option<Site> {
    let Ok(host) = std::env::var("TEST_DOCKER_HOST") else {
        assert!(std::env::var_os("REQUIRE_BACKENDS").is_none(), "TEST_DOCKER_HOST is not set");
        eprintln!("SKIPPED: TEST_DOCKER_HOST is not set, so nothing was built");
        return None;
    };
    let life = Life::new();
    let engine = Engine::new(life.clone(), Clock::system(), host.parse().expect("an address"));
    import_base(&engine).await;
    let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 1 };
    Some(Site { life, engine, builder: random_id(), attempt, folder: tempfile::tempdir().expect("a folder") })
}

async fn import_base(engine: &Engine) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
    let busybox = busybox.expect("busybox-static is installed");
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(1);
        tar.append_data(&mut header, path, bytes).expect("in memory");
    };
    add("bin/busybox", 0o755, &busybox);
    add("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n");
    for name in ["sh", "echo", "cat", "sleep", "printf", "ls", "test", "true", "false", "kill"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mtime(1);
        tar.append_link(&mut header, format!("bin/{name}"), "busybox").expect("in memory");
    }
    let bytes = tar.into_inner().expect("in memory");
    let lane = engine.lane(Duration::from_secs(60)).expect("a lane");
    let (repo, tag) = BASE.split_once(':').expect("a tag");
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(Bytes::from(bytes));
    lane.docker().create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.expect("imported");
}

/// Where a build is cancelled.
#[derive(Clone, Copy)]
enum Stop<'a> {
    /// When its log has this.
    Says(&'a str),
    /// When the step with this in its name runs.
    Runs(&'a str),
}

impl Stop<'_> {
    fn is_reached(self, steps: &BTreeMap<String, StepReport>, log: &[u8]) -> bool {
        match self {
            Stop::Says(word) => String::from_utf8_lossy(log).contains(word),
            Stop::Runs(part) => steps.values().any(|step| step.state == StepState::Running && step.name.contains(part)),
        }
    }
}

/// What came out of a build.
struct Outcome {
    result: Result<String, Failure>,
    steps: BTreeMap<String, StepReport>,
    log: String,
}

impl Outcome {
    fn step(&self, part: &str) -> &StepReport {
        self.steps.values().find(|step| step.name.contains(part)).unwrap_or_else(|| panic!("{part}: {:?}", self.steps))
    }
}

impl Site {
    fn image(&self) -> String {
        local_image(self.attempt, 0)
    }

    async fn request(&self, dockerfile: &str, options: BuildOptions) -> BuildRequest {
        let source = self.folder.path().join("source");
        let _ = std::fs::create_dir(&source);
        std::fs::write(source.join("Dockerfile"), dockerfile).expect("a file");
        std::fs::write(source.join("hello"), "hello\n").expect("a file");
        let request = ContextRequest {
            checkout: source,
            context: None,
            dockerfile: None,
            tar: self.folder.path().join("context.tar"),
            max_bytes: 1 << 20,
            max_entries: 100,
            mtime: chrono::DateTime::UNIX_EPOCH,
        };
        let context = make_context(&self.life, request).await.expect("a context");
        let labels = [
            (LABEL_BUILDER.to_owned(), self.builder.to_string()),
            (LABEL_JOB.to_owned(), self.attempt.job.to_string()),
            (LABEL_EPOCH.to_owned(), self.attempt.epoch.to_string()),
        ];
        BuildRequest {
            image: self.image(),
            context,
            definition: None,
            options,
            labels: labels.into(),
            logins: Vec::new(),
            egress: Egress::new("127.0.0.0/8".parse().expect("a list")),
            secrets: Vec::new(),
            cache_from: Vec::new(),
            inline_cache: false,
            apart: None,
            marker: None,
            scratch: self.folder.path().to_owned(),
        }
    }

    async fn build(&self, dockerfile: &str, options: BuildOptions) -> Outcome {
        let request = self.request(dockerfile, options).await;
        self.build_until(request, &CancellationToken::new(), None).await
    }

    /// Builds, and cancels where that is wanted.
    async fn build_until(&self, request: BuildRequest, cancel: &CancellationToken, stop: Option<Stop<'_>>) -> Outcome {
        let (sender, mut events) = mpsc::channel(16);
        let listen = async {
            let (mut steps, mut log) = (BTreeMap::new(), Vec::new());
            while let Some(event) = events.recv().await {
                match event {
                    StepEvent::Step(step) => {
                        steps.insert(step.digest.clone(), step);
                    }
                    StepEvent::Moves | StepEvent::Cut { .. } | StepEvent::Warning { .. } => {}
                    StepEvent::Log { bytes, .. } => log.extend_from_slice(&bytes),
                    StepEvent::Notice { text, .. } => log.extend_from_slice(text.as_bytes()),
                }
                if stop.is_some_and(|stop| stop.is_reached(&steps, &log)) {
                    cancel.cancel();
                }
            }
            (steps, String::from_utf8_lossy(&log).into_owned())
        };
        let build = async {
            let result = self.engine.build(request, &sender, cancel).await;
            drop(sender);
            result
        };
        let (result, (steps, log)) = tokio::join!(build, listen);
        Outcome { result, steps, log }
    }

    async fn images(&self) -> usize {
        let lane = self.engine.lane(QUESTION_TIMEOUT).expect("a lane");
        let filters = [("label".to_owned(), vec![format!("{LABEL_BUILDER}={}", self.builder)])].into();
        let options = bollard::query_parameters::ListImagesOptions { filters: Some(filters), ..Default::default() };
        lane.docker().list_images(Some(options)).await.expect("a list").len()
    }
}

/// Steps without a network, so that the engine needs none either.
fn offline() -> BuildOptions {
    BuildOptions { network: Some(NetworkMode::None), ..BuildOptions::default() }
}

fn salted(text: &str) -> String {
    // A name of its own for each run, so that no earlier run has it in the cache.
    text.replace("SALT", &random_id::<JobId>().to_string())
}

#[tokio::test]
async fn a_build_has_steps_logs_and_an_image() {
    let Some(site) = site().await else { return };
    let info = site.engine.probe().await.expect("it answers");
    assert!(info.platform.starts_with("linux-"), "{info:?}");
    let dockerfile = salted(&format!(
        "FROM {BASE} AS one\nARG WORD\nRUN echo $WORD SALT; printf 'a\\377b' >&2\nCOPY hello /\nFROM scratch\nCOPY --from=one /hello /\n"
    ));
    let args = BTreeMap::from([("WORD".to_owned(), "canary-word".to_owned())]);
    let options = BuildOptions { args: Some(args), ..offline() };
    let built = site.build(&dockerfile, options.clone()).await;
    let image = built.result.clone().expect("built");
    assert!(image.starts_with("sha256:"), "{image}");
    assert!(built.log.contains("canary-word"), "{}", built.log);
    let run = built.step("RUN echo");
    assert_eq!((run.state, run.cached, run.exit_code), (StepState::Succeeded, false, Some(0)));
    assert!(run.started_at.is_some() && run.finished_at >= run.started_at);
    assert!(built.step("COPY hello").inputs.contains(&run.number));
    assert_eq!(built.step("COPY --from=one").inputs, [built.step("COPY hello").number]);
    let again = site.build(&dockerfile, options.clone()).await;
    assert_eq!(again.result.as_ref(), Ok(&image));
    assert!(again.step("RUN echo").cached);
    let fresh = BuildOptions { no_cache: Some(true), target: Some("one".to_owned()), ..options };
    let fresh = site.build(&dockerfile, fresh).await;
    assert!(!fresh.step("RUN echo").cached);
    assert!(fresh.steps.values().all(|step| !step.name.contains("--from=one")));

    // Its own leftovers go, those of others and those that are kept stay.
    assert!(site.images().await >= 1);
    assert_eq!(site.engine.remove_leftovers(random_id(), &[]).await, Ok(0));
    assert_eq!(site.engine.remove_leftovers(site.builder, &[site.attempt]).await.map(|n| n > 1), Ok(false));
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
    assert_eq!(site.images().await, 0);
    site.engine.remove_image(&site.image()).await.expect("gone is no error");
}

#[tokio::test]
async fn labels_win_over_those_of_the_base_not_of_the_dockerfile_and_leave_the_cache_alone() {
    const NAME: &str = "org.opencontainers.image.";
    let Some(site) = site().await else { return };
    let text = salted(&format!(
        "FROM {BASE} AS base\nLABEL {NAME}version=base\nFROM base\nLABEL {NAME}title=mine\nRUN echo SALT\n"
    ));
    let label = |name: &str, value: &str| (format!("{NAME}{name}"), value.to_owned());
    for (created, cached) in [("1970", false), ("1971", true)] {
        let mut request = site.request(&text, offline()).await;
        // As if the base were an image and not a stage, its label is replaced.
        request.labels.extend([label("created", created), label("version", "ours")]);
        let (events, mut seen) = mpsc::channel(1000);
        let build = async {
            let built = site.engine.build(request, &events, &CancellationToken::new()).await;
            drop(events);
            built
        };
        let listen = async {
            let mut steps = BTreeMap::new();
            while let Some(event) = seen.recv().await {
                if let StepEvent::Step(step) = event {
                    steps.insert(step.name.clone(), step.cached);
                }
            }
            steps
        };
        let (built, steps) = tokio::join!(build, listen);
        built.expect("built");
        let run = steps.iter().find(|(name, _)| name.contains("RUN echo")).expect("its step");
        assert_eq!(*run.1, cached, "{steps:?}");
        let lane = site.engine.lane(QUESTION_TIMEOUT).expect("a lane");
        let found = lane.docker().inspect_image(&site.image()).await.expect("it is there");
        let labels = found.config.and_then(|config| config.labels).expect("labels");
        for (name, value) in [label("created", created), label("version", "ours"), label("title", "mine")] {
            assert_eq!(labels.get(&name), Some(&value), "{name}");
        }
    }
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

#[tokio::test]
async fn an_image_is_told_layer_by_layer_with_what_made_it() {
    let Some(site) = site().await else { return };
    let secret = format!("canary-{}", random_id::<JobId>());
    let dockerfile = format!(
        "FROM {BASE}\nARG WORD=x\nENV A=1\nWORKDIR /work\nRUN true\nCOPY hello /hello\nRUN echo {secret} > /x\nCMD [\"sh\"]\n"
    );
    site.build(&dockerfile, offline()).await.result.expect("built");
    let mask = |text: &str| text.replace(&secret, "***");
    let image = site.engine.layers(&site.image(), mask).await.expect("its layers");
    let told: Vec<(&str, bool)> =
        image.layers.iter().map(|layer| (layer.instruction.as_str(), layer.size_bytes > 0)).collect();
    let [base, rest @ ..] = told.as_slice() else { panic!("no layers") };
    assert!(base.1, "{base:?}");
    assert_eq!(
        rest,
        [("WORKDIR /work", false), ("RUN true", false), ("COPY hello /hello", true), ("RUN echo *** > /x", true)]
    );
    assert!(image.layers.iter().all(|layer| layer.diff_id.starts_with("sha256:")), "{image:?}");
    assert_eq!(
        site.engine.layers("slipway-build/none:1", str::to_owned).await.expect_err("none").class,
        FailureClass::EngineDown
    );
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

#[tokio::test]
async fn failures_have_class_step_exit_code_and_line() {
    use FailureClass::*;
    let Some(site) = site().await else { return };
    for (dockerfile, class, exit_code, line) in [
        ("FROM BASE\nENV A=1\nRUN echo SALT; exit 42\nRUN true\n", RunFailed, Some(42), Some(3)),
        ("FROM BASE AS a\nRUN nope SALT\nFROM scratch\nCOPY --from=a / /\n", RunFailed, Some(127), Some(2)),
        ("FROM BASE\nRUN echo SALT; exit 137\n", Killed, Some(137), Some(2)),
        ("FROM BASE\nRUNN true\n", DockerfileSyntax, None, Some(2)),
        ("FROM BASE\n\nCOPY gone /\n", CopySourceMissing, None, Some(3)),
        ("FROM BASE\nFROM 127.0.0.1:1/nothing:SALT\nRUN true\n", RegistryUnreachable, None, Some(2)),
        ("", DockerfileSyntax, None, None),
    ] {
        let text = salted(&dockerfile.replace("BASE", BASE));
        let failure = site.build(&text, offline()).await.result.expect_err(dockerfile);
        assert_eq!(
            (failure.class, failure.exit_code, failure.dockerfile_line),
            (class, exit_code, line),
            "{failure:?}"
        );
        assert_eq!(exit_code.is_some(), failure.step.as_ref().is_some_and(|step| step.contains("RUN")), "{failure:?}");
        assert!(!failure.message.contains("/var/") && !failure.message.contains("frontend"), "{failure:?}");
    }
    let options = BuildOptions { target: Some("zzz".to_owned()), ..offline() };
    let failure = site.build(&format!("FROM {BASE}\n"), options).await.result.expect_err("no such stage");
    assert_eq!(failure.class, TargetMissing, "{failure:?}");
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

/// A link of the context leads the engine to the context or the image, never to this host's files.
#[tokio::test]
async fn a_link_out_of_the_context_finds_nothing_of_this_host() {
    let Some(site) = site().await else { return };
    let (source, canary) = (site.folder.path().join("source"), random_id::<JobId>().to_string());
    std::fs::create_dir(&source).expect("a folder");
    let outside = site.folder.path().join("outside");
    std::fs::write(&outside, &canary).expect("a file");
    std::os::unix::fs::symlink("../outside", source.join("near")).expect("a link");
    std::os::unix::fs::symlink(&outside, source.join("far")).expect("a link");
    std::os::unix::fs::symlink("/", source.join("root")).expect("a link");
    let whole = format!(
        "FROM {BASE}\nCOPY . /all\nRUN test -L /all/near && test -L /all/far && ls -l /all; cat /all/near /all/far \
         /all/root/etc/passwd; true\n"
    );
    let built = site.build(&whole, offline()).await;
    built.result.as_ref().expect("links are sent as links");
    assert!(built.log.contains("root:x:0:0:root:/:/bin/sh") && !built.log.contains(&canary), "{}", built.log);
    for name in ["near".to_owned(), "far".to_owned(), format!("root{}", outside.display())] {
        let failure = site.build(&format!("FROM {BASE}\nCOPY {name} /leak\n"), offline()).await.result;
        let failure = failure.expect_err(&name);
        assert_eq!(failure.class, FailureClass::CopySourceMissing, "{name}: {failure:?}");
        assert!(!failure.message.contains(&canary));
    }
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

#[tokio::test]
async fn a_push_to_nobody_is_the_registrys_trouble() {
    let Some(site) = site().await else { return };
    let built = site.build(&salted(&format!("FROM {BASE}\nLABEL a=SALT\n")), offline()).await;
    built.result.expect("built");
    let login = Login { user: "robot".to_owned(), password: "canary".to_owned() };
    let (log, _lines) = mpsc::channel(100);
    let image = site.image();
    let tag = format!("b{}.1", "0".repeat(32));
    let request = PushRequest { image: &image, repository: "127.0.0.1:1/a/b", tag: &tag, login: Some(&login) };
    let pushed = site.engine.push_carrier(request, &log, &CancellationToken::new()).await;
    let failure = pushed.expect_err("nobody is there");
    assert_eq!(failure.class, FailureClass::RegistryUnreachable, "{failure:?}");
    assert!(!failure.message.contains("canary"));
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
    assert_eq!(site.images().await, 0);
}

#[tokio::test]
async fn connections_end_with_their_calls() {
    let Some(site) = site().await else { return };
    let open = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    site.build(&salted(&format!("FROM {BASE}\nRUN echo SALT\n")), offline()).await;
    let before = open();
    for _ in 0..5 {
        let built = site.build(&salted(&format!("FROM {BASE}\nRUN echo SALT\n")), offline()).await;
        built.result.expect("built");
    }
    // Other tests of this process come and go; five builds would leave at least ten.
    for _ in 0..400 {
        if open() < before + 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(open() < before + 5, "{before} before, {} after", open());
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = Address::Unix(folder.path().join("docker.sock"));
    let engine = Engine::new(Life::new(), Clock::system(), address);
    assert_eq!(engine.probe().await.expect_err("down").class, FailureClass::EngineDown);
    assert_eq!(engine.remove_image("x").await.expect_err("down").class, FailureClass::EngineDown);
}

/// Debian's registry with the login robot:pw, or `None` with a loud word.
fn registry(folder: &std::path::Path) -> Option<(std::process::Child, u16)> {
    // bcrypt of "pw", the only kind that the registry takes.
    const HTPASSWD: &str = "robot:$2b$04$lFrpDRK6Jqk6TGnJ/k45buZAGyCToR3/D6/puAqBLN5eQlD/gObMa\n";
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let root = folder.display();
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}/registry}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n\
         auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}\nlog: {{level: error}}\n"
    );
    std::fs::write(folder.join("htpasswd"), HTPASSWD).expect("a file");
    std::fs::write(folder.join("registry.yml"), config).expect("a file");
    let mut command = std::process::Command::new("docker-registry");
    command.arg("serve").arg(folder.join("registry.yml"));
    let quiet = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    match quiet.spawn() {
        Ok(child) => Some((child, port)),
        Err(error) => {
            assert!(std::env::var_os("REQUIRE_BACKENDS").is_none(), "docker-registry: {error}");
            eprintln!("SKIPPED: docker-registry cannot be started ({error}), so nothing was pushed");
            None
        }
    }
}

#[tokio::test]
async fn a_built_image_is_pushed_tagged_and_built_upon() {
    let Some(site) = site().await else { return };
    let Some((mut server, port)) = registry(site.folder.path()) else { return };
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let built = site.build(&salted(&format!("FROM {BASE}\nCOPY hello /SALT\n")), offline()).await;
    built.result.expect("built");
    let (image, repository) = (site.image(), format!("127.0.0.1:{port}/team/app"));
    let carrier = format!("b{}.1", "0".repeat(32));
    let login = |password: &str| Login { user: "robot".to_owned(), password: password.to_owned() };
    let (log, mut lines) = mpsc::channel(1000);
    let push = async |login: &Login| {
        let request = PushRequest { image: &image, repository: &repository, tag: &carrier, login: Some(login) };
        site.engine.push_carrier(request, &log, &CancellationToken::new()).await
    };
    let refused = push(&login("wrong-canary")).await.expect_err("a wrong password");
    assert_eq!(refused.class, FailureClass::RegistryAuth, "{refused:?}");
    assert!(!refused.message.contains("canary"));
    push(&login("pw")).await.expect("pushed");
    assert!(lines.recv().await.is_some());

    let egress = Egress::new("127.0.0.1".parse().expect("a list"));
    let registry = slipway_registry::Registry::connect(&egress, &repository, Some(&login("pw"))).await;
    let registry = registry.expect("connected");
    let digest = registry.digest(&carrier).await.expect("an answer").expect("it is there");
    let manifest = registry.manifest(&digest).await.expect("a manifest");
    assert!(registry.size_bytes(&manifest).await.expect("a size") > 1000);
    let mut layers = site.engine.layers(&image, str::to_owned).await.expect("its layers");
    layers.pushed(&digest, registry.layers(&manifest).await.expect("their sizes"));
    assert!(
        layers.layers.len() == 2 && layers.layers.iter().all(|layer| layer.compressed_bytes > Some(0)),
        "{layers:?}"
    );
    registry.put_tag("latest", &manifest, Duration::from_secs(10)).await.expect("put");
    assert_eq!(registry.digest("latest").await, Ok(Some(digest)));

    // The next build takes it as its base, which needs the login.
    let next = salted(&format!("FROM {repository}:latest\nRUN test -e /bin/busybox; echo SALT\n"));
    let mut request = site.request(&next, offline()).await;
    request.image = "slipway-build/next:1".to_owned();
    let (events, mut seen) = mpsc::channel(1000);
    let drain = async { while seen.recv().await.is_some() {} };
    let build = async {
        let refused = site.engine.build(request.clone(), &events, &CancellationToken::new()).await;
        let host = format!("127.0.0.1:{port}");
        request.logins = vec![slipway_domain::agent::RegistryLogin { host, login: login("pw") }];
        let built = site.engine.build(request, &events, &CancellationToken::new()).await;
        drop(events);
        (refused, built)
    };
    let ((refused, built), ()) = tokio::join!(build, drain);
    server.kill().and_then(|()| server.wait()).expect("stopped");
    let refused = refused.expect_err("no login");
    assert_eq!((refused.class, refused.dockerfile_line), (FailureClass::RegistryAuth, Some(1)), "{refused:?}");
    built.expect("the base was pulled with the login and run");
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
    assert_eq!(site.images().await, 0);
}
