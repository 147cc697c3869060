//! A way out for build steps. The engine of the tests has a network that leads nowhere but to this machine; here
//! listens an HTTP proxy on the engine's side of it. Steps find it by the variables that Docker knows as build
//! arguments of every Dockerfile.

use std::convert::Infallible;

use anyhow::{Context, Result};
use axum::ServiceExt as _;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bollard::query_parameters::InspectNetworkOptions;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::engine;
use crate::pass_on::pass_on;

/// What the proxy leads to: plain and encrypted web servers.
const PORTS: [u16; 2] = [80, 443];

/// A running proxy; ended on drop.
pub struct WayOut {
    url: String,
    task: JoinHandle<()>,
}

impl WayOut {
    /// A way out for the steps of the engine at `host`.
    pub async fn start(host: &str) -> Result<Self> {
        let docker = engine::connect(host).await?;
        let network = docker.inspect_network("bridge", None::<InspectNetworkOptions>).await?;
        let mut pools = network.ipam.and_then(|ipam| ipam.config).into_iter().flatten();
        let gateway = pools.find_map(|pool| pool.gateway).context("the engine's network has no gateway")?;
        let listener = TcpListener::bind((gateway.as_str(), 0)).await.context("listening as a proxy")?;
        let url = format!("http://{}", listener.local_addr()?);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let service = tower::service_fn(move |request: Request| {
            let client = client.clone();
            async move { Ok::<_, Infallible>(answer(client, request).await) }
        });
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service.into_make_service()).await {
                eprintln!("the way out ended: {error}");
            }
        });
        Ok(Self { url, task })
    }

    /// The build arguments by which steps find it.
    pub fn args(&self) -> Value {
        json!({ "http_proxy": self.url, "https_proxy": self.url })
    }
}

impl Drop for WayOut {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(client: reqwest::Client, request: Request) -> Response {
    let is_tunnel = request.method() == Method::CONNECT;
    let port = request.uri().port_u16().or((!is_tunnel).then_some(80));
    if !port.is_some_and(|port| PORTS.contains(&port)) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if !is_tunnel {
        let url = request.uri().to_string();
        return pass_on(&client, request, &url).await;
    }
    tunnel(request).await.unwrap_or_else(|error| {
        eprintln!("the way out: {error:#}");
        StatusCode::BAD_GATEWAY.into_response()
    })
}

async fn tunnel(request: Request) -> Result<Response> {
    let to = request.uri().authority().context("a tunnel leads somewhere")?.clone();
    let far = TcpStream::connect(to.as_str()).await.with_context(|| format!("connecting to {to}"))?;
    tokio::spawn(async move {
        if let Ok(near) = hyper::upgrade::on(request).await {
            join(near, far).await;
        }
    });
    Ok(StatusCode::OK.into_response())
}

async fn join(near: Upgraded, mut far: TcpStream) {
    // Either side may hang up at any time.
    let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut far).await;
}
