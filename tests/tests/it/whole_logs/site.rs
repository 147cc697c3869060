//! Two of every role, a builder on an engine that writes what its Dockerfile says, and what must hold of a log in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slipway_runtime::ids::random_bytes;
use slipway_tests::api::{Api, Build};
use slipway_tests::env::cluster::{Backends, Cluster, Role};
use slipway_tests::env::git_server::GitServer;
use slipway_tests::env::nginx::Nginx;
use slipway_tests::env::remote_builder::{Joining, RemoteBuilder};
use slipway_tests::env::services::is_required;
use slipway_tests::scripted_engine::{ScriptedEngine, log_lines};
use slipway_tests::wait::eventually;
use sqlx::{PgPool, Row as _};

use super::viewer::{Log, Seen, Viewer};

/// Processes of each role.
const EACH: usize = 2;
/// How long a builder may take to join.
const JOINS: Duration = Duration::from_secs(60);
/// How long a build may take through all that happens to it.
const BUILD: Duration = Duration::from_secs(120);
/// A log whose end is known is sealed within this time.
const SEALED: Duration = Duration::from_secs(60);
/// Lines of a log: more than a segment.
pub const LINES: usize = 60_000;
/// Bytes of a line.
pub const LINE_BYTES: usize = 26;
/// How long a step takes to write them.
const OVER_SECS: u64 = 5;

/// Everything that a log goes through.
pub struct Site {
    pub builder: Option<RemoteBuilder>,
    joining: Joining,
    pub cluster: Cluster,
    pub backends: Backends,
    git: GitServer,
    _engine: ScriptedEngine,
    name: String,
}

/// A build whose log is watched: through the proxy, by somebody who comes and goes, and at each log service.
pub struct Watched {
    pub build: Build,
    pub job: String,
    pub viewers: Vec<Viewer>,
}

/// How the rows say that a log ended.
#[derive(Debug)]
struct Ended {
    state: String,
    durable: i64,
    end: Option<i64>,
    sha256: Option<String>,
}

impl Site {
    /// Starts all of it on backends of its own. `None`, said loudly, when a component is missing and the run allows it.
    pub async fn start() -> Result<Option<Self>> {
        match Backends::fresh().await? {
            Some(backends) => Self::start_on(backends).await,
            None => Ok(None),
        }
    }

