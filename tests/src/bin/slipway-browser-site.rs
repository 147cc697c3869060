//! Runs a command beside a Slipway that has something of everything to look at: builds that succeeded, failed, run and
//! wait, one with a log of a million lines, one whose every text is hostile, deliveries of several kinds. The engine is the scripted one.
//! Everything is stopped when the command ends, fails, or somebody interrupts.
//!
//! `slipway-browser-site -- node --test tests/browser/*.test.mjs` tells where it is in one line of JSON on its output and in
//! `SLIPWAY_SITE`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use slipway_tests::api::{Build, Project};
use slipway_tests::env::git_server::GitServer;
use slipway_tests::env::process;
use slipway_tests::env::registry::{Access, Registry};
use slipway_tests::env::repo::{Move, Repo};
use slipway_tests::env::room::Room;
use slipway_tests::env::services::{REQUIRED, is_required};
use slipway_tests::env::slipway::{Settings, Slipway};
use slipway_tests::hooks::{self, Delivery, github};
use slipway_tests::hostile;
use slipway_tests::scripted_engine::ScriptedEngine;
use slipway_tests::world::Forge;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Where the command finds what is there.
const SITE: &str = "SLIPWAY_SITE";
/// Lines of the log that is long; together 120 MB.
const MANY_LINES: usize = 1_000_000;
/// How long the setting up of one build may take, a long log included.
const BUILD: Duration = Duration::from_secs(300);
/// The exit code of a shell whose command was interrupted.
const INTERRUPTED: u8 = 130;

/// `BASE` stands for the base image ([`Site::upon_base`]).
const SUCCEEDS: &str = "\
FROM BASE AS build
WORKDIR /src
COPY . .
# script: log 120
RUN make hull deck rig
# script: sleep 400ms
# script: log 12
RUN make check

FROM BASE
# script: log 0
COPY --from=build /out/ /srv/
";

const FAILS: &str = "\
FROM BASE
COPY . .
# script: log 40
RUN make hull
# script: log 25
# script: fail exit 7
RUN make rig && make check
";

/// Steps that mark groups of their lines as three makers do, and one that pulls a layer.
const GROUPED: &str = r"# script: move 80100000
FROM BASE
# script: say ::group::Install packages
# script: log 30
# script: say ::endgroup::
# script: say section_start:100:unit[collapsed=true]\r\e[0KUnit tests
# script: log 20
# script: say ::group::Inner
# script: log 5
# script: say ::endgroup::
# script: say section_end:112:unit\r\e[0K
# script: say ::error file=src/deck.c,line=7::The deck leaks
# script: say ::warning file=src/rig.c,line=3::The rig is loose
RUN make groups
# script: say --- Build
# script: log 5
# script: say --- Check
# script: log 10
# script: fail exit 7
RUN make check
";

/// Of more than its plan keeps of a log, with output that the engine cut, and more warnings than a page shows.
const WARNED: &str = "\
FROM BASE
COPY . .
# script: warn 1 Base image is not pinned by a digest
# script: warn 8 Empty continuation line found in: RUN make hull
# script: warn 8 JSON arguments recommended for RUN
# script: warn 8 JSON arguments recommended for RUN
# script: log 5000
RUN make hull
# script: warn 14 Consistent casing of instructions
# script: warn 14 Do not set the same variable twice
# script: warn 14 Relative path without WORKDIR
# script: say [output clipped, log limit 2MiB reached]
# script: fail exit 7
RUN make rig
";

/// A plan that keeps little of a log.
const PLANS: &str = "[brief]\nlike = \"team\"\nlog_bytes = \"64 KiB\"\n";

/// What hostile texts try; the page would be marked.
const HOSTILE_NAME: &str = r#"<img src=x onerror="window.__xss=1">"#;
const HOSTILE_BRANCH: &str = r#""><img/src=x/onerror=window.__xss=1>"#;
const HOSTILE_MESSAGE: &str = "<script>window.__xss=1</script> '\"><svg onload=window.__xss=1>";
const HOSTILE_PERSON: &str = "ada\"><script>window.__xss=1</script>";
const HOSTILE_FILE: &str = r#"docker/<img src=x onerror="window.__xss=1">.Dockerfile"#;
const HOSTILE_STEP: &str = r#"echo '</code></pre><script>window.__xss=1</script>'"#;

