//! Which tags a build moves: what the build options say, else the project's, else commit and ref. None at all where each
//! template has a word that this build has nothing for.

use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::spec::{BuildOptions, ImageTarget, JobSpec};

/// The tags in the order in which they are moved, each once.
pub fn wanted_tags(spec: &JobSpec, image: &ImageTarget, options: &BuildOptions) -> Result<Vec<String>, Failure> {
    let tags = match &options.tags {
        Some(tags) => tags.clone(),
        None if !image.tags.is_empty() => image.tags.clone(),
        None => return Ok(spec.default_tags()),
    };
    spec.tags_of(&tags).map_err(|bad| {
        Failure::new(FailureClass::PipelineInvalid, format!("{bad}; correct it in build.tags or the project's tags."))
    })
}
