//! The routes, with or without an API version before them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode, header};
use hyper::upgrade::Upgraded;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::image::{Images, digest};
use super::jobs::Jobs;
use super::ledger::Ledger;
use super::sessions::Sessions;
use super::{control, push};

/// Messages that may wait for the reader of an answer.
const QUEUE: usize = 4;

/// An engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    pub ledger: Ledger,
    pub images: Arc<Images>,
    pub jobs: Jobs,
    pub sessions: Sessions,
    pub client: reqwest::Client,
}

/// A new engine that knows no image, to be served on a unix socket.
pub fn router() -> Result<Router> {
    // What a tag is pushed to is on this machine.
    let client = reqwest::Client::builder().no_proxy().build().context("making a client of registries")?;
    let server = Server {
        ledger: Ledger::default(),
        images: Arc::default(),
        jobs: Jobs::default(),
        sessions: Sessions::default(),
        client,
    };
    Ok(Router::new().fallback(answer).with_state(server))
}

/// An answer that is a stream of what `work` says. The work ends when nobody reads it any more.
pub fn streamed<F>(work: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (said, heard) = mpsc::channel(QUEUE);
    let work = work(said.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = said.closed() => {}
        }
    });
    let lines = stream::unfold(heard, |mut heard| async {
        let line = heard.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), heard))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

/// An error as the engine answers it.
pub fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let path = unversioned(request.uri().path()).to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET | &Method::HEAD, "/_ping") => ping(),
        (&Method::GET, "/version") => Json(version()).into_response(),
        (&Method::GET, "/info") => Json(info()).into_response(),
        (&Method::GET, "/_scripted/state") => Json(server.ledger.told(server.images.count())).into_response(),
        (&Method::POST, "/session") => session(server, request),
        (&Method::POST, "/grpc") => upgraded(request, move |connection| control::serve(server, connection)),
        (&Method::GET, "/images/json") => list(&server, &request),
        (method, path) => match path.strip_prefix("/images/") {
            Some(image) if method == Method::DELETE => removed(&server, image),
            Some(image) if method == Method::GET => inspect(&server, image),
            Some(image) if method == Method::POST => change(server, image, &request),
            Some(_) | None => refused(StatusCode::NOT_FOUND, "page not found"),
        },
    }
}

/// `/v1.41/info` is `/info`.
fn unversioned(path: &str) -> &str {
    let rest = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    rest.unwrap_or(path)
}

fn ping() -> Response {
    ([("Api-Version", "1.41"), ("Builder-Version", "2"), ("Ostype", "linux")], "OK").into_response()
}

fn version() -> Value {
    json!({
        "Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64",
        "Components": [], "GitCommit": "", "GoVersion": "", "KernelVersion": "", "BuildTime": "",
    })
}

fn info() -> Value {
    json!({
        "ID": format!("scripted-{}", std::process::id()), "Name": "scripted", "OSType": "linux", "Architecture": "x86_64", "Driver": "none",
        "DockerRootDir": "/", "ServerVersion": "20.10.24",
    })
}

/// Takes a connection over and holds it under the id that its client gave it.
fn session(server: Server, request: Request) -> Response {
    let id = request.headers().get("x-docker-expose-session-uuid").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    upgraded(request, move |connection| async move { server.sessions.hold(id, connection).await })
}

/// Takes a connection over.
fn upgraded<F>(mut request: Request, serve: impl FnOnce(Upgraded) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send,
{
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(connection) = upgrade.await {
            serve(connection).await;
        }
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "h2c")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn list(server: &Server, request: &Request) -> Response {
    let query = query(request);
    let filters = query.get("filters").map_or("{}", String::as_str);
    match serde_json::from_str::<HashMap<String, Vec<String>>>(filters) {
        Ok(filters) => {
            let labels = filters.get("label").map(Vec::as_slice).unwrap_or_default();
            Json(server.images.list(labels)).into_response()
        }
        Err(_) => refused(StatusCode::BAD_REQUEST, "invalid filter"),
    }
}

fn inspect(server: &Server, path: &str) -> Response {
    if let Some(image) = path.strip_suffix("/history").and_then(|name| server.images.get(name)) {
        let entry = json!({
            "Id": image.id, "Created": 0, "CreatedBy": "COPY . / # buildkit", "Tags": null,
            "Size": image.layer.len(), "Comment": "",
        });
        return Json(json!([entry])).into_response();
    }
    match path.strip_suffix("/json").and_then(|name| server.images.get(name)) {
        Some(image) => {
            let config = json!({ "Labels": image.labels });
            let root = json!({ "Type": "layers", "Layers": [digest(&image.layer)] });
            Json(json!({ "Id": image.id, "Config": config, "Size": image.layer.len(), "RootFS": root })).into_response()
        }
        None => no_such_image(path),
    }
}

fn removed(server: &Server, name: &str) -> Response {
    server.images.remove(name).map_or_else(|| no_such_image(name), |removed| Json(removed).into_response())
}

fn change(server: Server, path: &str, request: &Request) -> Response {
    match path.rsplit_once('/') {
        Some((name, "push")) => push::answer(server, name, request),
        Some((name, "tag")) => {
            let query = query(request);
            let part = |key: &str| query.get(key).map_or("", String::as_str);
            match server.images.tag(name, &format!("{}:{}", part("repo"), part("tag"))) {
                true => StatusCode::CREATED.into_response(),
                false => no_such_image(name),
            }
        }
        Some(_) | None => refused(StatusCode::NOT_FOUND, "page not found"),
    }
}

fn query(request: &Request) -> HashMap<String, String> {
    Query::try_from_uri(request.uri()).map(|Query(query)| query).unwrap_or_default()
}

fn no_such_image(name: &str) -> Response {
    refused(StatusCode::NOT_FOUND, &format!("No such image: {name}"))
}