/// One thread, the main one: the services live as long as the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("slipway-browser-site: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(separator), Some(program)) = (arguments.next(), arguments.next()) else {
        bail!("usage: slipway-browser-site -- PROGRAM [ARGUMENT]...");
    };
    ensure!(separator == "--", "usage: slipway-browser-site -- PROGRAM [ARGUMENT]...");
    if let Some(missing) = Registry::missing() {
        ensure!(!is_required(), "{REQUIRED}=1 and a component is missing: {missing}");
        eprintln!("SKIPPED: nothing was looked at in a browser: {missing}");
        return Ok(0);
    }
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let mut site = tokio::select! {
        site = Site::start() => site?,
        () = &mut stopped => return Ok(INTERRUPTED),
    };
    let shown = tokio::select! {
        shown = site.furnish() => shown.with_context(|| format!("the service's log:\n{}", site.slipway.log_tail()))?,
        () = &mut stopped => return Ok(INTERRUPTED),
    };
    println!("{shown}");
    // A browser that is killed leaves its folders.
    let room = Room::new()?;
    let mut command = process::guarded_here(&program);
    command.args(arguments).env(SITE, shown.to_string()).env("TMPDIR", room.path()).env("HOME", room.path());
    let mut child = Command::from(command).spawn().context("starting the command")?;
    let code = tokio::select! {
        status = child.wait() => u8::try_from(status?.code().unwrap_or(1)).unwrap_or(1),
        () = &mut stopped => {
            child.id().into_iter().for_each(process::kill_group);
            child.wait().await.context("waiting for the command")?;
            INTERRUPTED
        }
    };
    if code != 0 {
        eprintln!("the service's log ends with:\n{}", site.slipway.log_tail());
    }
    // The build that still runs would be waited for.
    site.slipway.kill9();
    Ok(code)
}

/// What a browser can look at. The fields are stopped in their order.
struct Site {
    slipway: Slipway,
    _plans: Room,
    git: GitServer,
    registry: Registry,
    _engine: ScriptedEngine,
}

impl Site {
    async fn start() -> Result<Self> {
        let registry = Registry::start(Access::Open).await?;
        let git = GitServer::start().await?;
        let engine = ScriptedEngine::start().await?;
        // One slot: while one build runs, the next one waits.
        let plans = Room::new()?;
        let file = plans.path().join("plans.toml");
        std::fs::write(&file, PLANS).context("writing the plans")?;
        let variables = vec![
            ("SLIPWAY_SLOTS".to_owned(), "1".to_owned()),
            ("SLIPWAY_PLANS_FILE".to_owned(), file.display().to_string()),
            // There is a second one, who has nothing.
            ("SLIPWAY_TRUST_TENANTS".to_owned(), "1".to_owned()),
        ];
        let settings = Settings { engine: engine.host(), variables, ..Settings::default() };
        let slipway = Slipway::start(settings).await?.quiet();
        Ok(Self { slipway, _plans: plans, git, registry, _engine: engine })
    }

