//! What the end of a build that has no image means to the user: class, step, exit code, place and hint.

use std::sync::{Arc, Mutex, PoisonError};

use slipway_buildkit::error::{Said, SolveError};
use slipway_domain::dockerfile::{Outline, excerpt, line_of_vertex, scan};
use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_domain::nearest::nearest;
use slipway_runtime::lifecycle::Life;

use super::build::BuildRequest;
use super::down;
use super::steps::Steps;
use crate::work::context::{ContextTar, why_absent};
use crate::work::failure::{self, Verdict};
use crate::work::{cancelled, io_failure};

/// Codes of gRPC by which an engine speaks of itself and not of the build: resources, abort, its inside, not there.
const OWN_TROUBLE: [i32; 4] = [8, 10, 13, 14];
/// How BuildKit calls the step that asks a registry for a base image.
const METADATA: &str = "[internal] load metadata for ";
/// So many stages are named in a hint.
const MAX_STAGES: usize = 20;

/// Why the engine was given no token; more than one, where several registries were asked.
pub(super) type Refused = Arc<Mutex<Vec<Failure>>>;

/// What was to be built.
pub(super) struct Subject {
    context: ContextTar,
    outline: Outline,
    target: Option<String>,
    /// Registries that there are logins for.
    hosts: Vec<String>,
    refused: Refused,
}

impl Subject {
    pub(super) fn of(request: &BuildRequest, refused: Refused) -> Self {
        Self {
            context: request.context.clone(),
            outline: scan(&request.context.dockerfile_text),
            target: request.options.target.clone(),
            hosts: request.logins.iter().map(|login| login.host.clone()).collect(),
            refused,
        }
    }

    pub(super) async fn explain(self, error: SolveError, steps: &Steps, life: &Life) -> Failure {
        let said = match error {
            SolveError::Said(said) => said,
            SolveError::Lost(reason) => return down(reason),
            SolveError::Cancelled => return cancelled(),
            SolveError::Here { what, error } => return io_failure(what, &error),
            SolveError::Invalid(reason) => return Failure::new(FailureClass::BuildRejected, reason),
        };
        let failure = self.explain_said(&said, steps);
        if failure.class != FailureClass::CopySourceMissing || failure.detail.hint.is_some() {
            return failure;
        }
        let Some(path) = quoted_path(&said.message).map(str::to_owned) else { return failure };
        let hint = life.blocking("look for a COPY's source", move || why_absent(&self.context, &path)).await;
        let detail = Box::new(Detail { hint: hint.ok().flatten(), ..*failure.detail });
        Failure { detail, ..failure }
    }

    /// The engine's words with the step in which it happened and that step's line.
    fn explain_said(&self, said: &Said, steps: &Steps) -> Failure {
        let Verdict { class, exit_code, line, text } = failure::of_build(&said.message);
        let refused = self.refused_in(&said.message);
        let class = match refused.as_ref().map_or(class, |refused| refused.class) {
            // Nobody here cancelled it.
            FailureClass::Cancelled => FailureClass::EngineDown,
            FailureClass::BuildRejected if OWN_TROUBLE.contains(&said.code) => FailureClass::EngineDown,
            // Without the session no step gets what it needs; a command that failed is still the user's.
            _ if said.session_lost && exit_code.is_none() => FailureClass::EngineDown,
            class => class,
        };
        let step = steps.failed_with(&said.message).map(|step| step.name.clone());
        let told = said.sources.iter().find_map(|source| source.lines.first()).map(|(first, _)| *first as usize);
        let line = line.and_then(|line| usize::try_from(line).ok()).or(told);
        let line = line.or_else(|| line_of_vertex(&self.outline, step.as_deref()?));
        let shown: Option<String> = step.as_ref().map(|name| name.chars().take(200).collect());
        let message = match (&shown, exit_code) {
            (Some(name), Some(code)) => format!("{name} ended with exit code {code}"),
            (Some(name), None) => format!("{name}: {text}"),
            (None, _) => text,
        };
        let hint = refused.and_then(|refused| refused.detail.hint).or_else(|| self.hint(class, step.as_deref(), line));
        let dockerfile = line.map(|_| self.context.dockerfile_in_repository());
        let excerpt = line.map(|line| excerpt(&self.context.dockerfile_text, &self.outline, line));
        Failure {
            step,
            exit_code,
            dockerfile_line: line.and_then(|line| i64::try_from(line).ok()),
            detail: Box::new(Detail { dockerfile, excerpt: excerpt.unwrap_or_default(), hint, ..Detail::default() }),
            ..Failure::new(class, message)
        }
    }

