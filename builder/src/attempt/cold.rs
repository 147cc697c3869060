//! The first build of a project on an engine: layers of the image that the project pushed last serve it, where they
//! fit. So that they can, each image that is pushed says what made its layers.
//!
//! An image has no room for the layers of other stages. A project that names a repository for them keeps them there: by a
//! second build after the image is pushed, which finds the steps in the engine's cache; one that is gone from there runs
//! again within the same limits. Nothing of it can fail the job. It takes time, and so is done only where such stages ran
//! commands just now, and when the control plane says that it is due. It is handed out by the digest that the engine
//! pushed, never by a tag.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slipway_domain::agent::{Credentials, KeptCache};
use slipway_domain::attempt::Phase;
use slipway_domain::dockerfile;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::outputs::split_repository;
use slipway_domain::spec::BuildOptions;
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits};
use slipway_runtime::clock::Clock;
use tokio::time::timeout;
use tracing::debug;

use super::flow::{Flow, held};
use crate::client::CallError;
use crate::work::engine::BuildRequest;

/// The job waits at most so long for it.
const KEEP_WITHIN: Duration = Duration::from_secs(600);
/// So much of the job's time is left to its end.
const KEEP_MARGIN: Duration = Duration::from_secs(30);
/// With less time it is not begun.
const KEEP_LEAST: Duration = Duration::from_secs(60);
/// A call about it is repeated for so long.
const CALLS_WITHIN: Duration = Duration::from_secs(30);
/// When a registry that does not take it is not tried.
const LIMITS: Limits = Limits::without_places(
    Rules { failures: 1, first_pause: Duration::from_secs(900), longest_pause: Duration::from_secs(6 * 3600) },
    256,
);

/// The breakers of all registries that keep layers of stages.
pub(crate) fn cache_registries(clock: Clock) -> Breakers {
    Breakers::new(Kind::Caches, LIMITS, clock)
}

impl Flow {
    /// Whether earlier images are worth asking for. What strangers wrote uses no layer of anybody's.
    pub(super) fn is_cold(&self, options: &BuildOptions) -> bool {
        if options.no_cache == Some(true) || !self.serves_later() {
            return false;
        }
        !self.agent.cache.knows(self.spec.project)
    }

    /// Whether the image that is built is pushed, and so may serve later builds. A project without one has nothing to
    /// begin with either.
    pub(super) fn serves_later(&self) -> bool {
        self.spec.is_trusted() && self.spec.image.is_some()
    }

    pub(super) fn tell_cold(&self, images: &[String]) -> Result<(), Failure> {
        // Where layers of all stages are kept is no word for a log that anybody may read.
        let kept = self.spec.cache_repository.as_ref().map(|repository| format!("{repository}@"));
        let is_shown = |image: &&String| kept.as_ref().is_none_or(|kept| !image.starts_with(kept));
        let first = match (images.iter().find(is_shown), images.first()) {
            (Some(image), _) => image.as_str(),
            (None, Some(_)) => "an earlier build",
            (None, None) => return Ok(()),
        };
        self.log
            .meta(0, &format!("Nothing of this project is cached here yet: layers of {first} serve where they fit."))
    }

    /// Whether the project keeps layers of all stages, and this build made some that its image has no room for. What it
    /// only found is not there to be kept.
    pub(super) fn is_worth_keeping(&self, built: &BuildRequest) -> bool {
        let options = &built.options;
        if !self.serves_later() || self.spec.cache_repository.is_none() || options.no_cache == Some(true) {
            return false;
        }
        let beside = dockerfile::stages_beside(&built.context.dockerfile_text, options.target.as_deref());
        self.ran.is_any_of(&beside)
    }

    /// Keeps what all stages made. The images are shown already: nothing here fails the job, or ends it in another way.
    pub(super) async fn keep_cache(&self, built: Option<BuildRequest>, cold: bool) {
        let Some((built, repository)) = built.zip(self.spec.cache_repository.as_ref()) else { return };
        let within = self.left().saturating_sub(KEEP_MARGIN).min(KEEP_WITHIN);
        // A builder that is to go has no time for what only helps others.
        if within < KEEP_LEAST || *self.agent.draining.borrow() {
            return;
        }
        let mut drains = self.agent.draining.subscribe();
        let kept = tokio::select! {
            biased;
            () = self.reins.halted().cancelled() => return,
            _ = drains.wait_for(|draining| *draining) => return,
            kept = timeout(within, self.keep_in(repository, built, cold, within * 3 / 4)) => kept,
        };
        let line = match kept {
            Ok(None) => return,
            Ok(Some(line)) => line,
            Err(_) => format!("Layers of all stages were not kept: it took longer than {} s.", within.as_secs()),
        };
        // A log that cannot be written any more changes nothing of what was built.
        let _ = self.log.meta(0, &line);
    }

