//! An engine that is there, has nothing in it and builds nothing: enough for what happens around a build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipway_runtime::lifecycle::{Life, Task};
use tokio::net::UnixListener;

/// Listens on a socket in this folder until the task is dropped.
pub fn start(life: &Life, dir: &Path) -> (PathBuf, Task<()>) {
    start_counting(life, dir, Arc::default())
}

/// The same; it counts how often it was asked what it is.
pub fn start_counting(life: &Life, dir: &Path, asked: Arc<AtomicU32>) -> (PathBuf, Task<()>) {
    let socket = dir.join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let router = Router::new().fallback(move |request| answer(Arc::clone(&asked), request));
    let serving = life.task("engine", async move { axum::serve(listener, router).await.expect("serves") });
    (socket, serving)
}

async fn answer(asked: Arc<AtomicU32>, request: Request) -> Response {
    let path = request.uri().path();
    if path.ends_with("/_ping") {
        return ([("Api-Version", "1.43"), ("Builder-Version", "2")], "OK").into_response();
    }
    let body = if path.ends_with("/version") {
        json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64",
            "Components": [], "GitCommit": "", "GoVersion": "", "KernelVersion": "", "BuildTime": ""})
    } else if path.ends_with("/info") {
        asked.fetch_add(1, Ordering::Relaxed);
        json!({"OSType": "linux", "Architecture": "x86_64", "ID": "fake", "DockerRootDir": "/data"})
    } else {
        json!([])
    };
    axum::Json(body).into_response()
}