    /// What the engine was told here and says again.
    fn refused_in(&self, message: &str) -> Option<Failure> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().find(|failure| message.contains(&failure.message)).cloned()
    }

    fn hint(&self, class: FailureClass, step: Option<&str>, line: Option<usize>) -> Option<String> {
        match class {
            FailureClass::TargetMissing => Some(self.stages_there_are()),
            FailureClass::BaseImageMissing | FailureClass::RegistryAuth => {
                let image = self.base_image(step, line)?;
                let (host, login) = (host_of(&image), self.hosts.iter().any(|host| *host == host_of(&image)));
                let login = match login {
                    true => format!(
                        "or does the stored login of {host} not open it? POST /api/v1/registries replaces that login."
                    ),
                    false => {
                        format!("or is it private? No login of {host} is stored; POST /api/v1/registries stores one.")
                    }
                };
                Some(format!("Is {image} the right name and tag, {login}"))
            }
            FailureClass::CopySourceMissing => {
                let instruction = self.outline.instructions.iter().find(|it| Some(it.line) == line)?;
                let mut flags = instruction.arguments.split_whitespace().take_while(|word| word.starts_with("--"));
                let from = flags.find_map(|flag| flag.strip_prefix("--from="))?;
                Some(format!(
                    "The stage or image {} has no such path; look what the steps before make there.",
                    cut(from)
                ))
            }
            _ => None,
        }
    }

    fn stages_there_are(&self) -> String {
        let names: Vec<&str> = self.outline.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        if names.is_empty() {
            return "No stage of the Dockerfile has a name: add AS and a name to its FROM, or remove build.target."
                .to_owned();
        }
        let near = self.target.as_deref().and_then(|target| nearest(target, &names));
        let near = near.map(|near| format!(" Did you mean {}?", cut(near))).unwrap_or_default();
        let more = if names.len() > MAX_STAGES { " and more" } else { "" };
        let names: Vec<String> = names.iter().take(MAX_STAGES).map(|name| cut(name)).collect();
        format!("Set build.target to a stage that there is: {}{more}.{near}", names.join(", "))
    }

    /// The image that a registry was asked for.
    fn base_image(&self, step: Option<&str>, line: Option<usize>) -> Option<String> {
        let asked = step.and_then(|step| step.strip_prefix(METADATA)).map(str::trim);
        let written =
            || self.outline.stages.iter().find(|stage| Some(stage.line) == line).map(|stage| stage.base.as_str());
        asked.or_else(written).map(cut)
    }
}

/// The registry of an image's name.
fn host_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// The path in `"/f" not found`.
fn quoted_path(message: &str) -> Option<&str> {
    message.split('"').skip(1).step_by(2).find(|text| text.starts_with('/'))
}