    /// Makes everything, and tells where it is.
    async fn furnish(&self) -> Result<Value> {
        let harbour = self.project("acme/harbour", json!({})).await?;
        let quay = self.project("acme/quay", json!({ "forge": { "kind": "gitlab" } })).await?;
        let succeeded = self.push_to("main", &harbour, "Build the harbour", SUCCEEDS).await?;
        self.end(&succeeded, "succeeded").await?;
        let failed = self.push_to("feature/a-longer-name-for-the-rig", &harbour, "Rig it", FAILS).await?;
        self.end(&failed, "failed").await?;
        let mut hostile = self.hostile().await?;
        hostile["corpus"] = self.corpus().await?;
        let grouped = self.push_to("groups", &harbour, "Mark groups", GROUPED).await?;
        self.end(&grouped, "failed").await?;
        let warned = self.warned().await?;
        self.deliver_other_news(&harbour).await?;
        let long = format!("FROM BASE\n# script: output {MANY_LINES}\nRUN make everything\n");
        let long = self.push_to("long", &harbour, "Tell everything", &long).await?;
        self.end(&long, "succeeded").await?;
        let running = self.push_to("main", &harbour, "Dredge it, slowly", &slow()).await?;
        let api = self.slipway.api();
        let is_under_way =
            |build: &Build| build.jobs.iter().any(|job| job.steps.iter().any(|it| it.state == "running"));
        api.build_when(&running, BUILD, is_under_way).await?;
        let queued = self.push_to("later", &harbour, "Wait for the tide", SUCCEEDS).await?;
        Ok(json!({
            "url": self.slipway.base_url(),
            "token": self.slipway.token(),
            "projects": { "harbour": harbour.project.id, "hostile": hostile["project"], "quay": quay.project.id },
            "builds": { "succeeded": succeeded, "failed": failed, "running": running, "queued": queued, "long": long, "grouped": grouped, "warned": warned },
            "hostile": hostile,
            "newcomer": self.newcomer().await?,
        }))
    }

    /// The token of somebody who has nothing yet.
    async fn newcomer(&self) -> Result<Value> {
        let api = self.slipway.api();
        let _: Value = api.expect(Method::POST, "/api/v1/tenants", Some(&json!({ "name": "newcomers" }))).await?;
        let wanted = json!({ "name": "newcomer", "tenant": "newcomers", "role": "owner" });
        let made: Value = api.expect(Method::POST, "/api/v1/tokens", Some(&wanted)).await?;
        Ok(made["token"].clone())
    }

    /// A project; `changes` replace fields of the request.
    async fn project(&self, path: &str, changes: Value) -> Result<Place> {
        let repo = self.git.repo(path)?;
        let mut body = json!({
            "name": path,
            "forge": { "kind": Forge::Github.kind() },
            "repo": { "full_path": path, "clone_url": repo.clone_url() },
            "image": { "repository": format!("{}/{path}", self.registry.address()) },
        });
        for (key, value) in changes.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        Ok(Place { project: self.slipway.api().create_project(&body).await?, repo })
    }

    /// Pushes a Dockerfile to a branch; the build that came of it.
    async fn push_to(&self, branch: &str, place: &Place, message: &str, dockerfile: &str) -> Result<String> {
        let pushed = place.commit(branch, message, "Dockerfile", &self.upon_base(dockerfile))?;
        self.build_of(place, &github::push(&place.repo, &pushed, &place.project.hook.secret)).await
    }

    /// The base image is looked for in our own registry, and in no other.
    fn upon_base(&self, dockerfile: &str) -> String {
        dockerfile.replace("FROM BASE", &format!("FROM {}/base:12", self.registry.address()))
    }

    async fn build_of(&self, place: &Place, delivery: &Delivery) -> Result<String> {
        let delivery = self.slipway.api().deliver_and_wait(&place.project.hook.url, delivery).await?;
        match delivery.builds.as_slice() {
            [build] => Ok(build.clone()),
            _ => bail!("the delivery made no build: {} ({:?})", delivery.state, delivery.reason),
        }
    }

    async fn end(&self, build: &str, state: &str) -> Result<()> {
        let build = self.slipway.api().finished_build(build, BUILD).await?;
        ensure!(build.state == state, "the build should have {state}: {build:?}");
        Ok(())
    }

    /// A failed build of another Dockerfile, made while the plan keeps little of a log.
    async fn warned(&self) -> Result<String> {
        let place = self.project("acme/lighthouse", json!({})).await?;
        self.plan("brief").await?;
        let dockerfile = self.upon_base(WARNED);
        let options = ("slipway.yml", "build:\n  dockerfile: docker/Dockerfile\n");
        let pushed = place.repo.commit("Warn of everything", &[options, ("docker/Dockerfile", dockerfile.as_str())])?;
        let build = self.build_of(&place, &github::push(&place.repo, &pushed, &place.project.hook.secret)).await?;
        self.plan("team").await?;
        self.end(&build, "failed").await?;
        Ok(build)
    }

