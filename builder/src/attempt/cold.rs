//! The first build of a project on an engine: layers of the image that the project pushed last serve it, where they
//! fit. So that they can, each image that is pushed says what made its layers.

use slipway_domain::failure::Failure;
use slipway_domain::spec::BuildOptions;

use super::flow::Flow;

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
}
