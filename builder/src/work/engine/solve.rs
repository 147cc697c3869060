//! A build that mounts secrets. They are served to the engine from here, which `POST /build` has no way to do.

use bytes::Bytes;
use slipway_buildkit::client::BuildKit;
use slipway_buildkit::endpoint::Endpoint;
use slipway_buildkit::error::SolveError;
use slipway_buildkit::socket::Address;
use slipway_buildkit::solve::{Export, Solve};
use slipway_domain::dockerfile::Outline;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::spec::NetworkMode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::build::{BuildRequest, explain_text, forward};
use super::steps::Steps;
use super::{Engine, EngineAddress, StepEvent, down};
use crate::work::{cancelled, io_failure};

/// Messages of progress between the client and the steps; what has no room waits on disk.
const QUEUE: usize = 16;
/// The most of it that may wait there.
const WAITING_MAX_BYTES: u64 = 1 << 30;

impl Engine {
    pub(super) async fn solve(
        &self,
        request: BuildRequest,
        (steps, outline): (&mut Steps, &Outline),
        events: &mpsc::Sender<StepEvent>,
        cancel: &CancellationToken,
    ) -> Result<String, Failure> {
        let client = BuildKit::new(self.life.clone(), Endpoint::Docker(address(&self.address)));
        let (reader, mut heard) = mpsc::channel(QUEUE);
        let timeout = request.timeout;
        let solving = async { tokio::time::timeout(timeout, client.solve(solve(request), reader, cancel)).await };
        let following = async {
            while let Some(status) = heard.recv().await {
                forward(steps.take(status), events).await;
            }
        };
        let (solved, ()) = tokio::join!(solving, following);
        match solved.map_err(|_| down(format!("the build did not end within {} s", timeout.as_secs())))? {
            Ok(solved) => solved.image.ok_or_else(|| down("it ended the build without an image")),
            Err(SolveError::Said(said)) if said.session_lost => Err(down(said.message)),
            Err(SolveError::Said(said)) => {
                let failure = explain_text(&said.message, steps, outline);
                let line =
                    said.sources.first().and_then(|source| source.lines.first()).map(|(from, _)| i64::from(*from));
                Err(Failure { dockerfile_line: failure.dockerfile_line.or(line), ..failure })
            }
            Err(SolveError::Lost(reason)) => Err(down(reason)),
            Err(SolveError::Cancelled) => Err(cancelled()),
            Err(SolveError::Here { what, error }) => Err(io_failure(what, &error)),
            Err(SolveError::Invalid(reason)) => Err(Failure::new(FailureClass::BuildRejected, reason)),
        }
    }
}

fn address(address: &EngineAddress) -> Address {
    match address {
        EngineAddress::Unix(path) => Address::Unix(path.clone()),
        EngineAddress::Tcp(host) => Address::Tcp(host.clone()),
    }
}

fn solve(request: BuildRequest) -> Solve {
    // Beside the context, on the disk that the attempt's folder has.
    let scratch = request.context.path.parent().map_or_else(std::env::temp_dir, std::path::Path::to_path_buf);
    let options = request.options;
    Solve {
        dockerfile: request.context.dockerfile,
        target: options.target,
        args: options.args.unwrap_or_default(),
        labels: request.labels,
        no_cache: options.no_cache.unwrap_or(false),
        network: options.network.unwrap_or(NetworkMode::Default),
        secrets: request.secrets.into_iter().map(|secret| (secret.name, Bytes::from(secret.value))).collect(),
        logins: request.logins,
        scratch_max_bytes: WAITING_MAX_BYTES,
        ..Solve::new(request.context.path, scratch, Export::Image(request.image))
    }
}
