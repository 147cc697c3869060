//! The scripted engine as a process of its own, so that it can be stopped and killed like any other.
//!
//! `slipway-scripted-engine /path/to/docker.sock`

use std::env;
use std::fs;

use anyhow::{Context, Result, bail};
use slipway_tests::scripted_engine::router;
use tokio::net::UnixListener;

/// One thread: many engines share a machine with what they test.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [socket] = arguments.as_slice() else {
        bail!("usage: slipway-scripted-engine SOCKET");
    };
    // A killed one leaves it.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).with_context(|| format!("listening at {socket}"))?;
    axum::serve(listener, router()?).await.context("serving")
}