    /// What became of it, in words; nothing where it was not due.
    async fn keep_in(&self, repository: &str, built: BuildRequest, cold: bool, within: Duration) -> Option<String> {
        let credentials = self.told("credentials", || self.api.credentials(Phase::Pushing, &[], cold)).await?;
        self.hide(&credentials).ok()?;
        let reference = credentials.cache_to.clone()?;
        let words = |why: &str| Some(format!("Layers of all stages were not kept: {why}"));
        match self.agent.engine.keeps_caches().await {
            Ok(true) => {}
            Ok(false) => {
                return words(
                    "this builder's engine cannot; a buildkitd can, or Docker with containerd's image store.",
                );
            }
            Err(failure) => return words(of_class(failure.class)),
        }
        // What one project may not write is no word about another's registry.
        let Ok(permit) = self.agent.cache_registries.ask(&format!("{repository} of {}", self.spec.project)) else {
            return words("their registry took none lately, so it is left alone for a while.");
        };
        let tried = timeout(within, self.try_keep(repository, &reference, (built, credentials))).await;
        let tried = tried.unwrap_or_else(|_| {
            let message = format!("their registry did not take them within {} s.", within.as_secs());
            Err(Failure::new(FailureClass::RegistryUnreachable, message))
        });
        match &tried {
            Ok(_) => permit.answered(),
            // Neither says anything of the registry.
            Err(failure) if matches!(failure.class, FailureClass::Cancelled | FailureClass::EngineDown) => drop(permit),
            Err(_) => permit.failed(),
        }
        let kept = match tried {
            Ok(digest) => KeptCache { reference, digest },
            Err(failure) => {
                debug!(reason = failure.message, "layers of all stages not kept");
                return words(of_class(failure.class));
            }
        };
        match self.told("cache", || self.api.keep_cache(&kept)).await {
            Some(()) => Some("Layers of all stages are kept for builders that have none of them.".to_owned()),
            None => words("the control plane did not take note of them."),
        }
    }

    async fn try_keep(
        &self,
        repository: &str,
        reference: &str,
        (built, credentials): (BuildRequest, Credentials),
    ) -> Result<String, Failure> {
        let logins = credentials.registries;
        let (host, _) = split_repository(repository);
        let login = logins.iter().find(|known| known.host == host).map(|known| known.login.clone());
        let tag = reference.rsplit_once(':').map_or("", |(_, tag)| tag);
        self.look_first(repository, tag, login.as_ref()).await?;
        let confined = self.confine().await?;
        let marker = confined.as_ref().map(|confined| confined.marker().to_owned());
        // What was kept before is kept on, as far as it still fits.
        let cache_from = Vec::from_iter(built.cache_from.into_iter().chain(credentials.cache_from));
        let request = BuildRequest { marker, logins, cache_from, ..built };
        let stop = self.reins.halted().child_token();
        tokio::select! {
            pushed = self.agent.engine.push_cache(request, reference.to_owned(), &stop) => pushed,
            never = held(confined.as_ref()) => match never {},
        }
    }

    /// Calls for a while. Whatever the answer is, the attempt ends as it would have.
    async fn told<T, F>(&self, what: &'static str, call: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let answer = timeout(CALLS_WITHIN, self.answered(what, call)).await.ok()?;
        answer.inspect_err(|error| debug!(what, %error, "call refused")).ok()
    }
}

/// Why, without the names and the words of others: anybody may read the log of a public project.
fn of_class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::EngineDown => "the engine did not answer.",
        FailureClass::RegistryAuth | FailureClass::RegistryDenied => {
            "their registry does not let the project write there."
        }
        FailureClass::RegistryForbidden => "builders may not use their registry.",
        class if class.is_of_registry() => "their registry did not answer as it must.",
        _ => "they could not be pushed.",
    }
}

/// The stages of which steps ran a command, instead of being found in a cache.
#[derive(Debug, Default)]
pub(super) struct Ran(Mutex<HashSet<String>>);

impl Ran {
    /// A step ended, as the engine names it: `[linux/amd64 made 2/3] RUN make`.
    pub(super) fn step(&self, name: &str) {
        let stage = name.strip_prefix('[').and_then(|rest| rest.split_once("] RUN ")).and_then(|(head, _)| {
            let (words, _place) = head.rsplit_once(' ')?;
            words.rsplit(' ').next()
        });
        if let Some(stage) = stage {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.to_owned());
        }
    }

    fn is_any_of(&self, stages: &[String]) -> bool {
        let ran = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stages.iter().any(|stage| ran.contains(stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_known_by_the_names_of_their_steps() {
        let ran = Ran::default();
        for name in [
            "[made 2/3] RUN make",
            "[linux/amd64 test 1/9] RUN x",
            "[stage-2 2/2] RUN y",
            "[2/3] RUN z",
            "[no 1/2] COPY a b",
        ] {
            ran.step(name);
        }
        for (stage, wanted) in [("made", true), ("test", true), ("stage-2", true), ("no", false), ("", false)] {
            assert_eq!(ran.is_any_of(&[stage.to_owned()]), wanted, "{stage}");
        }
    }
}
