//! `POST /build`: the context in, progress out. The work is bound to the answer: when nobody reads it, the build
//! stops.

use std::io::Read as _;

use axum::body::to_bytes;
use axum::extract::{Query, Request};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::image::{Image, Labels};
use super::ledger::Ended;
use super::script::{Deed, Script, Step, log_pieces};
use super::server::{Server, refused, streamed};
use super::trace::{Progress, error_line, json_line, plan};

/// Largest context.
const MAX_CONTEXT_BYTES: usize = 256 << 20;
/// The label that tells which attempt of its job a build is.
const LABEL_EPOCH: &str = "slipway.epoch";
/// The label that tells the commit.
const LABEL_COMMIT: &str = "org.opencontainers.image.revision";

/// What is read of the question.
#[derive(Debug, Deserialize)]
struct Asked {
    t: String,
    #[serde(default)]
    dockerfile: String,
    #[serde(default)]
    labels: String,
}

/// One build.
struct Build {
    image: String,
    labels: Labels,
    context_sha256: String,
    script: Result<Script, String>,
    said: mpsc::Sender<Bytes>,
}

/// Why a build ends without an image.
enum Stop {
    /// Nobody listens.
    Gone,
    Failed(String),
    Infra(String),
}

/// Begins a build; the answer is its progress.
pub async fn answer(server: Server, request: Request) -> Response {
    let Ok(Query(asked)) = Query::<Asked>::try_from_uri(request.uri()) else {
        return refused(StatusCode::BAD_REQUEST, "a build needs a name");
    };
    let Ok(labels) = (if asked.labels.is_empty() { Ok(Labels::new()) } else { serde_json::from_str(&asked.labels) })
    else {
        return refused(StatusCode::BAD_REQUEST, "the labels are no object of texts");
    };
    let Ok(context) = to_bytes(request.into_body(), MAX_CONTEXT_BYTES).await else {
        return refused(StatusCode::BAD_REQUEST, "the context cannot be read");
    };
    streamed(|said| async move {
        let script = dockerfile(&context, &asked.dockerfile).and_then(|text| Script::read(&text));
        let context_sha256 = hex::encode(Sha256::digest(&context));
        drop(context);
        Build { image: asked.t, labels, context_sha256, script, said }.run(&server).await;
    })
}

impl Build {
    async fn run(self, server: &Server) {
        let running = server.ledger.begin(&self.image, &self.labels);
        let (ended, last) = match self.follow().await {
            Ok(()) => match Image::new(&self.context_sha256, self.labels) {
                Ok(image) => {
                    let id = image.id.clone();
                    server.images.keep(image, &self.image);
                    (Ended::Succeeded, json_line(&json!({ "id": "moby.image.id", "aux": { "ID": id } })))
                }
                Err(error) => (Ended::Infra, error_line(&format!("{error:#}"))),
            },
            Err(Stop::Failed(message)) => (Ended::Failed, error_line(&message)),
            Err(Stop::Infra(message)) => (Ended::Infra, error_line(&message)),
            Err(Stop::Gone) => return,
        };
        // Before the last word, so that whoever heard it finds it booked.
        running.end(ended);
        let _ = self.said.send(last).await;
    }

    async fn follow(&self) -> Result<(), Stop> {
        let mut load = Progress::new(0, "[internal] load build definition from Dockerfile");
        self.say(load.begin()).await?;
        let commit = self.labels.get(LABEL_COMMIT).map_or("-", String::as_str);
        self.say(load.log(format!("scripted {} {commit}\n", self.image).into_bytes())).await?;
        self.say(load.end("")).await?;
        let script = self.script.as_ref().map_err(|error| Stop::Failed(error.clone()))?;
        let steps = script.steps.iter().enumerate();
        let mut vertices: Vec<_> = steps.map(|(at, step)| (step, Progress::new(at + 1, &step.name))).collect();
        self.say(plan(vertices.iter().map(|(_, progress)| progress))).await?;
        for (step, progress) in &mut vertices {
            self.say(progress.begin()).await?;
            self.carry_out(step, progress).await?;
            self.say(progress.end("")).await?;
        }
        let mut export = Progress::new(vertices.len() + 1, "exporting to image");
        self.say(export.begin()).await?;
        self.say(export.end("")).await
    }

    async fn carry_out(&self, step: &Step, progress: &mut Progress) -> Result<(), Stop> {
        for deed in &step.deeds {
            match deed {
                Deed::Sleep(time) => tokio::time::sleep(*time).await,
                Deed::Log { lines, over } => {
                    let pieces = log_pieces(*lines, *over);
                    let pause = over.checked_div(u32::try_from(pieces.len()).unwrap_or(u32::MAX)).unwrap_or_default();
                    for piece in pieces {
                        self.say(progress.log(piece)).await?;
                        if !pause.is_zero() {
                            tokio::time::sleep(pause).await;
                        }
                    }
                }
                Deed::Fail { exit_code } => {
                    let error =
                        format!("executor failed running [/bin/sh -c {}]: exit code: {exit_code}", step.command);
                    self.say(progress.end(&error)).await?;
                    return Err(Stop::Failed(error));
                }
                Deed::Infra { until } if self.epoch() <= *until => {
                    return Err(Stop::Infra("no active session for scripted: context deadline exceeded".to_owned()));
                }
                Deed::Infra { .. } => {}
            }
        }
        Ok(())
    }

    fn epoch(&self) -> i64 {
        self.labels.get(LABEL_EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or(1)
    }

    async fn say(&self, line: Bytes) -> Result<(), Stop> {
        self.said.send(line).await.map_err(|_| Stop::Gone)
    }
}

/// The Dockerfile's text, or the engine's words when there is none.
fn dockerfile(context: &[u8], name: &str) -> Result<String, String> {
    let name = if name.is_empty() { "Dockerfile" } else { name };
    let missing = || {
        format!(
            "failed to solve with frontend dockerfile.v0: failed to read dockerfile: \
             open /var/lib/docker/tmp/buildkit-mount1/{name}: no such file or directory"
        )
    };
    let mut archive = tar::Archive::new(context);
    for entry in archive.entries().map_err(|_| missing())? {
        let mut entry = entry.map_err(|error| format!("reading the context: {error}"))?;
        if entry.path().is_ok_and(|path| path.strip_prefix("./").unwrap_or(&path).as_os_str() == name) {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(|error| format!("reading the Dockerfile: {error}"))?;
            return Ok(text);
        }
    }
    Err(missing())
}
