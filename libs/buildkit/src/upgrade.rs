//! From a connection to a Docker engine to one that speaks HTTP/2: `POST /grpc` or `/session` with
//! `Upgrade: h2c`, answered by 101 (Docker Engine API, "Initialize interactive session").

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use crate::error::{SolveError, innermost};
use crate::socket::Wire;

/// Most bytes of a refusal that are read.
const MAX_REFUSAL_BYTES: usize = 4096;

/// Asks for HTTP/2 under this path; the answer is the connection.
pub async fn upgrade(wire: Box<dyn Wire>, path: &'static str, headers: HeaderMap) -> Result<Upgraded, SolveError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(|error| lost(&error))?;
    let asked = Box::pin(async move {
        let response = sender.send_request(question(path, headers)).await.map_err(|error| lost(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(path, response).await);
        }
        hyper::upgrade::on(response).await.map_err(|error| lost(&error))
    });
    // The connection's work is done when it is handed over; both are needed until then.
    match select(asked, Box::pin(connection.with_upgrades())).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, asked)) => asked.await,
    }
}

fn question(path: &'static str, headers: HeaderMap) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static("h2c"));
    request
}

async fn refusal(path: &str, response: Response<Incoming>) -> SolveError {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_REFUSAL_BYTES).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    SolveError::Lost(format!("it answered {status} to {path}: {}", String::from_utf8_lossy(&text).trim()))
}

fn lost(error: &hyper::Error) -> SolveError {
    SolveError::Lost(innermost(error))
}
