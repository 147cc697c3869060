//! The Docker engine: its HTTP API, and the BuildKit inside it for builds. Every call has connections of its
//! own that are closed when the call ends or is dropped: for a running build, that is what kills its processes.

mod build;
mod cache;
mod explain;
mod images;
mod labels;
mod lane;
mod layers;
mod prune;
mod push;
mod runs;
mod steps;
mod transfers;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bytes::Bytes;
use slipway_buildkit::socket::Address;
use slipway_domain::agent::StepReport;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;

pub use build::BuildRequest;
pub use cache::CacheUsage;
pub use labels::labels;
use lane::Lane;
pub use push::PushRequest;

/// Short questions get an answer within this time or the engine counts as down.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Label with the builder's id, by which it finds its own images again.
const LABEL_BUILDER: &str = "slipway.builder";
/// Label with the job's id.
const LABEL_JOB: &str = "slipway.job";
/// Label with the attempt's epoch.
const LABEL_EPOCH: &str = "slipway.epoch";
/// Local names of images begin with this; nothing is ever pushed under them.
const LOCAL_PREFIX: &str = "slipway-build/";

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Made once by the engine.
    pub id: String,
    /// Its release, `20.10.24+dfsg1`.
    pub version: String,
    /// Newest API that it speaks.
    pub api_version: String,
    /// Operating system and architecture, `linux-amd64`.
    pub platform: String,
    /// How it stores layers.
    pub storage_driver: String,
    /// Where its data lies, on its own host.
    pub data_root: PathBuf,
}

/// How a build goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEvent {
    /// A step that is new or changed; merged over everything that was said of it.
    Step(StepReport),
    /// What a step wrote, byte for byte; it may end in the middle of a line or character.
    Log {
        /// The step's digest.
        digest: String,
        /// 1 or 2.
        stream: i64,
        /// The bytes.
        bytes: Bytes,
    },
    /// A transfer moves on.
    Moves,
    /// The engine cut what a step wrote, from here on.
    Cut {
        /// The step's digest.
        digest: String,
    },
    /// Something that may be wrong with the Dockerfile.
    Warning {
        /// Digest of the step that it was found in, if that is known.
        digest: Option<String>,
        /// What it is.
        text: String,
        /// The line of the Dockerfile.
        line: Option<i64>,
        /// Where more is said of it.
        url: String,
    },
    /// Something that the reader of a step's log should know.
    Notice {
        /// The step's digest.
        digest: String,
        /// In words.
        text: String,
    },
}

/// One engine. Cheap to clone; connects anew for every call.
#[derive(Debug, Clone)]
pub struct Engine {
    life: Life,
    clock: Clock,
    address: Address,
}

impl Engine {
    /// An engine at an address; nothing is contacted yet.
    pub fn new(life: Life, clock: Clock, address: Address) -> Self {
        Self { life, clock, address }
    }

    /// Asks whether it is there and what it is.
    pub async fn probe(&self) -> Result<EngineInfo, Failure> {
        let lane = self.lane(QUESTION_TIMEOUT)?;
        let asked = tokio::time::timeout(QUESTION_TIMEOUT, async {
            lane.docker().ping().await?;
            tokio::try_join!(lane.docker().version(), lane.docker().info())
        });
        let (version, info) = asked
            .await
            .map_err(|_| down(format!("no answer within {} s", QUESTION_TIMEOUT.as_secs())))?
            .map_err(|error| failed(&error))?;
        let word = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        Ok(EngineInfo {
            id: word(info.id),
            version: word(version.version),
            api_version: word(version.api_version),
            platform: format!("{}-{}", word(version.os), word(version.arch)),
            storage_driver: word(info.driver),
            data_root: PathBuf::from(word(info.docker_root_dir)),
        })
    }

    /// Asks whether it is there.
    pub async fn ping(&self) -> Result<(), Failure> {
        let lane = self.lane(QUESTION_TIMEOUT)?;
        lane.docker().ping().await.map(|_| ()).map_err(|error| failed(&error))
    }

    fn lane(&self, timeout: Duration) -> Result<Lane, Failure> {
        Lane::open(&self.life, &self.address, timeout).map_err(|error| failed(&error))
    }
}

/// The local name of an attempt's image, of the variant at this place; never pushed, removed after the attempt.
pub fn local_image(attempt: AttemptRef, variant: usize) -> String {
    let first = format!("{LOCAL_PREFIX}{}:{}", attempt.job, attempt.epoch);
    if variant == 0 { first } else { format!("{first}-{variant}") }
}

/// An engine that does not answer, or not sensibly.
fn down(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::EngineDown, format!("the Docker engine does not answer: {reason}"))
}

/// An error of a call that says nothing about the build itself.
fn failed(error: &EngineError) -> Failure {
    match error {
        EngineError::DockerResponseServerError { status_code, message } => {
            let message = format!("the Docker engine answered {status_code}: {message}");
            Failure::new(FailureClass::EngineDown, message)
        }
        other => {
            let mut cause: &dyn std::error::Error = other;
            while let Some(source) = cause.source() {
                cause = source;
            }
            down(cause)
        }
    }
}
