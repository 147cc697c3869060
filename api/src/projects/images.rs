//! Where a project's images go: checked before they are stored, and again when a build chooses among them.

use std::collections::HashSet;

use slipway_domain::outputs::MAX_IMAGES;
use slipway_domain::spec::{BuildOptions, ImageOptions};
use slipway_runtime::problem::ApiError;
use slipway_store::projects::ProjectImage;

use crate::addresses::check_repository;
use crate::projects::checks::{check_tags, check_target};
use crate::projects::json::ImageJson;
use crate::state::ApiState;

/// The images of a request, checked: `image` is the only one, or `images` has all; `None` where neither is given.
pub async fn given(
    state: &ApiState,
    image: Option<Option<ImageJson>>,
    images: Option<Option<Vec<ImageJson>>>,
) -> Result<Option<Vec<ProjectImage>>, ApiError> {
    let (field, given) = match (image, images) {
        (None, None) => return Ok(None),
        (Some(image), None) => ("image", image.into_iter().collect()),
        (None, Some(images)) => ("images", images.unwrap_or_default()),
        (Some(_), Some(_)) => {
            return Err(ApiError::Invalid("Give either image (the only one) or images (all of them).".to_owned()));
        }
    };
    check_count(field, given.len())?;
    for ImageJson { repository, tags, target } in &given {
        check_repository(state, &format!("{field}.repository"), repository).await?;
        check_tags(&format!("{field}.tags"), tags.as_deref().unwrap_or_default())?;
        check_target(&format!("{field}.target"), target.as_deref())?;
    }
    let images: Vec<ProjectImage> = given.into_iter().map(ProjectImage::from).collect();
    let mut seen = HashSet::new();
    match images.iter().find(|image| !seen.insert((&image.repository, image.tags.as_deref().unwrap_or_default()))) {
        Some(twice) => Err(ApiError::Invalid(format!(
            "{field}: {} stands there twice with the same tags; give each image tags of its own.",
            twice.repository
        ))),
        None => Ok(Some(images)),
    }
}

/// Where the layers of all stages are kept.
pub async fn check_cache(state: &ApiState, repository: Option<&str>) -> Result<(), ApiError> {
    match repository {
        Some(repository) => check_repository(state, "cache_repository", repository).await,
        None => Ok(()),
    }
}

/// The images that a build chooses, by themselves.
pub fn check_chosen(images: &[ImageOptions]) -> Result<(), ApiError> {
    check_count("build.images", images.len())?;
    for ImageOptions { repository, target, tags } in images {
        if repository.is_empty() {
            let words =
                "build.images.repository: write one of the project's repositories, such as registry.example.org/app.";
            return Err(ApiError::Invalid(words.to_owned()));
        }
        check_tags("build.images.tags", tags.as_deref().unwrap_or_default())?;
        check_target("build.images.target", target.as_deref())?;
    }
    Ok(())
}

/// A build goes only where the project says.
pub fn check_own(project: &[ProjectImage], options: &BuildOptions) -> Result<(), ApiError> {
    let foreign = |image: &&ImageOptions| !project.iter().any(|own| own.repository == image.repository);
    match options.images.iter().flatten().find(foreign) {
        Some(image) => Err(ApiError::Invalid(format!(
            "build.images: {} is none of the project's repositories; add it to the project's images first.",
            image.repository.chars().take(200).collect::<String>()
        ))),
        None => Ok(()),
    }
}

fn check_count(field: &str, count: usize) -> Result<(), ApiError> {
    if count <= MAX_IMAGES {
        return Ok(());
    }
    Err(ApiError::Invalid(format!("{field}: at most {MAX_IMAGES} images are built at once; there are {count}.")))
}
