//! Slipway grown up: every role in processes of its own, several of each, behind nginx, on backends that they
//! share.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use slipway_runtime::ids::{new_token, random_bytes};

use super::host;
use super::nginx::{Nginx, Upstreams};
use super::postgres::fresh_database;
use super::process::{self, Process};
use super::rabbitmq;
use super::room::Room;
use super::services::{AMQP, AMQP_CONTROL, AMQP_READER, POSTGRES, REDIS, S3_CONTROL, shared};
use super::slipway::{FETCH_ALLOW, binary_of};
use crate::api::Api;

/// How long a role may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long a role may take to end after SIGTERM.
const ENDS: Duration = Duration::from_secs(30);
/// How much of each role's log is shown with a failed test.
const SHOWN_LINES: usize = 40;

/// Where the roles meet.
#[derive(Debug, Clone)]
pub struct Backends {
    /// PostgreSQL.
    pub database_url: String,
    /// RabbitMQ.
    pub bus_url: String,
    /// Redis.
    pub live_url: String,
    /// S3.
    pub blob_url: String,
    /// More variables, such as the credentials of the object store; `SLIPWAY_BIN` names another binary.
    pub variables: Vec<(String, String)>,
}

impl Backends {
    /// A database, a vhost, a prefix and a bucket of their own on the run's shared servers. `None`, said loudly,
    /// when one is missing and the run allows it.
    pub async fn fresh() -> Result<Option<Self>> {
        let found = [shared(POSTGRES)?, shared(AMQP)?, shared(AMQP_CONTROL)?, shared(REDIS)?, shared(S3_CONTROL)?];
        let [Some(postgres), Some(amqp), Some(amqp_control), Some(redis), Some(s3)] = found else { return Ok(None) };
        let broker = rabbitmq::Control::from_text(&amqp_control)?;
        let bus_url = broker.fresh_vhost(&amqp)?;
        let name = format!("t{}", hex::encode(random_bytes::<6>()));
        let made = reqwest::Client::new().put(format!("{s3}/buckets/{name}")).send().await?;
        ensure!(made.status().is_success(), "the bucket was not made: {}", made.status());
        let endpoint = s3.strip_suffix("/-").context("the address of the S3 server's control")?;
        Ok(Some(Self {
            database_url: fresh_database(&postgres).await?,
            bus_url,
            live_url: format!("{redis}?prefix={name}:"),
            blob_url: format!("s3://{name}/logs?endpoint={endpoint}"),
            variables: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
                .collect(),
        }))
    }

    /// As a role's variables.
    pub fn settings(&self) -> Vec<(String, String)> {
        let urls = [
            ("SLIPWAY_DATABASE_URL", &self.database_url),
            ("SLIPWAY_BUS_URL", &self.bus_url),
            ("SLIPWAY_LIVE_URL", &self.live_url),
            ("SLIPWAY_BLOB_URL", &self.blob_url),
        ];
        let urls = urls.map(|(name, url)| (name.to_owned(), url.clone()));
        urls.into_iter().chain(self.variables.iter().cloned()).collect()
    }

    /// The bus for a builder: its user may read the queues of pools and nothing else.
    pub fn builder_bus_url(&self) -> Result<Option<String>> {
        let (Some(reader), Some(control)) = (shared(AMQP_READER)?, shared(AMQP_CONTROL)?) else { return Ok(None) };
        let vhost = self.bus_url.rsplit('/').next().context("a vhost")?;
        let mut url = url::Url::parse(&reader)?;
        url.set_path(vhost);
        let control = rabbitmq::Control::from_text(&control)?;
        control.permit(url.username(), vhost, ["^$", "^$", "^slipway[.]offers[.]"])?;
        Ok(Some(url.into()))
    }
}

/// A service that runs as a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Api,
    Scheduler,
    Dispatcher,
    Logsvc,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Api, Self::Scheduler, Self::Dispatcher, Self::Logsvc];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Scheduler => "scheduler",
            Self::Dispatcher => "dispatcher",
            Self::Logsvc => "logsvc",
        }
    }
}

/// One process of a role.
#[derive(Debug)]
pub struct Member {
    /// What it does.
    pub role: Role,
    /// Where it listens.
    pub port: u16,
    process: Process,
    home: PathBuf,
    settings: Vec<(String, String)>,
}

/// The whole control plane; builders join it by themselves.
#[derive(Debug)]
pub struct Cluster {
    proxy: Nginx,
    /// Every process, roles in order.
    pub members: Vec<Member>,
    common: Common,
    // Goes after its members.
    _room: Room,
    /// Shows its logs when it is dropped; for programs whose output nobody captures, not.
    pub shows_log: bool,
}

#[derive(Debug)]
struct Common {
    secret_key: String,
    token: String,
    public_port: u16,
}

impl Cluster {
    /// Starts `each` processes of every role and waits until all are ready.
    pub async fn start(backends: Backends, each: usize) -> Result<Self> {
        Self::start_with(&[backends], each).await
    }

