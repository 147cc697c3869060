//! The first build of a project on an engine: layers of the image that the project pushed last serve it, where they
//! fit. So that they can, each image that is pushed says what made its layers.
//!
//! An image has no room for the layers of other stages. A project that names a repository for them keeps them there: by a
//! second build after the image is pushed, which finds every step in the engine's cache, so that nothing of it can fail
//! the job. It takes time, and so is done only where commands run in such stages, and when the control plane says that it
//! is due. It is handed out by the digest that the engine pushed, never by a tag.

use std::time::Duration;

use slipway_domain::agent::{KeptCache, RegistryLogin};
use slipway_domain::attempt::Phase;
use slipway_domain::dockerfile;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::outputs::split_repository;
use slipway_domain::spec::BuildOptions;
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits};
use slipway_runtime::clock::Clock;
use tokio::time::timeout;

use super::flow::{Flow, held};
use crate::work::engine::BuildRequest;

/// The job waits at most so long for it.
const KEEP_WITHIN: Duration = Duration::from_secs(600);
/// So much of the job's time is left to its end.
const KEEP_MARGIN: Duration = Duration::from_secs(30);
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
        let Some(first) = images.first() else { return Ok(()) };
        self.log
            .meta(0, &format!("Nothing of this project is cached here yet: layers of {first} serve where they fit."))
    }

    /// Whether the project keeps layers of all stages, and this build made some that its image has no room for.
    pub(super) fn is_worth_keeping(&self, built: &BuildRequest) -> bool {
        let options = &built.options;
        self.serves_later()
            && self.spec.cache_place(self.attempt.epoch).is_some()
            && options.no_cache != Some(true)
            && dockerfile::has_steps_beside(&built.context.dockerfile_text, options.target.as_deref())
    }

    /// Keeps what all stages made. What goes wrong is said in the log, and fails nothing.
    pub(super) async fn keep_cache(&self, built: Option<BuildRequest>, cold: bool) -> Result<(), Failure> {
        let Some((built, repository)) = built.zip(self.spec.cache_repository.as_ref()) else { return Ok(()) };
        let kept = tokio::select! {
            kept = self.keep_in(repository, built, cold) => kept,
            // The images are pushed, which is what was asked for.
            () = self.reins.halted().cancelled() => return Ok(()),
        };
        let Err(failure) = kept else { return Ok(()) };
        self.log.meta(0, &format!("Layers of all stages were not kept in {repository}: {}", failure.message))
    }

    async fn keep_in(&self, repository: &str, built: BuildRequest, cold: bool) -> Result<(), Failure> {
        let credentials = self.credentials(Phase::Pushing, &[], cold).await?;
        let Some(reference) = credentials.cache_to else { return Ok(()) };
        if !self.agent.engine.keeps_caches().await? {
            let line =
                format!("The engine of this builder keeps no layers of all stages in {repository}: it is too old.");
            return self.log.meta(0, &line);
        }
        let Ok(permit) = self.agent.cache_registries.ask(repository) else {
            return self
                .log
                .meta(0, &format!("{repository} took no layers of all stages lately, so it is left alone."));
        };
        let tried = self.try_keep(repository, &reference, (built, credentials.registries)).await;
        match &tried {
            Ok(_) => permit.answered(),
            Err(_) => permit.failed(),
        }
        let kept = KeptCache { reference, digest: tried? };
        self.heard("cache", || self.api.keep_cache(&kept)).await?;
        self.log.meta(0, &format!("Layers of all stages are kept in {repository} as {}", kept.digest))
    }

    async fn try_keep(
        &self,
        repository: &str,
        reference: &str,
        (built, logins): (BuildRequest, Vec<RegistryLogin>),
    ) -> Result<String, Failure> {
        let within = self.left().saturating_sub(KEEP_MARGIN).min(KEEP_WITHIN);
        let (host, _) = split_repository(repository);
        let login = logins.iter().find(|known| known.host == host).map(|known| known.login.clone());
        let tag = reference.rsplit_once(':').map_or("", |(_, tag)| tag);
        let stop = self.reins.halted().child_token();
        let pushing = async {
            self.look_first(repository, tag, login.as_ref()).await?;
            let confined = self.confine().await?;
            let marker = confined.as_ref().map(|confined| confined.marker().to_owned());
            let request = BuildRequest { marker, logins, ..built };
            tokio::select! {
                pushed = self.agent.engine.push_cache(request, reference.to_owned(), &stop) => pushed,
                never = held(confined.as_ref()) => match never {},
            }
        };
        timeout(within, pushing).await.unwrap_or_else(|_| {
            let message = format!("it took longer than {} s.", within.as_secs());
            Err(Failure::new(FailureClass::RegistryUnreachable, message))
        })
    }
}
