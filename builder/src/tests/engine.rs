//! An engine that is there, has nothing in it and builds nothing: enough for what happens around a build.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipway_runtime::lifecycle::{Life, Task};
use tokio::net::UnixListener;

/// Listens on a socket in this folder until the task is dropped.
pub fn start(life: &Life, dir: &Path) -> (PathBuf, Task<()>) {
    let socket = dir.join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let router = Router::new().fallback(answer);
    let serving = life.task("engine", async move { axum::serve(listener, router).await.expect("serves") });
    (socket, serving)
}

async fn answer(request: Request) -> Response {
    let path = request.uri().path();
    if path.ends_with("/_ping") {
        return ([("Api-Version", "1.43"), ("Builder-Version", "2")], "OK").into_response();
    }
    let body = if path.ends_with("/version") {
        json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64",
            "Components": [], "GitCommit": "", "GoVersion": "", "KernelVersion": "", "BuildTime": ""})
    } else if path.ends_with("/info") {
        json!({"OSType": "linux", "Architecture": "x86_64", "ID": "fake"})
    } else {
        json!([])
    };
    axum::Json(body).into_response()
}
