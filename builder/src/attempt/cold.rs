//! The first build of a project on an engine: layers of the image that the project pushed last serve it, where they
//! fit. So that they can, each image that is pushed says what made its layers.
//!
//! An image has no room for the layers of other stages. Where an engine can, they are pushed under a tag of their own, which
//! takes time: only where commands run in such stages, and only by a build that found nothing on its engine. A project
//! whose builds stay on one engine pays for it once; one whose builds move gets a new one with each move.

use slipway_domain::agent::Credentials;
use slipway_domain::dockerfile;
use slipway_domain::failure::Failure;
use slipway_domain::spec::BuildOptions;
use tracing::debug;

use super::bases::look;
use super::flow::Flow;
use crate::work::context::ContextTar;

/// The tag of a repository's cache.
const CACHE_TAG: &str = "slipway-cache";

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

    /// The images whose layers may serve a cold build, with the cache that an earlier one left in this repository.
    pub(super) async fn cache_from(
        &self,
        cold: bool,
        repository: Option<&str>,
        credentials: &Credentials,
    ) -> Vec<String> {
        let mut images = credentials.cache_from.clone();
        if let Some(repository) = repository.filter(|_| cold) {
            let found = look(&self.agent, format!("{repository}:{CACHE_TAG}"), &credentials.registries).await;
            // By its digest, as images are: what is under the tag may change while the engine reads.
            images.extend(found.map(|found| format!("{repository}@{}", found.digest)));
        }
        images
    }

    /// Where a cold build leaves its cache, if that pays.
    pub(super) async fn cache_to(
        &self,
        cold: bool,
        repository: Option<&str>,
        (context, options): (&ContextTar, &BuildOptions),
    ) -> Result<Option<String>, Failure> {
        let Some(repository) = repository.filter(|_| cold) else { return Ok(None) };
        if !dockerfile::has_steps_beside(&context.dockerfile_text, options.target.as_deref()) {
            return Ok(None);
        }
        match self.agent.engine.keeps_caches().await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(failure) => {
                debug!(reason = failure.message, "the engine does not say whether it keeps caches");
                return Ok(None);
            }
        }
        let image = format!("{repository}:{CACHE_TAG}");
        self.log
            .meta(0, &format!("What its stages make is kept in {image}, for engines that do not know this project."))?;
        Ok(Some(image))
    }
}
