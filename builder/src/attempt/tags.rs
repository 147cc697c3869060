//! Which tags a build moves: what the build options say, else the project's, else commit and ref.

use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::git_ref::is_image_tag;
use slipway_domain::spec::{BuildOptions, ImageTarget, JobSpec};

/// The tags in the order in which they are moved, each once.
pub fn wanted_tags(spec: &JobSpec, image: &ImageTarget, options: &BuildOptions) -> Result<Vec<String>, Failure> {
    let tags = match &options.tags {
        Some(tags) => tags.clone(),
        None if !image.tags.is_empty() => image.tags.clone(),
        None => spec.default_tags(),
    };
    let mut wanted: Vec<String> = Vec::new();
    for tag in tags {
        if !is_image_tag(&tag) {
            let message = format!("\"{tag}\" is not a tag that a registry takes; correct it in build.tags.");
            return Err(Failure::new(FailureClass::PipelineInvalid, message));
        }
        if !wanted.contains(&tag) {
            wanted.push(tag);
        }
    }
    Ok(wanted)
}
