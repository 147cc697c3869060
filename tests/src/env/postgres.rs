//! A PostgreSQL server of our own on a free port, as durable as a real one, and fresh databases in it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use slipway_runtime::ids::random_bytes;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::host;
use super::process::{self, Process};
use super::room::Room;
use crate::wait::eventually;

/// How long it may take to answer.
const READY: Duration = Duration::from_secs(60);

/// How often another port is tried when somebody else took it first.
const TRIES: u32 = 3;

/// The server's system user; PostgreSQL refuses to run as root.
const SYSTEM_USER: &str = "postgres";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    // Stopped by its drop, before the room goes.
    process: Process,
    room: Room,
    port: u16,
    url: String,
}

impl Postgres {
    /// What is missing on this host for a server, if anything.
    pub fn missing() -> Option<String> {
        programs().err().map(|error| error.to_string())
    }

    /// Makes a cluster, starts a server and waits until it answers.
    pub async fn start() -> Result<Self> {
        let mut result = Self::try_start().await;
        for _ in 1..TRIES {
            if result.is_ok() {
                break;
            }
            result = Self::try_start().await;
        }
        result
    }

    /// The address of the maintenance database, with the right to make databases.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Dies as by `kill -9`, with every connection.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        // Its children are in groups of their own and see its death in their own time; none starts beside them.
        let data = self.room.path().join("data");
        eventually("the children of PostgreSQL to end", READY, || async { Ok((!is_in_use(&data)).then_some(())) })
            .await?;
        self.process = launch(&self.room, self.port)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let url = self.url.clone();
        self.process.ready(READY, || async { Ok(PgConnection::connect(&url).await.ok().map(drop)) }).await
    }

    async fn try_start() -> Result<Self> {
        let programs = programs()?;
        let room = Room::new()?;
        let user = host::is_root().then_some(SYSTEM_USER);
        let data = room.path().join("data");
        fs::create_dir(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        let password = hex::encode(random_bytes::<16>());
        let password_file = room.path().join("password");
        fs::write(&password_file, &password)?;
        if user.is_some() {
            hand_over(&[&data, &password_file])?;
        }
        let mut initdb = process::guarded_as(&programs.join("initdb"), user);
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password_file);
        initdb.args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        let log = room.path().join("postgres.log");
        let made = Process::start("initdb", initdb, &log)?.wait(READY).await?;
        if !made.success() {
            bail!("initdb ended with {made}:\n{}", process::tail(&log, 20));
        }
        let port = host::free_port()?;
        let process = launch(&room, port)?;
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
        let mut server = Self { process, room, port, url };
        server.ready().await?;
        Ok(server)
    }
}

fn launch(room: &Room, port: u16) -> Result<Process> {
    let user = host::is_root().then_some(SYSTEM_USER);
    let mut server = process::guarded_as(&programs()?.join("postgres"), user);
    server.arg("-D").arg(room.path().join("data"));
    for setting in settings(port) {
        server.arg("-c").arg(setting);
    }
    // A fast shutdown, which does not wait for clients.
    Ok(Process::start("postgres", server, &room.path().join("postgres.log"))?.ended_by(Signal::INT))
}

/// Whether a process works in this folder.
fn is_in_use(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.into_iter().any(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
}

/// A new empty database of the server at `url`; its address.
pub async fn fresh_database(url: &str) -> Result<String> {
    let name = format!("test_{}", hex::encode(random_bytes::<8>()));
    let mut connection = PgConnection::connect(url).await.context("connecting to PostgreSQL")?;
    let statement = sqlx::AssertSqlSafe(format!("create database {name} template template0"));
    connection.execute(statement).await.with_context(|| format!("making the database {name}"))?;
    connection.close().await?;
    let mut fresh = url::Url::parse(url).context("reading the address of PostgreSQL")?;
    fresh.set_path(&name);
    Ok(fresh.into())
}

fn settings(port: u16) -> [String; 6] {
    [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=400".to_owned(),
        "fsync=on".to_owned(),
        "dynamic_shared_memory_type=mmap".to_owned(),
    ]
}

/// The folder of the newest installed server's programs.
fn programs() -> Result<PathBuf> {
    let version = |folder: &PathBuf| folder.parent().and_then(|p| p.file_name()?.to_str()?.parse::<u32>().ok());
    fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("postgres").is_file())
        .max_by_key(version)
        .context("PostgreSQL is not installed; on Debian: apt-get install postgresql")
}

fn hand_over(paths: &[&Path]) -> Result<()> {
    // Debian's package makes the user; its home belongs to it.
    let home = fs::metadata("/var/lib/postgresql").context("looking for the system user of PostgreSQL")?;
    for path in paths {
        chown(path, Some(home.uid()), Some(home.gid())).with_context(|| format!("handing over {}", path.display()))?;
    }
    Ok(())
}
