//! The cluster and everything it stands on, each in a process of its own that may be broken.

use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_runtime::ids::random_bytes;

use crate::api::Api;
use crate::env::cluster::{Backends, Cluster};
use crate::env::git_server::GitServer;
use crate::env::net_host::NetHost;
use crate::env::nginx::Nginx;
use crate::env::postgres::{Postgres, fresh_database};
use crate::env::rabbitmq::RabbitMq;
use crate::env::redis::Redis;
use crate::env::registry::{Access, Registry};
use crate::env::remote_builder::{Joining, RemoteBuilder};
use crate::env::s3::S3;
use crate::env::services::{ENGINE, is_required, shared};
use crate::fault_proxy::FaultProxy;
use crate::scripted_engine::{ScriptedEngine, Told};
use crate::wait::eventually;

/// Processes of each role.
const EACH: usize = 2;
/// Builders; the last one has no path to the broker.
const BUILDERS: u8 = 3;
/// Jobs at once on each.
const SLOTS: u32 = 4;
/// How long builders may take to join.
const JOIN: Duration = Duration::from_secs(60);

/// A builder on a host of its own.
pub struct Host {
    builder: RemoteBuilder,
    joining: Joining,
    host: Option<NetHost>,
    engine: Option<ScriptedEngine>,
}

/// What the builders drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engines {
    /// The run's Docker engine.
    Real,
    /// One that executes nothing for each, but for the last, which has the run's Docker engine.
    Scripted,
    /// One that executes nothing for each.
    AllScripted,
}

/// Where `SLIPWAY_OLD_BIN` names the binary of an earlier release, every second process of a role and one builder run it.
fn older() -> Option<(String, String)> {
    Some(("SLIPWAY_BIN".to_owned(), std::env::var("SLIPWAY_OLD_BIN").ok()?))
}

/// Everything. Ended in the order of the fields.
pub struct Site {
    pub builders: Vec<Host>,
    pub cluster: Cluster,
    pub git: GitServer,
    pub registry: Registry,
    pub s3: S3,
    pub redis: Redis,
    pub rabbit: RabbitMq,
    pub postgres: Postgres,
    pub database_url: String,
    engine: String,
    /// The way of every second process to the broker.
    pub broker: FaultProxy,
    /// The same to the database.
    pub database: FaultProxy,
    /// Ten random digits.
    pub name: String,
    began: Instant,
    deeds: Mutex<Vec<String>>,
}

