//! Passing a request on to another server, for servers of the tests that stand in between.

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// The answer of the server at `url`; 502 where there is none. The Host header stays as the client sent it.
pub async fn pass_on(client: &reqwest::Client, request: Request, url: &str) -> Response {
    forward(client, request, url).await.unwrap_or_else(|error| {
        eprintln!("passing on to {url}: {error:#}");
        StatusCode::BAD_GATEWAY.into_response()
    })
}

async fn forward(client: &reqwest::Client, request: Request, url: &str) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let request = client.request(parts.method, url);
    let request = request.headers(parts.headers).body(reqwest::Body::wrap_stream(body.into_data_stream()));
    let answer = request.send().await.context("sending the request")?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != header::TRANSFER_ENCODING) {
        response = response.header(name, value);
    }
    Ok(response.body(Body::from_stream(answer.bytes_stream()))?)
}
