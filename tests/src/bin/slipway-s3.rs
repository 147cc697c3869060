//! The tests' S3 server as a process of its own, so that it can be stopped and killed like any other.
//!
//! `S3_ACCESS_KEY=… S3_SECRET_KEY=… slipway-s3 127.0.0.1:9000 FOLDER`

use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};
use axum::serve::ListenerExt as _;
use slipway_tests::s3_server::{Credentials, router};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, folder] = arguments.as_slice() else {
        bail!("usage: slipway-s3 ADDRESS FOLDER");
    };
    let variable = |name| env::var(name).with_context(|| format!("{name} is not set"));
    let credentials = Credentials { access_key: variable("S3_ACCESS_KEY")?, secret_key: variable("S3_SECRET_KEY")? };
    let router = router(Path::new(folder), &credentials)?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening at {address}"))?;
    // As real stores do; else each object that is read waits 40 ms for a delayed acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.context("serving")
}