impl Site {
    /// Starts all of it. `None`, said loudly, when a component is missing and the run allows it.
    pub async fn start(engines: Engines) -> Result<Option<Self>> {
        let missing =
            [Nginx::missing(), Postgres::missing(), RabbitMq::missing(), Redis::missing(), Registry::missing()];
        if let Some(missing) = missing.into_iter().flatten().next() {
            ensure!(!is_required(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return Ok(None);
        }
        let Some(engine) = shared(ENGINE)? else { return Ok(None) };
        let (postgres, rabbit, redis, s3, registry, git) = tokio::try_join!(
            Postgres::start(),
            RabbitMq::start(),
            Redis::start(),
            S3::start(),
            Registry::start(Access::Open),
            GitServer::start(),
        )?;
        let name = hex::encode(random_bytes::<5>());
        let database_url = fresh_database(postgres.url()).await?;
        let credentials = s3.credentials();
        let backends = Backends {
            database_url: database_url.clone(),
            bus_url: rabbit.url(),
            live_url: redis.url(),
            blob_url: s3.bucket("logs").await?,
            variables: vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), credentials.access_key.clone()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), credentials.secret_key.clone()),
            ],
        };
        let (broker, database) =
            (FaultProxy::start(&format!("127.0.0.1:{}", rabbit.port())).await?, proxy_of(&database_url).await?);
        let mut odd = Backends {
            database_url: through(&database_url, &database)?,
            bus_url: through(&backends.bus_url, &broker)?,
            ..backends.clone()
        };
        odd.variables.extend(older());
        let cluster = Cluster::start_with(&[backends, odd], EACH).await?;
        let began = Instant::now();
        let mut site = Self {
            builders: Vec::new(),
            cluster,
            git,
            registry,
            s3,
            redis,
            rabbit,
            postgres,
            database_url,
            engine,
            name,
            began,
            deeds: Mutex::default(),
            broker,
            database,
        };
        site.join_builders(engines).await?;
        Ok(Some(site))
    }

    /// Shows no logs when it is dropped.
    pub fn quiet(mut self) -> Self {
        self.cluster.shows_log = false;
        for host in &mut self.builders {
            host.builder.shows_log = false;
        }
        self
    }

    /// A client with the bootstrap token.
    pub fn api(&self) -> Api {
        self.cluster.api()
    }

    /// The image of a project, without a tag.
    pub fn image(&self, project: usize) -> String {
        format!("{}/{}", self.registry.address(), self.image_path(project))
    }

    /// Its path in the registry.
    pub fn image_path(&self, project: usize) -> String {
        format!("chaos/{}-{project}", self.name)
    }

    /// Writes down what was done.
    pub fn told(&self, deed: &str) {
        let line = format!("{:7.2} s  {deed}", self.began.elapsed().as_secs_f64());
        self.deeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }

    /// What was done so far.
    pub fn deeds(&self) -> Vec<String> {
        self.deeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Empties every queue.
    pub fn purge_queues(&self) -> Result<()> {
        let purge = "[catch rabbit_amqqueue:purge(Q) || Q <- rabbit_amqqueue:list()], ok";
        self.rabbit.control().evaluate(purge).map(drop)
    }

    async fn join_builders(&mut self, engines: Engines) -> Result<()> {
        let made: Value = self.api().expect(Method::POST, "/api/v1/builders/tokens", Some(&json!({}))).await?;
        let token = made["token"].as_str().context("a join token")?.to_owned();
        let mut ports = vec![port_of(&self.cluster.agent_url())?, port_of(&self.git.base_url())?, self.rabbit.port()];
        ports.push(port_of(&format!("http://{}", self.registry.address()))?);
        for number in 0..BUILDERS {
            let host = match NetHost::missing() {
                None => Some(NetHost::start(number + 1, &ports).await?),
                Some(_) => None,
            };
            let scripted = match engines {
                Engines::AllScripted => Some(ScriptedEngine::start().await?),
                Engines::Scripted if number + 1 < BUILDERS => Some(ScriptedEngine::start().await?),
                Engines::Scripted | Engines::Real => None,
            };
            let engine = scripted.as_ref().map_or_else(|| self.engine.clone(), ScriptedEngine::host);
            let mut variables = vec![("SLIPWAY_SLOTS".to_owned(), SLOTS.to_string())];
            if number + 1 < BUILDERS {
                variables.push(("SLIPWAY_BUS_URL".to_owned(), self.rabbit.url()));
            }
            if number == 0 {
                variables.extend(older());
            }
            let joining = Joining {
                server_url: self.cluster.agent_url(),
                token: token.clone(),
                engine,
                name: format!("builder-{number}"),
                variables,
            };
            let builder = start_builder(host.as_ref(), &joining)?;
            self.builders.push(Host { builder, joining, host, engine: scripted });
        }
        let api = self.api();
        eventually("all builders to join", JOIN, || async {
            let list: Value = api.expect(Method::GET, "/api/v1/builders", None).await?;
            let online =
                list["items"].as_array().into_iter().flatten().filter(|item| item["state"] == "online").count();
            Ok((online == usize::from(BUILDERS)).then_some(()))
        })
        .await
    }
}

impl Host {
    /// Dies as by `kill -9`.
    pub fn kill9(&mut self) {
        self.builder.kill9();
    }

    /// Sends the builder a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.builder.signal(signal)
    }

    /// Starts the builder again on its data.
    pub fn start_again(&mut self) -> Result<()> {
        self.builder.start_again(self.host.as_ref(), &self.joining)
    }

    /// Starts the builder again on its data, with a clock that is wrong by so many seconds.
    pub fn start_again_at(&mut self, offset_secs: i64) -> Result<()> {
        self.start_again_with(&[("SLIPWAY_TEST_CLOCK_OFFSET_SECS".to_owned(), offset_secs.to_string())])
    }

    /// Starts the builder again on its data, with more variables.
    pub fn start_again_with(&mut self, variables: &[(String, String)]) -> Result<()> {
        let mut joining = self.joining.clone();
        joining.variables.extend_from_slice(variables);
        self.builder.start_again(self.host.as_ref(), &joining)
    }

    /// How the builder ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.builder.exited()
    }

    /// The builder's name.
    pub fn name(&self) -> &str {
        &self.joining.name
    }

    /// What its engine did, where that is a scripted one.
    pub async fn told(&self) -> Result<Option<Told>> {
        match &self.engine {
            Some(engine) => engine.state().await.map(Some),
            None => Ok(None),
        }
    }

    /// Its network, where it has one of its own.
    pub const fn host(&self) -> Option<&NetHost> {
        self.host.as_ref()
    }
}

fn start_builder(host: Option<&NetHost>, joining: &Joining) -> Result<RemoteBuilder> {
    match host {
        Some(host) => RemoteBuilder::start_on(host, joining),
        None => RemoteBuilder::start(joining),
    }
}

fn port_of(url: &str) -> Result<u16> {
    url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok()).context("an address with a port")
}

/// A proxy before the server of this address.
async fn proxy_of(url: &str) -> Result<FaultProxy> {
    let url = url::Url::parse(url)?;
    FaultProxy::start(&format!("127.0.0.1:{}", url.port().context("a port")?)).await
}

/// The same address by way of a proxy.
fn through(url: &str, proxy: &FaultProxy) -> Result<String> {
    let mut url = url::Url::parse(url)?;
    url.set_port(Some(proxy.address().port())).map_err(|()| anyhow::anyhow!("an address with a port"))?;
    Ok(url.into())
}
