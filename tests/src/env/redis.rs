//! A Redis server of our own on a free port, with a password and without a disk: whatever it holds may go.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use slipway_runtime::ids::random_bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::host;
use super::process::{self, Process};
use super::room::Room;

/// How long it may take to answer.
const READY: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody else took it first.
const TRIES: u32 = 3;

/// The program and the package it comes from.
const PROGRAM: (&str, &str) = ("redis-server", "redis-server");

/// A running server.
#[derive(Debug)]
pub struct Redis {
    // Stopped by its drop, before the room goes.
    process: Process,
    room: Room,
    port: u16,
    password: String,
}

impl Redis {
    /// What is missing on this host for a server, if anything.
    pub fn missing() -> Option<String> {
        host::need(PROGRAM.0, PROGRAM.1).err().map(|error| error.to_string())
    }

    /// Starts a server and waits until it answers.
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

    /// Its address, password included.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
    }

    /// Sends it a signal, such as SIGSTOP.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Dies as by `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, empty, on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.room, self.port, &self.password)?;
        self.ready().await
    }

    /// Runs one command, such as `FLUSHALL`; the beginning of its answer.
    pub async fn ask(&self, command: &str) -> Result<String> {
        ask(self.port, &self.password, command).await
    }

    async fn try_start() -> Result<Self> {
        let room = Room::new()?;
        let (port, password) = (host::free_port()?, hex::encode(random_bytes::<16>()));
        let process = launch(&room, port, &password)?;
        let mut server = Self { process, room, port, password };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> Result<()> {
        let (port, password) = (self.port, self.password.clone());
        let answers = || async { Ok(ask(port, &password, "PING").await.ok().filter(|said| said.contains("PONG"))) };
        self.process.ready(READY, answers).await.map(drop)
    }
}

fn launch(room: &Room, port: u16, password: &str) -> Result<Process> {
    let mut command = process::guarded(&host::need(PROGRAM.0, PROGRAM.1)?);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--requirepass", password]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(room.path());
    Process::start("redis", command, &room.path().join("redis.log"))
}

async fn ask(port: u16, password: &str, command: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("AUTH {password}\r\n{command}\r\nQUIT\r\n").as_bytes()).await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::super::services::is_required;
    use super::*;

    #[tokio::test]
    async fn it_can_be_killed_and_comes_back_empty() {
        if let Some(missing) = Redis::missing() {
            assert!(!is_required(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return;
        }
        let mut redis = Redis::start().await.unwrap();
        redis.ask("SET a 1").await.unwrap();
        assert!(redis.ask("GET a").await.unwrap().contains("\r\n1\r\n"));
        redis.kill();
        assert!(redis.ask("PING").await.is_err());
        redis.restart().await.unwrap();
        assert!(redis.ask("GET a").await.unwrap().contains("$-1"));
    }
}
