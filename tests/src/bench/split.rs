//! One process of every role on the run's backends, measured as they are: what the rows of many processes share.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdout;

use crate::api::Api;
use crate::bench::{cpu_secs, resident_mb};
use crate::env::cluster::{Backends, Cluster, Role};
use crate::env::process;
use crate::env::remote_builder::{Joining, RemoteBuilder};

/// More than any row needs.
const RUNNING_LIMIT: i64 = 1_000_000;

/// The roles and their database.
pub struct Split {
    /// The roles.
    pub cluster: Cluster,
    /// Where they meet.
    pub backends: Backends,
    /// Their database.
    pub pool: PgPool,
}

/// Builders that build nothing, in a process of their own; ended on drop.
pub struct Load(Child);

impl Split {
    /// Starts `each` processes of every role. `None` when a backend is missing and the run allows it.
    pub async fn start(each: usize) -> Result<Option<Self>> {
        match Backends::fresh().await? {
            Some(backends) => Self::start_on(backends, each).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same on these backends.
    pub async fn start_on(backends: Backends, each: usize) -> Result<Self> {
        let mut cluster = Cluster::start(backends.clone(), each).await?;
        cluster.shows_log = false;
        let pool = PgPoolOptions::new().max_connections(16).connect(&backends.database_url).await?;
        sqlx::query("update tenant_running set running_limit = $1").bind(RUNNING_LIMIT).execute(&pool).await?;
        Ok(Self { cluster, backends, pool })
    }

    /// A client with the bootstrap token.
    pub fn api(&self) -> Api {
        self.cluster.api()
    }

    /// Where a role's first process listens.
    pub fn url(&self, role: Role) -> Result<String> {
        let member = self.cluster.members.iter().find(|member| member.role == role).context("a process of the role")?;
        Ok(format!("http://127.0.0.1:{}", member.port))
    }

    /// The process id of a role's first process.
    pub fn id(&self, role: Role) -> Result<u32> {
        let member = self.cluster.members.iter().find(|member| member.role == role).context("a process of the role")?;
        Ok(member.id())
    }

    /// CPU time of all roles together, seconds.
    pub fn cpu_secs(&self) -> Result<f64> {
        self.cluster.members.iter().map(|member| cpu_secs(member.id())).sum()
    }

    /// Resident memory of all roles together, MB.
    pub fn resident_mb(&self) -> Result<f64> {
        self.cluster.members.iter().map(|member| resident_mb(member.id())).sum()
    }

    /// Lets so many builders join; they take offers from the broker or over their sessions.
    pub async fn join(&self, count: usize, slots: usize, by_broker: bool) -> Result<Load> {
        self.join_with(count, slots, by_broker, false).await
    }

    /// Lets a builder join that claims as many jobs as it has slots and never ends one.
    pub async fn join_holding(&self, slots: usize) -> Result<Load> {
        self.join_with(1, slots, false, true).await
    }

    /// Starts a real builder; it hears of offers from the broker.
    pub async fn builder(&self, name: &str, engine: String) -> Result<RemoteBuilder> {
        let bus_url = self.backends.builder_bus_url()?.context("a broker's user for builders")?;
        let mut builder = RemoteBuilder::start(&Joining {
            server_url: self.cluster.agent_url(),
            token: self.join_token().await?,
            engine,
            name: name.to_owned(),
            variables: vec![("SLIPWAY_BUS_URL".to_owned(), bus_url)],
        })?;
        builder.shows_log = false;
        Ok(builder)
    }

    /// A token that lets a builder join.
    pub async fn join_token(&self) -> Result<String> {
        let made: Value = self.api().expect(Method::POST, "/api/v1/builders/tokens", Some(&json!({}))).await?;
        Ok(made["token"].as_str().context("a join token")?.to_owned())
    }

    async fn join_with(&self, count: usize, slots: usize, by_broker: bool, holds: bool) -> Result<Load> {
        let program = std::env::current_exe()?.with_file_name("slipway-bench-load");
        let mut command = process::guarded(&program);
        command.args([count.to_string(), slots.to_string()]);
        command.env("AGENT_URL", self.url(Role::Dispatcher)?).env("LOGS_URL", self.url(Role::Logsvc)?);
        command.env("JOIN_TOKEN", self.join_token().await?);
        if holds {
            command.env("HOLDS", "1");
        }
        if by_broker {
            command.env("BUS_URL", self.backends.builder_bus_url()?.context("a broker's user for builders")?);
        }
        Load::start(command).await
    }
}

impl Load {
    async fn start(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the builders")?;
        let stdout = child.stdout.take().context("what it says")?;
        let load = Self(child);
        let mut line = String::new();
        BufReader::new(ChildStdout::from_std(stdout)?).read_line(&mut line).await?;
        ensure!(line == "joined\n", "the builders did not join: {line:?}");
        Ok(load)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
