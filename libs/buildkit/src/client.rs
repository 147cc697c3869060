//! Builds, and what the engine's cache holds.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::{
    DiskUsageRequest, PruneRequest, SolveRequest, SolveResponse, StatusResponse, UsageRecord,
};
use futures_util::future::{Either, select};
use serde::Deserialize;
use slipway_domain::image::is_digest;
use slipway_runtime::ids::random_bytes;
use slipway_runtime::lifecycle::{Life, TaskFailed};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use crate::call::{Calls, STREAM_WINDOW_BYTES};
use crate::endpoint::{Endpoint, in_time};
use crate::error::SolveError;
use crate::feed::Feed;
use crate::session::{Served, Session};
use crate::solve::{Export, REGISTRY_CACHE, Solve, Solved, question_for_caches};
use crate::spill::Backlog;
use crate::watch::Watch;

/// Where the descriptor stands of a cache that was pushed, as JSON (moby/buildkit cache/remotecache/export.go).
const CACHE_MANIFEST: &str = "cache.manifest";
/// Most records of a cache that are taken.
const MAX_RECORDS: usize = 1_000_000;
/// What an exporter calls the image's id.
const IMAGE_ID: &str = "containerimage.digest";
/// The same where images are kept by containerd: there the other one is the manifest's digest.
const CONFIG_ID: &str = "containerimage.config.digest";

/// One BuildKit. Cheap to clone; connects anew for every call.
#[derive(Debug, Clone)]
pub struct BuildKit {
    life: Life,
    endpoint: Endpoint,
}

impl BuildKit {
    /// A client of this endpoint; nothing is contacted yet.
    pub fn new(life: Life, endpoint: Endpoint) -> Self {
        Self { life, endpoint }
    }