    /// The same on these backends.
    pub async fn start_on(backends: Backends) -> Result<Option<Self>> {
        if let Some(missing) = Nginx::missing() {
            ensure!(!is_required(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return Ok(None);
        }
        let (cluster, engine, git) =
            tokio::try_join!(Cluster::start(backends.clone(), EACH), ScriptedEngine::start(), GitServer::start())?;
        let joining = Joining {
            server_url: cluster.agent_url(),
            token: join_token(&cluster.api()).await?,
            engine: engine.host(),
            name: "writer".to_owned(),
            variables: Vec::new(),
        };
        let name = hex::encode(random_bytes::<5>());
        Ok(Some(Self { builder: None, joining, cluster, backends, git, _engine: engine, name }))
    }

    /// Lets the builder join.
    pub async fn join(&mut self) -> Result<()> {
        self.builder = Some(RemoteBuilder::start(&self.joining)?);
        self.online().await
    }

    /// Kills the builder and starts it again on its data; it works again when this returns.
    pub async fn restart_builder(&mut self) -> Result<()> {
        let builder = self.builder.as_mut().context("a builder joined")?;
        builder.kill9();
        builder.start_again(None, &self.joining)
    }

    async fn online(&self) -> Result<()> {
        let api = self.cluster.api();
        eventually("the builder to be online", JOINS, || async {
            let list: Value = api.expect(Method::GET, "/api/v1/builders", None).await?;
            Ok(list["items"].as_array().into_iter().flatten().any(|it| it["state"] == "online").then_some(()))
        })
        .await
    }

    /// A build that nobody has begun, and its job.
    pub async fn ask(&self) -> Result<Build> {
        let api = self.cluster.api();
        let repo = self.git.repo(&format!("logs/{}", self.name))?;
        let body = json!({
            "name": repo.full_path(),
            "forge": { "kind": "github" },
            "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
        });
        let project = api.create_project(&body).await?;
        let dockerfile = format!("FROM scratch\n# script: log {LINES} over {OVER_SECS}s\nRUN make\n");
        repo.commit("Write much", &[("Dockerfile", &dockerfile)])?;
        let path = format!("/api/v1/projects/{}/builds", project.id);
        api.expect(Method::POST, &path, Some(&json!({ "commit": repo.resolve("HEAD")? }))).await
    }

    /// A build that is watched from its first byte on.
    pub async fn watched(&self) -> Result<Watched> {
        let build = self.ask().await?;
        let job = build.jobs.first().context("a build has a job")?.id.clone();
        let viewers = self.viewers(&job, None)?;
        Ok(Watched { build, job, viewers })
    }

    /// Those who watch a log from an event on.
    pub fn viewers(&self, job: &str, from: Option<&str>) -> Result<Vec<Viewer>> {
        let through = self.cluster.api();
        let mut viewers =
            vec![Viewer::start(through.clone(), job, from, None), Viewer::start(through, job, from, Some(7))];
        for at in self.cluster.of(Role::Logsvc) {
            viewers.push(Viewer::start(self.api_of(at), job, from, None));
        }
        Ok(viewers)
    }

    /// A client of one process.
    pub fn api_of(&self, at: usize) -> Api {
        Api::new(&format!("http://127.0.0.1:{}", self.cluster.members[at].port), Some(self.cluster.token()))
    }

    /// Waits for the end of a build whose step wrote its lines in the last of so many attempts; how often its viewers had to
    /// come again.
    pub async fn check(&self, watched: Watched, attempts: i64) -> Result<usize> {
        let (stored, resumed) = self.ended(watched, attempts).await?;
        for (epoch, log) in &stored.logs {
            ensure!(is_written(log, *epoch == attempts), "attempt {epoch}: {}", shown(&log.text));
        }
        Ok(resumed)
    }

    /// Waits for the end of a build; what is stored of its attempts' logs, which is what its viewers were told, and how often
    /// those had to come again.
    pub async fn ended(&self, watched: Watched, attempts: i64) -> Result<(Seen, usize)> {
        let build = self.cluster.api().finished_build(&watched.build.id, BUILD).await?;
        ensure!(build.state == "succeeded", "{build:?}");
        ensure!(i64::try_from(build.jobs[0].attempts.len())? == attempts, "{build:?}");
        let mut seen = Vec::new();
        for viewer in watched.viewers {
            seen.push(viewer.end().await?);
        }
        let stored = self.stored(&watched.job, attempts).await?;
        for (epoch, log) in &stored.logs {
            for seen in &seen {
                let Some(told) = seen.logs.get(epoch) else {
                    ensure!(*epoch < attempts, "a viewer was told nothing of attempt {epoch}");
                    continue;
                };
                let whole = if *epoch == attempts { log.clone() } else { log.head(told.text.len()) };
                ensure!(*told == whole, "what was told of attempt {epoch} is not what is stored");
            }
        }
        ensure!(seen.iter().all(|seen| seen.state == "complete"), "a viewer was told that the log is not whole");
        Ok((stored, seen.iter().map(|seen| seen.resumed).sum()))
    }

    /// All that is stored of a job's logs, with its spans, once it is sealed; as those tell it that have nothing of it in
    /// memory, and equal to what the builder says that it wrote.
    async fn stored(&self, job: &str, attempts: i64) -> Result<Seen> {
        for epoch in 1..=attempts {
            let ended = self.sealed(job, epoch).await?;
            let bytes = self.cluster.api().log_bytes(job, &format!("?ansi=1&epoch={epoch}")).await?;
            let length = i64::try_from(bytes.len())?;
            ensure!(ended.state == "sealed", "attempt {epoch} of {job}: {ended:?}");
            ensure!(
                (ended.durable, ended.end) == (length, Some(length)),
                "{length} bytes of attempt {epoch}: {ended:?}"
            );
            ensure!(ended.sha256 == Some(hex::encode(Sha256::digest(&bytes))), "the bytes of attempt {epoch} differ");
        }
        let mut told: Option<Seen> = None;
        for viewer in self.viewers(job, Some("1:0"))? {
            let seen = Seen { resumed: 0, ..viewer.end().await? };
            let first = told.get_or_insert_with(|| seen.clone());
            ensure!(*first == seen, "two log services tell different logs");
        }
        let told = told.context("there are viewers")?;
        for (epoch, log) in &told.logs {
            let bytes = self.cluster.api().log_bytes(job, &format!("?ansi=1&epoch={epoch}")).await?;
            ensure!(log.text.as_bytes() == bytes, "attempt {epoch}: what is told is not what is stored");
            ensure!(log.spans.iter().map(|span| span.bytes).sum::<usize>() == bytes.len(), "spans cover all");
        }
        Ok(told)
    }

    async fn sealed(&self, job: &str, epoch: i64) -> Result<Ended> {
        const ENDED: &str =
            "select state, durable, end_offset, sha256 from attempt_logs where job_id = $1::uuid and epoch = $2";
        let db = PgPool::connect(&self.backends.database_url).await?;
        eventually("a log to be sealed", SEALED, || async {
            let row = sqlx::query(ENDED).bind(job).bind(epoch).fetch_one(&db).await?;
            let state: String = row.try_get("state")?;
            let ended = Ended {
                durable: row.try_get("durable")?,
                end: row.try_get("end_offset")?,
                sha256: row.try_get("sha256")?,
                state,
            };
            Ok((ended.state != "open").then_some(ended))
        })
        .await
    }
}

/// A token that lets builders join.
pub async fn join_token(api: &Api) -> Result<String> {
    let made: Value = api.expect(Method::POST, "/api/v1/builders/tokens", Some(&json!({}))).await?;
    Ok(made["token"].as_str().context("a join token")?.to_owned())
}

/// Whether a log has the lines of the step, once, in order and by one writer: all of them, or the first ones and nothing else.
fn is_written(log: &Log, all: bool) -> bool {
    let lines = log_lines(LINES);
    let Some(from) = log.text.find(&lines[..LINE_BYTES]) else { return !all };
    let rest = &log.text[from..];
    let to = from + rest.len().min(lines.len());
    let (mut at, mut writers) = (0, BTreeSet::new());
    for span in &log.spans {
        if at < to && at + span.bytes > from {
            writers.insert((span.step, span.stream.as_str()));
        }
        at += span.bytes;
    }
    let same = if all { rest.starts_with(&lines) } else { lines.starts_with(rest) };
    same && writers.len() == 1 && log.text.matches(&lines[..LINE_BYTES]).count() == 1
}

fn shown(text: &str) -> String {
    let (head, tail) =
        (text.get(..400).unwrap_or(text), text.get(text.len().saturating_sub(400)..).unwrap_or_default());
    format!("{} bytes\n{head}\n…\n{tail}", text.len())
}