/// As much of somebody's text as a sentence can bear.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use FailureClass::*;
    use slipway_buildkit::error::Source;

    use super::*;
    use crate::work::context::Contents;

    fn subject(text: &str) -> Subject {
        let context = ContextTar {
            path: PathBuf::new(),
            tar_bytes: 0,
            contents: Contents::default(),
            dockerfile: "Dockerfile".to_owned(),
            dockerfile_text: text.to_owned(),
            checkout: PathBuf::new(),
            folder: PathBuf::new(),
        };
        Subject {
            context,
            outline: scan(text),
            target: Some("biuld".to_owned()),
            hosts: vec!["r.example".to_owned()],
            refused: Refused::default(),
        }
    }

    fn said(message: &str, code: i32, session_lost: bool) -> Said {
        Said { message: message.to_owned(), code, session_lost, ..Said::default() }
    }

    #[test]
    fn what_an_engine_says_is_the_users_or_its_own() {
        for (said, class) in [
            (said("nobody knows this", 2, false), BuildRejected),
            (said("nobody knows this", 14, false), EngineDown),
            (said("dockerfile parse error line 2: x", 13, false), DockerfileSyntax),
            (said("failed to read dockerfile: x", 2, true), EngineDown),
            (said("process \"x\" did not complete successfully: exit code: 3", 2, true), RunFailed),
            (said("context canceled", 1, false), EngineDown),
        ] {
            let failure = subject("FROM a\nRUN b\n").explain_said(&said, &Steps::default());
            assert_eq!(failure.class, class, "{said:?}");
        }
    }

    #[test]
    fn a_line_that_the_engine_tells_is_taken_and_shown() {
        let source = Source { file: "Dockerfile".to_owned(), lines: vec![(2, 3)] };
        let message = "process \"x\" did not complete successfully: exit code: 3".to_owned();
        let said = Said { message, code: 2, sources: vec![source], ..Said::default() };
        let failure = subject("FROM a\nRUN b \\\n c\n").explain_said(&said, &Steps::default());
        assert_eq!((failure.dockerfile_line, failure.exit_code), (Some(2), Some(3)));
        assert_eq!(failure.detail.dockerfile.as_deref(), Some("Dockerfile"));
        let shown: Vec<_> = failure.detail.excerpt.iter().map(|it| (it.line, it.failing)).collect();
        assert_eq!(shown, [(1, false), (2, true), (3, true)]);
    }

    #[test]
    fn why_no_token_was_given_is_known_from_here() {
        let subject = subject("FROM r.example/a\n");
        let failure = Failure::new(RegistryForbidden, "the registry r.example wants what it gets not");
        subject.refused.lock().expect("a lock").push(failure);
        let words = "failed to authorize: rpc error: code = PermissionDenied desc = the registry r.example wants what it gets not";
        assert_eq!(subject.explain_said(&said(words, 2, false), &Steps::default()).class, RegistryForbidden);
        let words = "failed to authorize: 401 Unauthorized";
        assert_eq!(subject.explain_said(&said(words, 2, false), &Steps::default()).class, RegistryAuth);
    }

    #[test]
    fn hints_name_what_there_is() {
        let named = subject("FROM a AS base\nFROM base AS build\n");
        let llb = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: ";
        let failure = named
            .explain_said(&said(&format!("{llb}target stage biuld could not be found"), 2, false), &Steps::default());
        assert_eq!(failure.advice(), "Set build.target to a stage that there is: base, build. Did you mean build?");
        assert!(subject("FROM a\n").stages_there_are().starts_with("No stage"));

        let two = subject("FROM r.example/a:1\nFROM b\nCOPY --chown=1 --from=base /x /y\n");
        for (class, step, line, wanted) in [
            (
                BaseImageMissing,
                Some("[internal] load metadata for r.example/a:1"),
                None,
                "Is r.example/a:1 the right name and tag, or does the stored login of r.example not open it? POST /api/v1/registries",
            ),
            (
                RegistryAuth,
                None,
                Some(2),
                "Is b the right name and tag, or is it private? No login of docker.io is stored; POST /api/v1/registries stores one.",
            ),
            (CopySourceMissing, None, Some(3), "The stage or image base has no such path"),
        ] {
            let hint = two.hint(class, step, line).expect("a hint");
            assert!(hint.starts_with(wanted), "{hint}");
        }
        assert_eq!(two.hint(RunFailed, None, Some(2)), None);
    }

    #[test]
    fn paths_and_hosts_are_found() {
        for (message, path) in [
            ("failed to compute cache key: \"/f\" not found: not found", Some("/f")),
            ("failed to calculate checksum of ref x::y: \"/a b/c\": not found", Some("/a b/c")),
            ("lstat: no such file", None),
        ] {
            assert_eq!(quoted_path(message), path);
        }
        for (image, host) in
            [("a", "docker.io"), ("a/b:1", "docker.io"), ("localhost/a", "localhost"), ("h:5/a", "h:5")]
        {
            assert_eq!(host_of(image), host);
        }
    }
}