    /// Builds. Progress goes to `reader`, which may be as slow as it likes; this returns after it took the last of
    /// it. When this ends, also by a cancel or by being dropped, its connections are shut down, the build's processes
    /// die, and nothing of it is left here. An export that had begun runs to its end.
    pub async fn solve(
        &self,
        request: Solve,
        reader: mpsc::Sender<StatusResponse>,
        cancel: &CancellationToken,
    ) -> Result<Solved, SolveError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(SolveError::Cancelled),
            result = self.run(request, reader) => result,
        }
    }

    /// What the cache holds; an error after this time.
    pub async fn disk_usage(&self, within: Duration) -> Result<Vec<UsageRecord>, SolveError> {
        in_time(within, async {
            let calls = self.endpoint.calls(&self.life, STREAM_WINDOW_BYTES).await?;
            let answer = calls.control().disk_usage(DiskUsageRequest::default()).await.map_err(said)?;
            calls.close().await;
            Ok(answer.into_inner().record)
        })
        .await
    }

    /// Removes from the cache what no build uses and this request names; returns what was removed, or an error after
    /// this time.
    pub async fn prune(&self, request: PruneRequest, within: Duration) -> Result<Vec<UsageRecord>, SolveError> {
        in_time(within, async {
            let calls = self.endpoint.calls(&self.life, STREAM_WINDOW_BYTES).await?;
            let mut stream = calls.control().prune(request).await.map_err(said)?.into_inner();
            let mut removed = Vec::new();
            while let Some(record) = stream.message().await.map_err(said)? {
                if removed.len() == MAX_RECORDS {
                    return Err(SolveError::Lost(format!("it names more than {MAX_RECORDS} records of its cache")));
                }
                removed.push(record);
            }
            drop(stream);
            calls.close().await;
            Ok(removed)
        })
        .await
    }

    /// Whether a build may have [`Solve::cache_to`]: a buildkitd can, and so can a Docker engine whose images containerd
    /// keeps. Asked by a build that ends before it begins
    /// (`Controller.Solve` in moby/buildkit control/control.go).
    pub async fn keeps_caches(&self, within: Duration) -> Result<bool, SolveError> {
        in_time(within, async {
            let calls = self.endpoint.calls(&self.life, STREAM_WINDOW_BYTES).await?;
            let asked = question_for_caches(&hex::encode(random_bytes::<16>()));
            let answer = calls.control().solve(asked).await.map_err(said);
            calls.close().await;
            match answer {
                Err(SolveError::Said(said)) => {
                    Ok(said.message.contains(&format!("configure {REGISTRY_CACHE} cache exporter")))
                }
                Err(error) => Err(error),
                Ok(_) => Ok(false),
            }
        })
        .await
    }

    // What is declared last is dropped first: when this is given up, the build's connections go before the session,
    // whose end alone would leave the build running.
    async fn run(&self, request: Solve, reader: mpsc::Sender<StatusResponse>) -> Result<Solved, SolveError> {
        // All new for every build: an engine knows a reference for a while after its build has ended.
        let [reference, id, key] = [(); 3].map(|()| hex::encode(random_bytes::<16>()));
        let asked = request.request(&reference, &id, &key)?;
        let Solve { context, dockerfile, definition, secrets, logins, tokens, export, .. } = request;
        let definition = definition.map(|text| (dockerfile, text));
        let served = Served { context, key, definition, secrets, logins, tokens };
        let session = self.endpoint.session(&self.life, &id, served).await?;
        let calls = self.endpoint.calls(&self.life, STREAM_WINDOW_BYTES).await?;
        let (life, endpoint, solved) = (self.life.clone(), self.endpoint.clone(), CancellationToken::new());
        let backlog = Backlog::new(life.clone(), request.scratch, request.scratch_max_bytes);
        let feed = Feed { watch: Watch { life, endpoint, reference, solved }, reader, backlog };
        let answer = self.follow(&calls, asked, feed).await;
        // A lost session explains an answer, so it is looked at before anything is closed.
        let answer = answer.map_err(|error| blamed(error, &session));
        calls.close().await;
        session.close().await;
        result(answer?, &export)
    }

    /// Until the build has ended and its progress has been read.
    async fn follow(&self, calls: &Calls, asked: SolveRequest, feed: Feed) -> Result<SolveResponse, SolveError> {
        let solved = feed.watch.solved.clone();
        let mut control = calls.control();
        let solving = Box::pin(async move { control.solve(asked).await });
        let feeding = Box::pin(self.life.task("build progress", feed.run()).join());
        match select(solving, feeding).await {
            Either::Left((answer, feeding)) => {
                solved.cancel();
                // What the engine said comes first; what became of its progress is told where it said no error.
                let fed = flat(feeding.await);
                let answer = answer.map(Response::into_inner).map_err(said)?;
                fed.map(|()| answer)
            }
            Either::Right((fed, solving)) => {
                flat(fed)?;
                solving.await.map(Response::into_inner).map_err(said)
            }
        }
    }
}

fn said(status: Status) -> SolveError {
    SolveError::of(&status)
}

fn flat(fed: Result<Result<(), SolveError>, TaskFailed>) -> Result<(), SolveError> {
    fed.unwrap_or_else(|error| Err(SolveError::Lost(error.to_string())))
}

/// The engine's words with what it does not know: that the fault is ours, or that it lost us.
fn blamed(error: SolveError, session: &Session) -> SolveError {
    match (error, session.failure()) {
        (SolveError::Said(_), Some(error)) => SolveError::Here { what: "reading the build context", error },
        (SolveError::Said(mut said), None) => {
            said.session_lost = !session.is_open();
            SolveError::Said(said)
        }
        (error, _) => error,
    }
}

fn result(answer: SolveResponse, export: &Export) -> Result<Solved, SolveError> {
    let exported: BTreeMap<String, String> = answer.exporter_response.into_iter().collect();
    let image = match export {
        Export::Nothing => None,
        Export::Image(_) => {
            let id = exported.get(CONFIG_ID).or_else(|| exported.get(IMAGE_ID)).filter(|id| is_digest(id));
            let missing = || SolveError::Lost("it ended the build without an image".to_owned());
            Some(id.ok_or_else(missing)?.clone())
        }
    };
    let cache = exported.get(CACHE_MANIFEST).and_then(|text| serde_json::from_str::<Descriptor>(text).ok());
    let cache = cache.map(|found| found.digest).filter(|digest| is_digest(digest));
    Ok(Solved { image, cache, exported })
}

/// What an engine says of what it pushed.
#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}