    /// Gives the tenant of all projects another plan, for builds to come.
    async fn plan(&self, name: &str) -> Result<()> {
        let wanted = json!({ "plan": name });
        let tenant: Value = self.slipway.api().expect(Method::PATCH, "/api/v1/tenants/default", Some(&wanted)).await?;
        ensure!(tenant["plan"] == name, "{tenant}");
        Ok(())
    }

    /// A project and a failed build whose every text that strangers choose is hostile.
    async fn hostile(&self) -> Result<Value> {
        let options = json!({ "dockerfile": HOSTILE_FILE, "args": { "GREETING": HOSTILE_NAME } });
        let place = self.project("acme/hostile", json!({ "name": HOSTILE_NAME, "build": options })).await?;
        let dockerfile = format!(
            "FROM BASE\n# script: warn 3 {HOSTILE_STEP}\nRUN {HOSTILE_STEP}\n# script: fail exit 7\nRUN false && {HOSTILE_STEP}\n"
        );
        let pushed = place.commit(HOSTILE_BRANCH, HOSTILE_MESSAGE, HOSTILE_FILE, &self.upon_base(&dockerfile))?;
        let build = self.build_of(&place, &place.push_by(HOSTILE_PERSON, &pushed)).await?;
        self.end(&build, "failed").await?;
        Ok(json!({
            "project": place.project.id,
            "build": build,
            "name": HOSTILE_NAME,
            "branch": HOSTILE_BRANCH,
            "message": HOSTILE_MESSAGE,
            "person": HOSTILE_PERSON,
            "file": HOSTILE_FILE,
            "step": HOSTILE_STEP,
        }))
    }

    /// A project with a failed build for each hostile text: its branch, message, person, file, step and log.
    async fn corpus(&self) -> Result<Value> {
        let place = self.project("acme/corpus", json!({})).await?;
        let mut told = Vec::new();
        for payload in hostile::PAYLOADS {
            let (branch, file) = (hostile::branch(payload), hostile::file(payload));
            let (options, dockerfile) = (hostile::options(&file), self.upon_base(&hostile::dockerfile(payload)));
            place.repo.switch(&branch)?;
            let pushed = place.repo.commit(payload, &[("slipway.yml", &options), (&file, &dockerfile)])?;
            let build = self.build_of(&place, &place.push_by(payload, &pushed)).await?;
            told.push(json!({ "payload": payload, "branch": branch, "file": file, "build": build }));
        }
        for build in told.iter().filter_map(|told| told["build"].as_str()) {
            self.end(build, "failed").await?;
        }
        Ok(json!({ "project": place.project.id, "texts": told }))
    }

    async fn deliver_other_news(&self, place: &Place) -> Result<()> {
        let (repo, secret) = (&place.repo, &place.project.hook.secret);
        for delivery in [github::ping(repo, secret), hooks::unwanted(Forge::Github, repo, secret)] {
            let (status, answer) = self.slipway.api().deliver(&place.project.hook.url, &delivery).await?;
            ensure!(status.is_success(), "a delivery was answered {status}: {answer}");
        }
        Ok(())
    }
}

/// A project and its repository.
struct Place {
    project: Project,
    repo: Repo,
}

impl Place {
    fn commit(&self, branch: &str, message: &str, file: &str, dockerfile: &str) -> Result<Move> {
        self.repo.switch(branch)?;
        self.repo.commit(message, &[(file, dockerfile), ("greeting.txt", "Welcome.\n")])
    }

    /// What the forge tells of a push by this person.
    fn push_by(&self, person: &str, pushed: &Move) -> Delivery {
        let secret = &self.project.hook.secret;
        hooks::altered(Forge::Github, &github::push(&self.repo, pushed, secret), secret, |body| {
            body["sender"]["login"] = json!(person);
            body["pusher"]["name"] = json!(person);
        })
    }
}

/// A Dockerfile whose last step writes ten lines in each second for longer than anybody looks.
fn slow() -> String {
    format!(
        "FROM BASE\nCOPY . .\n# script: log 60\n# script: complain the hull is wet\nRUN make hull\n{}RUN make dredge\n",
        SLOW.repeat(75)
    )
}

const SLOW: &str = "# script: log 200 over 20s\n";