    /// The same, where the processes of a role take these ways to the backends in turn.
    pub async fn start_with(ways: &[Backends], each: usize) -> Result<Self> {
        let room = Room::new()?;
        let ports = |_| host::free_port();
        let upstreams = Upstreams {
            api: (0..each).map(ports).collect::<Result<_>>()?,
            dispatcher: (0..each).map(ports).collect::<Result<_>>()?,
            logsvc: (0..each).map(ports).collect::<Result<_>>()?,
        };
        let schedulers = (0..each).map(ports).collect::<Result<Vec<_>>>()?;
        let proxy = Nginx::start(&upstreams).await?;
        let public_port = proxy.url().rsplit(':').next().and_then(|port| port.parse().ok()).context("a port")?;
        let secret_key = STANDARD.encode(random_bytes::<32>());
        let common = Common { secret_key, token: new_token("slw"), public_port };
        let mut members = Vec::new();
        for (role, ports) in
            Role::ALL.into_iter().zip([&upstreams.api, &schedulers, &upstreams.dispatcher, &upstreams.logsvc])
        {
            for (port, backends) in ports.iter().zip(ways.iter().cycle()) {
                members.push(Member::start(room.path(), (role, *port), settings(&common, backends))?);
            }
        }
        let mut cluster = Self { proxy, members, common, _room: room, shows_log: true };
        for member in &mut cluster.members {
            member.ready().await?;
        }
        Ok(cluster)
    }

    /// Where browsers, clients and forges connect.
    pub fn base_url(&self) -> String {
        self.proxy.url()
    }

    /// Where builders connect.
    pub fn agent_url(&self) -> String {
        self.proxy.agent_url()
    }

    /// A client with the bootstrap token.
    pub fn api(&self) -> Api {
        Api::new(&self.base_url(), Some(&self.common.token))
    }

    /// The bootstrap token.
    pub fn token(&self) -> &str {
        &self.common.token
    }

    /// Positions of a role's processes among the members.
    pub fn of(&self, role: Role) -> Vec<usize> {
        (0..self.members.len()).filter(|at| self.members[*at].role == role).collect()
    }

    /// Starts a member that has ended, on its old port; does not wait.
    pub fn start_again(&mut self, at: usize) -> Result<()> {
        self.members[at].start_again(&[])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The test harness shows this only when the test failed.
        if !self.shows_log {
            return;
        }
        for member in &self.members {
            let tail = process::tail(&log(&member.home), SHOWN_LINES);
            eprintln!("--- {} on port {} ---\n{tail}\n---", member.role.name(), member.port);
        }
    }
}

impl Member {
    /// Starts one with these variables and a folder of its own in `parent`; does not wait.
    pub fn start(parent: &Path, (role, port): (Role, u16), settings: Vec<(String, String)>) -> Result<Self> {
        let home = parent.join(format!("{}-{port}", role.name()));
        std::fs::create_dir_all(&home)?;
        let process = launch(&home, (role, port), &settings)?;
        Ok(Self { role, port, process, home, settings })
    }

    /// Starts it on its old port, with more variables; an older process dies. Does not wait.
    pub fn start_again(&mut self, more: &[(String, String)]) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.home, (self.role, self.port), &[&self.settings, more].concat())?;
        Ok(())
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(&self.home)).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.process.exited()
    }

    /// Waits until it answers that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let client = reqwest::Client::new();
        let check = || async {
            let answer = client.get(&url).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        };
        self.process.ready(READY, check).await
    }

    /// What `/readyz?verbose` says, with its status.
    pub async fn readiness(&self) -> Result<(u16, String)> {
        let answer = reqwest::get(format!("http://127.0.0.1:{}/readyz?verbose", self.port)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Dies as by `kill -9`.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until it has ended by itself; an error when it says that it failed.
    pub async fn ended(&mut self) -> Result<()> {
        let status = self.process.wait(ENDS).await?;
        ensure!(status.success(), "{} ended with {status}", self.role.name());
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The variables of a role of this cluster.
fn settings(common: &Common, backends: &Backends) -> Vec<(String, String)> {
    let own = [
        ("SLIPWAY_SECRET_KEY", common.secret_key.clone()),
        ("SLIPWAY_BOOTSTRAP_TOKEN", common.token.clone()),
        ("SLIPWAY_PUBLIC_URL", format!("http://127.0.0.1:{}", common.public_port)),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    own.into_iter().chain(backends.settings()).collect()
}

fn launch(home: &Path, (role, port): (Role, u16), settings: &[(String, String)]) -> Result<Process> {
    let mut command = process::guarded(&binary_of(settings)?);
    command.arg(role.name()).arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.env("HOME", home).env("TMPDIR", home).env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
    command.env("SLIPWAY_FETCH_ALLOW", FETCH_ALLOW);
    command.envs(settings.iter().map(|(name, value)| (name, value))).env_remove("SLIPWAY_BIN");
    Process::start(&format!("slipway {}", role.name()), command, &log(home))
}

fn log(home: &Path) -> PathBuf {
    home.join("log")
}
