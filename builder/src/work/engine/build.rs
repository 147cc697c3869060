//! One build by BuildKit, and what its end means to the user.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use slipway_buildkit::client::BuildKit;
use slipway_buildkit::endpoint::Endpoint;
use slipway_buildkit::error::{Said, SolveError};
use slipway_buildkit::solve::{Export, Solve};
use slipway_domain::agent::{BuildSecret, RegistryLogin};
use slipway_domain::dockerfile::{self, Outline, line_of_vertex};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::spec::{BuildOptions, NetworkMode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::steps::Steps;
use super::{Engine, StepEvent, down};
use crate::work::context::ContextTar;
use crate::work::failure::{self, Verdict};
use crate::work::{cancelled, io_failure};

/// Messages about the build's progress that may wait for whoever takes its steps.
const QUEUE: usize = 4;
/// Hosts that are reached without a proxy.
const NO_PROXY: &str = "NO_PROXY";
/// Codes of gRPC by which an engine speaks of itself and not of the build: resources, abort, its inside, not there.
const OWN_TROUBLE: [i32; 4] = [8, 10, 13, 14];

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
    /// A word for `NO_PROXY` in the environment of all steps, which is no part of the cache's keys.
    pub marker: Option<String>,
    /// A folder of the attempt, for progress that waits for its reader.
    pub scratch: PathBuf,
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
        let (reader, mut progress) = mpsc::channel(QUEUE);
        let buildkit = BuildKit::new(self.life.clone(), Endpoint::Docker(self.address.clone()));
        let solving = buildkit.solve(solve(request), reader, cancel);
        let reading = async {
            while let Some(status) = progress.recv().await {
                forward(steps.take(status), events).await;
            }
        };
        let (result, ()) = tokio::join!(solving, reading);
        let result = match result {
            Ok(solved) => solved.image.ok_or_else(|| down("it ended the build without an image")),
            Err(error) => Err(explain(error, &steps, &outline)),
        };
        forward(steps.stop(self.clock.now()), events).await;
        result
    }
}

async fn forward(new: Vec<StepEvent>, events: &mpsc::Sender<StepEvent>) {
    for event in new {
        // Nobody listening is no reason to stop: the attempt decides when to stop.
        let _ = events.send(event).await;
    }
}

fn solve(request: BuildRequest) -> Solve {
    let BuildRequest { image, context, options, labels, logins, secrets, marker, scratch } = request;
    let mut args = options.args.unwrap_or_default();
    if let Some(marker) = marker {
        mark(&mut args, &marker);
    }
    Solve {
        dockerfile: context.dockerfile,
        target: options.target,
        args,
        labels,
        no_cache: options.no_cache.unwrap_or(false),
        network: options.network.unwrap_or(NetworkMode::Default),
        secrets: secrets.into_iter().map(|secret| (secret.name, Bytes::from(secret.value))).collect(),
        logins,
        ..Solve::new(context.path, scratch, Export::Image(image))
    }
}

/// The user's own words stay: engines take the argument in any case, and one of several as it comes.
fn mark(args: &mut BTreeMap<String, String>, marker: &str) {
    let mut marked = false;
    for (_, value) in args.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(NO_PROXY)) {
        let words = value.split(',').filter(|word| !word.is_empty()).chain([marker]);
        *value = words.collect::<Vec<_>>().join(",");
        marked = true;
    }
    if !marked {
        args.insert(NO_PROXY.to_owned(), marker.to_owned());
    }
}

fn explain(error: SolveError, steps: &Steps, outline: &Outline) -> Failure {
    match error {
        SolveError::Said(said) => explain_said(&said, steps, outline),
        SolveError::Lost(reason) => down(reason),
        SolveError::Cancelled => cancelled(),
        SolveError::Here { what, error } => io_failure(what, &error),
        SolveError::Invalid(reason) => Failure::new(FailureClass::BuildRejected, reason),
    }
}

/// The engine's words with the step in which it happened and that step's line.
fn explain_said(said: &Said, steps: &Steps, outline: &Outline) -> Failure {
    let Verdict { class, exit_code, line, text } = failure::of_build(&said.message);
    let class = match class {
        // Nobody here cancelled it.
        FailureClass::Cancelled => FailureClass::EngineDown,
        FailureClass::BuildRejected if OWN_TROUBLE.contains(&said.code) => FailureClass::EngineDown,
        // Without the session no step gets what it needs; a command that failed is still the user's.
        _ if said.session_lost && exit_code.is_none() => FailureClass::EngineDown,
        class => class,
    };
    let step = steps.failed().map(|(step, _)| step.name.clone());
    let told = said.sources.iter().find_map(|source| source.lines.first()).map(|(first, _)| i64::from(*first));
    let line = line.or(told).or_else(|| {
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

#[cfg(test)]
mod tests {
    use FailureClass::*;
    use slipway_buildkit::error::Source;

    use super::*;

    #[test]
    fn what_an_engine_says_is_the_users_or_its_own() {
        let outline = dockerfile::scan("FROM a\nRUN b\n");
        let said = |message: &str, code: i32, session_lost: bool| Said {
            message: message.to_owned(),
            code,
            session_lost,
            ..Said::default()
        };
        for (said, class) in [
            (said("nobody knows this", 2, false), BuildRejected),
            (said("nobody knows this", 14, false), EngineDown),
            (said("dockerfile parse error line 2: x", 13, false), DockerfileSyntax),
            (said("failed to read dockerfile: x", 2, true), EngineDown),
            (said("process \"x\" did not complete successfully: exit code: 3", 2, true), RunFailed),
            (said("context canceled", 1, false), EngineDown),
        ] {
            let failure = explain_said(&said, &Steps::default(), &outline);
            assert_eq!(failure.class, class, "{said:?}");
        }
    }

    #[test]
    fn a_line_that_the_engine_tells_is_taken() {
        let source = Source { file: "Dockerfile".to_owned(), lines: vec![(4, 6)] };
        let message = "process \"x\" did not complete successfully: exit code: 3".to_owned();
        let said = Said { message, code: 2, sources: vec![source], ..Said::default() };
        let failure = explain_said(&said, &Steps::default(), &dockerfile::scan(""));
        assert_eq!((failure.dockerfile_line, failure.exit_code), (Some(4), Some(3)));
    }
}
