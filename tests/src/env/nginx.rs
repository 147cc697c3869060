//! nginx with the sample of `deploy/proxy`, pointed at processes of this run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::host;
use super::process::{self, Process};
use super::room::Room;

/// How long it may take to listen.
const READY: Duration = Duration::from_secs(15);
/// The sample that users start from.
const SAMPLE: &str = include_str!("../../../deploy/proxy/nginx.conf");

/// A running proxy.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    _room: Room,
    port: u16,
    agent_port: u16,
}

/// Ports of the processes behind it.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    /// Of every `api`.
    pub api: Vec<u16>,
    /// Of every `dispatcher`.
    pub dispatcher: Vec<u16>,
    /// Of every `logsvc`.
    pub logsvc: Vec<u16>,
}

impl Nginx {
    /// What is missing on this host, if anything.
    pub fn missing() -> Option<String> {
        host::need("nginx", "nginx-light").err().map(|error| error.to_string())
    }

    /// Starts it and waits until it listens.
    pub async fn start(upstreams: &Upstreams) -> Result<Self> {
        let room = Room::new()?;
        let (port, agent_port) = (host::free_port()?, host::free_port()?);
        let config = room.path().join("nginx.conf");
        fs::write(&config, whole(room.path(), &sample(upstreams, port, agent_port)?))?;
        let mut command = process::guarded(&host::need("nginx", "nginx-light")?);
        command.arg("-p").arg(room.path()).arg("-c").arg(&config).args(["-e", "stderr"]);
        let log = room.path().join("nginx.log");
        let mut process = Process::start("nginx", command, &log)?.ended_by(Signal::TERM);
        let listens = || async move { Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(|_| ())) };
        process.ready(READY, listens).await?;
        Ok(Self { _process: process, _room: room, port, agent_port })
    }

    /// For browsers, clients and forges.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// For builders.
    pub fn agent_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.agent_port)
    }
}

/// The sample with this run's addresses and without TLS.
fn sample(upstreams: &Upstreams, port: u16, agent_port: u16) -> Result<String> {
    let roles = [("api", &upstreams.api), ("dispatcher", &upstreams.dispatcher), ("logsvc", &upstreams.logsvc)];
    let mut lines = Vec::new();
    for line in SAMPLE.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("ssl_certificate") {
            continue;
        }
        let listens = [("listen 443 ssl;", port), ("listen 8443 ssl;", agent_port)];
        if let Some((_, port)) = listens.iter().find(|(listen, _)| trimmed == *listen) {
            lines.push(format!("listen 127.0.0.1:{port};"));
            continue;
        }
        let server =
            roles.iter().find_map(|(role, ports)| Some((trimmed.strip_prefix(&format!("server {role}-"))?, ports)));
        let Some((rest, ports)) = server else {
            lines.push(line.to_owned());
            continue;
        };
        let (number, options) = rest.split_once(":8080").context("a server of the sample has port 8080")?;
        let number: usize = number.parse().context("servers of the sample are numbered")?;
        // The first line of a role stands for all of this run's processes.
        if number == 1 {
            ensure!(!ports.is_empty(), "a role has at least one process");
            lines.extend(ports.iter().map(|port| format!("server 127.0.0.1:{port}{options}")));
        }
    }
    Ok(lines.join("\n"))
}

fn whole(folder: &Path, sample: &str) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{temporary}{sample}\n}}\n"
    )
}
