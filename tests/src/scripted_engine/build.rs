//! One build: the context in, progress and an image out. It lives inside its call: when that is given up, it stops.

use std::collections::BTreeMap;
use std::io::Read as _;

use bollard_buildkit_proto::moby::buildkit::v1::{SolveRequest, SolveResponse};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::image::{Image, Labels};
use super::jobs::Reported;
use super::ledger::Ended;
use super::output::output_pieces;
use super::push;
use super::script::{Deed, PIECE_BYTES, Script, Step, log_pieces, small_pieces};
use super::server::Server;
use super::trace::{Progress, plan};

/// The label that tells which attempt of its job a build is.
const LABEL_EPOCH: &str = "slipway.epoch";
/// The label that tells the commit.
const LABEL_COMMIT: &str = "org.opencontainers.image.revision";

/// A transfer is told so often.
const MOVES: u32 = 20;

/// One build.
struct Build {
    image: String,
    labels: Labels,
    context_sha256: String,
    script: Result<Script, String>,
    cache_from: Vec<String>,
    asked: BTreeMap<String, String>,
    job: Reported,
}

/// Why a build ends without an image.
enum Stop {
    Failed(String),
    Infra(String),
}

/// Builds.
pub async fn run(server: &Server, asked: SolveRequest) -> Result<SolveResponse, Status> {
    let exports = asked.cache.as_ref().map_or_else(Vec::new, |cache| cache.exports.clone());
    let kept = exports.iter().find(|export| export.r#type == "registry");
    if kept.is_some_and(|kept| !kept.attrs.contains_key("ref")) {
        // As engines say it that keep caches in registries.
        return Err(Status::unknown("failed to configure registry cache exporter: missing ref"));
    }
    let job = server.jobs.begin(&asked.r#ref);
    let attribute = |name: &str| asked.frontend_attrs.get(name).map_or("", String::as_str);
    let context = server.sessions.upload(&asked.session, attribute("context")).await?;
    let cache_from = attribute("cache-from").split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if let Some(to) = kept.and_then(|kept| kept.attrs.get("ref")) {
        let mode = kept.and_then(|kept| kept.attrs.get("mode")).map_or("", String::as_str);
        if mode != "max" || !server.ledger.was_built(&as_asked(&asked)) {
            return Err(Status::unknown(format!("scripted: mode {mode:?} of a build that was never asked for")));
        }
        return keep(server, to, &hex::encode(Sha256::digest(&context))).await;
    }
    let script = dockerfile(&context, attribute("filename")).and_then(|text| Script::read(&text));
    let label = |(name, value): (&String, &String)| Some((name.strip_prefix("label:")?.to_owned(), value.clone()));
    let build = Build {
        image: asked.exporter_attrs_deprecated.get("name").cloned().unwrap_or_default(),
        labels: asked.frontend_attrs.iter().filter_map(label).collect(),
        context_sha256: hex::encode(Sha256::digest(&context)),
        script,
        cache_from,
        asked: as_asked(&asked),
        job,
    };
    drop(context);
    build.run(server).await
}

/// What decides on the steps of a build: not where its context comes from, what it may begin with, or who waits for it.
fn as_asked(asked: &SolveRequest) -> BTreeMap<String, String> {
    let differs = ["context", "cache-from", "build-arg:NO_PROXY"];
    let same = asked.frontend_attrs.iter().filter(|(name, _)| !differs.contains(&name.as_str()));
    same.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Pushes what all steps made. They were run a moment ago, and are not again; an image stands for what they made.
async fn keep(server: &Server, reference: &str, context_sha256: &str) -> Result<SolveResponse, Status> {
    let labels = Labels::from([("cache".to_owned(), reference.to_owned())]);
    let image = Image::new(context_sha256, labels).map_err(|error| Status::unknown(format!("{error:#}")))?;
    let digest = push::cache(server, reference, image).await.map_err(Status::unknown)?;
    server.ledger.kept(reference);
    let descriptor = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest });
    Ok(SolveResponse { exporter_response: [("cache.manifest".to_owned(), descriptor.to_string())].into() })
}

impl Build {
    async fn run(self, server: &Server) -> Result<SolveResponse, Status> {
        let running = server.ledger.begin(&self.image, &self.labels);
        server.ledger.begins_with(&self.image, self.cache_from.clone());
        server.ledger.built(self.asked.clone());
        let followed = self.follow().await;
        let (ended, answer) = match followed {
            Ok(()) => match Image::new(&self.context_sha256, self.labels) {
                Ok(image) => {
                    let id = image.id.clone();
                    server.images.keep(image, &self.image);
                    let exporter_response = [("containerimage.digest".to_owned(), id)].into();
                    (Ended::Succeeded, Ok(SolveResponse { exporter_response }))
                }
                Err(error) => (Ended::Infra, Err(Status::unknown(format!("{error:#}")))),
            },
            Err(Stop::Failed(message)) => (Ended::Failed, Err(Status::unknown(message))),
            Err(Stop::Infra(message)) => (Ended::Infra, Err(Status::unknown(message))),
        };
        // Before the last word, so that whoever heard it finds it booked.
        running.end(ended);
        answer
    }

    async fn follow(&self) -> Result<(), Stop> {
        let mut load = Progress::new(0, "[internal] load build definition from Dockerfile");
        self.job.say(load.begin());
        let commit = self.labels.get(LABEL_COMMIT).map_or("-", String::as_str);
        self.job.say(load.log(format!("scripted {} {commit}\n", self.image).into_bytes()));
        self.job.say(load.end(""));
        let script = self.script.as_ref().map_err(|error| Stop::Failed(error.clone()))?;
        let steps = script.steps.iter().enumerate();
        let mut vertices: Vec<_> = steps.map(|(at, step)| (step, Progress::new(at + 1, &step.name))).collect();
        let digests: Vec<String> = vertices.iter().map(|(_, progress)| progress.digest()).collect();
        for (step, progress) in &mut vertices {
            progress.takes(step.inputs.iter().map(|at| digests[*at].clone()));
        }
        self.job.say(plan(vertices.iter().map(|(_, progress)| progress)));
        for (step, progress) in &mut vertices {
            self.job.say(progress.begin());
            self.carry_out(step, progress).await?;
            self.job.say(progress.end(""));
        }
        let mut export = Progress::new(vertices.len() + 1, "exporting to image");
        self.job.say(export.begin());
        self.job.say(export.end(""));
        Ok(())
    }

    async fn carry_out(&self, step: &Step, progress: &mut Progress) -> Result<(), Stop> {
        for deed in &step.deeds {
            match deed {
                Deed::Sleep(time) => tokio::time::sleep(*time).await,
                Deed::Log { lines, over } => {
                    let pieces = log_pieces(*lines, *over);
                    let pause = over.checked_div(u32::try_from(pieces.len()).unwrap_or(u32::MAX)).unwrap_or_default();
                    for piece in pieces {
                        self.job.say(progress.log(piece));
                        if !pause.is_zero() {
                            tokio::time::sleep(pause).await;
                        }
                    }
                }
                Deed::Output { lines } => {
                    for piece in output_pieces(*lines, PIECE_BYTES) {
                        self.job.say(progress.log(piece));
                        // The readers' connections need the thread, too.
                        tokio::task::yield_now().await;
                    }
                }
                Deed::Say(line) => self.job.say(progress.log(format!("{line}\n").into_bytes())),
                Deed::Complain(line) => self.job.say(progress.error_log(format!("{line}\n").into_bytes())),
                Deed::Warn { line, text } => self.job.say(progress.warning(*line, text)),
                Deed::Move { bytes, over } => {
                    for part in 1..=MOVES {
                        self.job.say(progress.moved(bytes * i64::from(part) / i64::from(MOVES), *bytes));
                        tokio::time::sleep(*over / MOVES).await;
                    }
                }
                Deed::Fail { exit_code } => {
                    let error =
                        format!("executor failed running [/bin/sh -c {}]: exit code: {exit_code}", step.command);
                    self.job.say(progress.end(&error));
                    return Err(Stop::Failed(error));
                }
                Deed::Infra { until } if self.epoch() <= *until => {
                    return Err(Stop::Infra("no active session for scripted: context deadline exceeded".to_owned()));
                }
                Deed::Infra { .. } => {}
                Deed::Bytes(bytes) => small_pieces(bytes).for_each(|piece| self.job.say(progress.log(piece))),
            }
        }
        Ok(())
    }

    fn epoch(&self) -> i64 {
        self.labels.get(LABEL_EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or(1)
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
