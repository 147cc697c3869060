//! A registry of our own: Debian's `docker-registry` (distribution 2.8) on a free port, open or with a
//! user and a password.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::StatusCode;

use super::host;
use super::process::{self, Process};
use super::room::Room;

/// The user of a registry that asks for one.
pub const USER: &str = "slipway";

/// The password of [`USER`].
pub const PASSWORD: &str = "not-a-real-secret-but-a-good-one";

/// bcrypt of [`PASSWORD`] at the lowest cost that tools accept.
const HTPASSWD: &str = "slipway:$2b$05$lXpuus5.8FwcagDuJxEegOOdU5FmkIec0FJScuFtopaJQDUTQ4zya\n";

/// How long it may take to answer.
const READY: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody else took it first.
const TRIES: u32 = 3;

/// Who may use the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// [`USER`] with [`PASSWORD`].
    Password,
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    room: Room,
    port: u16,
    access: Access,
}

impl Registry {
    /// What is missing on this host for a registry, if anything.
    pub fn missing() -> Option<String> {
        host::need("docker-registry", "docker-registry").err().map(|error| error.to_string())
    }

    /// Starts a registry and waits until it answers.
    pub async fn start(access: Access) -> Result<Self> {
        let mut result = Self::try_start(access).await;
        for _ in 1..TRIES {
            if result.is_ok() {
                break;
            }
            result = Self::try_start(access).await;
        }
        result
    }

    /// `127.0.0.1:port`, as image names have it. Engines take plain http from loopback addresses.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops answering, as a registry that is down.
    pub fn stop(&mut self) {
        self.process.stop(READY);
    }

    /// Answers again, on the same port and with the same content.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop(READY);
        self.process = launch(&self.room)?;
        self.ready().await
    }

    async fn try_start(access: Access) -> Result<Self> {
        let room = Room::new()?;
        let port = host::free_port()?;
        fs::write(room.path().join("config.json"), config(&room, port, access).to_string())?;
        fs::write(room.path().join("htpasswd"), HTPASSWD)?;
        let mut registry = Self { process: launch(&room)?, room, port, access };
        registry.ready().await?;
        Ok(registry)
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("http://{}/v2/", self.address());
        let client = reqwest::Client::new();
        let wanted = match self.access {
            Access::Open => StatusCode::OK,
            Access::Password => StatusCode::UNAUTHORIZED,
        };
        let check = || async {
            let answer = client.get(&url).send().await;
            Ok(answer.is_ok_and(|answer| answer.status() == wanted).then_some(()))
        };
        self.process.ready(READY, check).await
    }
}

fn launch(room: &Room) -> Result<Process> {
    let program = host::need("docker-registry", "docker-registry")?;
    let mut command = process::guarded(&program);
    // JSON is YAML.
    command.env("OTEL_TRACES_EXPORTER", "none").arg("serve").arg(room.path().join("config.json"));
    Process::start("docker-registry", command, &room.path().join("registry.log"))
}

fn config(room: &Room, port: u16, access: Access) -> serde_json::Value {
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": { "level": "warn", "accesslog": { "disabled": true } },
        "storage": {
            "filesystem": { "rootdirectory": room.path().join("storage") },
            "delete": { "enabled": true },
        },
        "http": { "addr": format!("127.0.0.1:{port}"), "secret": room.id() },
    });
    if access == Access::Password {
        let auth =
            serde_json::json!({ "htpasswd": { "realm": "slipway tests", "path": room.path().join("htpasswd") } });
        if let Some(fields) = config.as_object_mut() {
            fields.insert("auth".to_owned(), auth);
        }
    }
    config
}

/// Reads what a registry holds, as a user's `docker manifest inspect` would.
#[derive(Debug, Clone)]
pub struct RegistryClient {
    address: String,
    credentials: Option<(String, String)>,
    client: reqwest::Client,
}

impl RegistryClient {
    /// A client of the registry at `host:port`.
    pub fn new(address: &str, credentials: Option<(&str, &str)>) -> Self {
        let credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        Self { address: address.to_owned(), credentials, client: reqwest::Client::new() }
    }

    /// The digest that a tag points to; `None` when there is no such tag.
    pub async fn digest(&self, repository: &str, tag: &str) -> Result<Option<String>> {
        let answer = self.get(&format!("{repository}/manifests/{tag}")).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.error_for_status().context("asking the registry for a manifest")?;
        let digest = answer.headers().get("docker-content-digest").context("the registry sent no digest")?;
        Ok(Some(digest.to_str()?.to_owned()))
    }

    /// A repository's tags, sorted; empty when there is no such repository.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let answer = self.get(&format!("{repository}/tags/list")).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let body: serde_json::Value = answer.error_for_status()?.json().await?;
        let mut tags: Vec<String> = serde_json::from_value(body["tags"].clone()).unwrap_or_default();
        tags.sort();
        Ok(tags)
    }

    /// The manifest of a digest or tag, and its image configuration.
    pub async fn image(&self, repository: &str, reference: &str) -> Result<(serde_json::Value, serde_json::Value)> {
        let answer = self.get(&format!("{repository}/manifests/{reference}")).await?;
        let manifest: serde_json::Value = answer.error_for_status()?.json().await?;
        let config = manifest["config"]["digest"].as_str().context("the manifest names no configuration")?;
        let answer = self.get(&format!("{repository}/blobs/{config}")).await?;
        Ok((manifest.clone(), answer.error_for_status()?.json().await?))
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let accepted =
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
        let mut request = self.client.get(format!("http://{}/v2/{path}", self.address)).header("accept", accepted);
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        request.send().await.with_context(|| format!("asking the registry at {}", self.address))
    }
}
