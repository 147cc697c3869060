//! One build by BuildKit, through `POST /build?version=2`; those that mount secrets go another way, see `solve`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error as EngineError;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::StreamExt as _;
use slipway_domain::agent::{BuildSecret, Login, RegistryLogin};
use slipway_domain::dockerfile::{self, Outline, line_of_vertex};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::spec::{BuildOptions, NetworkMode};
use slipway_runtime::ids::random_bytes;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::steps::Steps;
use super::{Engine, StepEvent, down, failed};
use crate::work::context::ContextTar;
use crate::work::failure::{self, Verdict};
use crate::work::{cancelled, io_failure};

/// The context is read and sent in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// Under this name clients know Docker Hub's login; BuildKit asks for it so.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What to build.
#[derive(Clone)]
pub struct BuildRequest {
    /// The local name of the image, from [`super::local_image`].
    pub image: String,
    /// What is sent.
    pub context: ContextTar,
    /// The options in force; those about the context were used when it was made.
    pub options: BuildOptions,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Logins for the images that FROM names.
    pub logins: Vec<RegistryLogin>,
    /// Secrets that its steps mount.
    pub secrets: Vec<BuildSecret>,
    /// How long the engine may take to begin to answer, which it does once the context is sent.
    pub timeout: Duration,
}

impl Engine {
    /// Builds and returns the image's id. When this ends, also by a cancel or by being dropped, the
    /// connection is closed and the build's processes die. An export that had begun runs to its end, so
    /// the image's name has to be removed afterwards in any case.
    pub async fn build(
        &self,
        request: BuildRequest,
        events: &mpsc::Sender<StepEvent>,
        cancel: &CancellationToken,
    ) -> Result<String, Failure> {
        let outline = dockerfile::scan(&request.context.dockerfile_text);
        let mut steps = Steps::default();
        let building = async {
            if request.secrets.is_empty() {
                self.run_build(request, &mut steps, &outline, events).await
            } else {
                self.solve(request, (&mut steps, &outline), events, cancel).await
            }
        };
        let result = tokio::select! {
            result = building => result,
            () = cancel.cancelled() => Err(cancelled()),
        };
        forward(steps.stop(self.clock.now()), events).await;
        result
    }

    async fn run_build(
        &self,
        request: BuildRequest,
        steps: &mut Steps,
        outline: &Outline,
        events: &mpsc::Sender<StepEvent>,
    ) -> Result<String, Failure> {
        let lane = self.lane(request.timeout)?;
        let file = tokio::fs::File::open(&request.context.path).await;
        let file = file.map_err(|error| io_failure("the context", &error))?;
        let body = bollard::body_try_stream(ReaderStream::with_capacity(file, PIECE_BYTES));
        let logins = credentials(&request.logins);
        let mut stream = lane.docker().build_image(options(request), Some(logins), Some(body));
        let mut image = None;
        while let Some(item) = stream.next().await {
            match item {
                Ok(BuildInfo { aux: Some(BuildInfoAux::BuildKit(status)), .. }) => {
                    forward(steps.take(status), events).await;
                }
                Ok(BuildInfo { aux: Some(BuildInfoAux::Default(id)), .. }) => image = id.id,
                Ok(_) => {}
                Err(error) => return Err(explain(&error, steps, outline)),
            }
        }
        image.ok_or_else(|| match steps.failed() {
            Some((_, error)) => explain_text(error, steps, outline),
            None => down("it ended the build without an image"),
        })
    }
}

pub(super) async fn forward(new: Vec<StepEvent>, events: &mpsc::Sender<StepEvent>) {
    for event in new {
        // Nobody listening is no reason to stop: the attempt decides when to stop.
        let _ = events.send(event).await;
    }
}

fn options(request: BuildRequest) -> BuildImageOptions {
    let options = request.options;
    BuildImageOptions {
        version: BuilderVersion::BuilderBuildKit,
        session: Some(hex::encode(random_bytes::<16>())),
        dockerfile: request.context.dockerfile,
        t: Some(request.image),
        nocache: options.no_cache.unwrap_or(false),
        buildargs: Some(options.args.unwrap_or_default().into_iter().collect()),
        labels: Some(request.labels.into_iter().collect()),
        target: options.target.unwrap_or_default(),
        networkmode: match options.network {
            Some(NetworkMode::None) => Some("none".to_owned()),
            Some(NetworkMode::Default) | None => None,
        },
        rm: true,
        ..BuildImageOptions::default()
    }
}

fn credentials(logins: &[RegistryLogin]) -> HashMap<String, DockerCredentials> {
    let named = logins.iter().map(|entry| {
        let host = match entry.host.as_str() {
            "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB_KEY.to_owned(),
            host => host.to_owned(),
        };
        (host.clone(), credential(&host, &entry.login))
    });
    named.collect()
}

/// A login as the engine takes it.
pub(super) fn credential(host: &str, login: &Login) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.user.clone()),
        password: Some(login.password.clone()),
        serveraddress: Some(host.to_owned()),
        ..DockerCredentials::default()
    }
}

fn explain(error: &EngineError, steps: &Steps, outline: &Outline) -> Failure {
    match error {
        EngineError::DockerStreamError { error } => explain_text(error, steps, outline),
        EngineError::DockerResponseServerError { status_code, message } => {
            let known = failure::of_build(message).class != FailureClass::BuildRejected;
            // What the engine refuses outright is the user's; its own trouble is ours.
            if known || *status_code < 500 { explain_text(message, steps, outline) } else { failed(error) }
        }
        other => failed(other),
    }
}

/// The engine's text with the step in which it happened and that step's line.
pub(super) fn explain_text(text: &str, steps: &Steps, outline: &Outline) -> Failure {
    let Verdict { class, exit_code, line, text } = failure::of_build(text);
    let step = steps.failed().map(|(step, _)| step.name.clone());
    let line = line.or_else(|| {
        let line = line_of_vertex(outline, step.as_deref()?)?;
        i64::try_from(line).ok()
    });
    let shown: Option<String> = step.as_ref().map(|name| name.chars().take(200).collect());
    let message = match (&shown, exit_code) {
        (Some(name), Some(code)) => format!("{name} ended with exit code {code}"),
        (Some(name), None) => format!("{name}: {text}"),
        (None, _) => text,
    };
    Failure { class, message, step, exit_code, dockerfile_line: line }
}
