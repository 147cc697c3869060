//! The samples of `deploy/proxy` in front of upstreams that say who they are: the table of routes, one process per
//! log, streams that are not held back, and the builders' channel.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use futures_util::StreamExt as _;
use rustix::process::Signal;
use slipway_tests::env::host;
use slipway_tests::env::nginx::{Nginx, Upstreams};
use slipway_tests::env::process::{Process, guarded};
use slipway_tests::env::services::is_required;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{program, text, told};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Two upstreams of each role, and what lets their streams end.
struct Roles {
    upstreams: Upstreams,
    go_on: Arc<Notify>,
}

impl Roles {
    async fn start() -> Result<Self> {
        let go_on = Arc::new(Notify::new());
        let mut upstreams = Upstreams::default();
        for at in 0..2 {
            upstreams.api.push(upstream(format!("api {at}"), &go_on).await?);
            upstreams.dispatcher.push(upstream(format!("dispatcher {at}"), &go_on).await?);
            upstreams.logsvc.push(upstream(format!("logsvc {at}"), &go_on).await?);
        }
        Ok(Self { upstreams, go_on })
    }
}

/// Answers everything with its name; a stream in two parts, the second when it is let go.
async fn upstream(name: String, go_on: &Arc<Notify>) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let go_on = Arc::clone(go_on);
    let stream = move || async move {
        let parts = futures_util::stream::unfold(0, move |part| {
            let go_on = Arc::clone(&go_on);
            async move {
                if part == 1 {
                    go_on.notified().await;
                }
                (part < 2).then(|| (anyhow::Ok(Bytes::from(format!("data: {part}\n\n"))), part + 1))
            }
        });
        ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response()
    };
    let channel = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(|_| async {}) };
    let router = Router::new()
        .route("/api/v1/jobs/{job}/log/stream", get(stream))
        .route("/agent/v1/sessions/{session}/channel", get(channel))
        .fallback(any(move || async move { name }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(port)
}

/// Where a proxy listens for everybody and for builders.
struct Proxy {
    public: String,
    agents: String,
}

impl Proxy {
    async fn ask(&self, base: &str, path: &str) -> Result<(u16, String)> {
        let answer = reqwest::Client::new().get(format!("{base}{path}")).timeout(PATIENCE).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    async fn check(&self, roles: &Roles) -> Result<()> {
        self.routes().await?;
        self.one_process_per_log().await?;
        self.streams(roles).await?;
        self.channel().await
    }

    /// ARCHITECTURE.md, "Routes".
    async fn routes(&self) -> Result<()> {
        let table = [
            (&self.public, "/", "api"),
            (&self.public, "/hooks/some", "api"),
            (&self.public, "/api/v1/jobs/j1", "api"),
            (&self.public, "/api/v1/builds", "api"),
            (&self.public, "/api/v1/jobs/j1/log", "logsvc"),
            (&self.public, "/api/v1/jobs/j1/log/search?q=x", "logsvc"),
            (&self.public, "/api/v1/jobs/j1/log/lines?from=1", "logsvc"),
            (&self.public, "/agent/v1/sessions", "api"),
            (&self.agents, "/agent/v1/sessions", "dispatcher"),
            (&self.agents, "/agent/v1/attempts/j1/3/leave", "dispatcher"),
            (&self.agents, "/agent/v1/attempts/j1/3/log", "logsvc"),
            (&self.agents, "/agent/v1/attempts/j1/3/log/end", "logsvc"),
        ];
        for (base, path, role) in table {
            let (status, name) = self.ask(base, path).await?;
            ensure!(status == 200 && name.starts_with(role), "{path} went to {name} ({status}) instead of {role}");
        }
        assert_eq!(self.ask(&self.public, "/metrics").await?.0, 404);
        let (_, nobody) = self.ask(&self.agents, "/api/v1/builds").await?;
        ensure!(!nobody.starts_with("api"), "builders reach the API");
        Ok(())
    }

    async fn one_process_per_log(&self) -> Result<()> {
        let mut seen = std::collections::BTreeSet::new();
        for job in 0..16 {
            let (_, writers) = self.ask(&self.agents, &format!("/agent/v1/attempts/job{job}/1/log")).await?;
            let (_, viewers) = self.ask(&self.public, &format!("/api/v1/jobs/job{job}/log?tail=5")).await?;
            assert_eq!(writers, viewers, "job{job}");
            seen.insert(writers);
        }
        ensure!(seen.len() == 2, "every log lies with {seen:?}");
        Ok(())
    }

    async fn streams(&self, roles: &Roles) -> Result<()> {
        let answer = reqwest::get(format!("{}/api/v1/jobs/j1/log/stream", self.public)).await?;
        let mut parts = answer.bytes_stream();
        let first = tokio::time::timeout(PATIENCE, parts.next()).await.context("the proxy holds a stream back")?;
        assert_eq!(first.context("a first part")??, "data: 0\n\n");
        roles.go_on.notify_waiters();
        roles.go_on.notify_one();
        let second = tokio::time::timeout(PATIENCE, parts.next()).await.context("the second part")?;
        assert_eq!(second.context("a second part")??, "data: 1\n\n");
        Ok(())
    }

    async fn channel(&self) -> Result<()> {
        let address: SocketAddr = self.agents.trim_start_matches("http://").parse()?;
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /agent/v1/sessions/s1/channel HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 64];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await??;
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Ok(())
    }
}

#[tokio::test]
async fn nginx_routes_as_the_table_says() -> Result<()> {
    if let Some(missing) = Nginx::missing() {
        ensure!(!is_required(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let roles = Roles::start().await?;
    let nginx = Nginx::start(&roles.upstreams).await?;
    Proxy { public: nginx.url(), agents: nginx.agent_url() }.check(&roles).await
}

/// The sample with this run's addresses and without TLS.
fn caddyfile(upstreams: &Upstreams, port: u16, agent_port: u16) -> Result<String> {
    let mut sample = text("proxy/Caddyfile")?;
    let roles = [("api", &upstreams.api), ("dispatcher", &upstreams.dispatcher), ("logsvc", &upstreams.logsvc)];
    for (role, ports) in roles {
        for (number, port) in (1..).zip(ports) {
            sample = sample.replace(&format!("{role}-{number}:8080"), &format!("127.0.0.1:{port}"));
        }
    }
    let hosts = [("\nbuilders.slipway.example.com:8443 {", agent_port), ("\nslipway.example.com {", port)];
    for (host, port) in hosts {
        ensure!(sample.contains(host), "the sample has no {host}");
        sample = sample.replace(host, &format!("\nhttp://127.0.0.1:{port} {{"));
    }
    Ok(format!("{{\n\tadmin off\n\tauto_https off\n}}\n{sample}"))
}

fn caddy(program: &Path, home: &Path) -> std::process::Command {
    let mut command = guarded(program);
    command.env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home);
    command
}

#[tokio::test]
async fn caddy_routes_as_the_table_says() -> Result<()> {
    let Some(program) = program("caddy", "caddy")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let sample = super::deploy("proxy/Caddyfile");
    told(caddy(&program, folder.path()).args(["validate", "--adapter", "caddyfile", "--config"]).arg(&sample))?;

    let roles = Roles::start().await?;
    let (port, agent_port) = (host::free_port()?, host::free_port()?);
    let config = folder.path().join("Caddyfile");
    std::fs::write(&config, caddyfile(&roles.upstreams, port, agent_port)?)?;
    let mut command = caddy(&program, folder.path());
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config);
    let mut process = Process::start("caddy", command, &folder.path().join("log"))?.ended_by(Signal::TERM);
    let listens = || async move { Ok(TcpStream::connect(("127.0.0.1", agent_port)).await.ok().map(|_| ())) };
    process.ready(PATIENCE, listens).await?;
    let url = |port| format!("http://127.0.0.1:{port}");
    Proxy { public: url(port), agents: url(agent_port) }.check(&roles).await
}
