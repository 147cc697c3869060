//! What a builder leaves on its engine, and takes away again. Only images with this builder's label are
//! ever looked at, and only names that it gave itself are removed.

use std::collections::HashMap;

use bollard::errors::Error as EngineError;
use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::failure::Failure;
use slipway_domain::ids::BuilderId;

use super::{Engine, LABEL_BUILDER, LABEL_EPOCH, LABEL_JOB, LOCAL_PREFIX, QUESTION_TIMEOUT, failed};

impl Engine {
    /// Whether the engine's own store has an image of this name, which it then takes without asking a registry.
    pub async fn has_image(&self, name: &str) -> Result<bool, Failure> {
        let lane = self.lane(QUESTION_TIMEOUT)?;
        match lane.docker().inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Removes one name; one that is not there is no error.
    pub async fn remove_image(&self, name: &str) -> Result<(), Failure> {
        let lane = self.lane(QUESTION_TIMEOUT)?;
        let options = RemoveImageOptions { force: false, noprune: false, ..RemoveImageOptions::default() };
        match lane.docker().remove_image(name, Some(options), None).await {
            Ok(_) | Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Removes what attempts of this builder left behind, except those in `keep`, and returns how many
    /// names that were. For the start (nothing to keep) and from time to time: a cancelled build may
    /// still write its image after everything else is gone.
    pub async fn remove_leftovers(&self, builder: BuilderId, keep: &[AttemptRef]) -> Result<usize, Failure> {
        let lane = self.lane(QUESTION_TIMEOUT)?;
        let label = format!("{LABEL_BUILDER}={builder}");
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let images = lane.docker().list_images(Some(options)).await.map_err(|error| failed(&error))?;
        let mut removed = 0;
        for image in images.iter().filter(|image| !keep.iter().any(|attempt| belongs_to(image, *attempt))) {
            for name in own_names(image) {
                // One that is in use stays for the next time, and does not stop the others.
                match self.remove_image(&name).await {
                    Ok(()) => removed += 1,
                    Err(failure) => tracing::warn!(image = name, error = failure.message, "a leftover stays"),
                }
            }
        }
        Ok(removed)
    }
}

fn belongs_to(image: &ImageSummary, attempt: AttemptRef) -> bool {
    let says = |label: &str, value: String| image.labels.get(label) == Some(&value);
    says(LABEL_JOB, attempt.job.to_string()) && says(LABEL_EPOCH, attempt.epoch.to_string())
}

/// The names that a builder gives: its local one and carrier tags. An image that has none at all is called
/// by its id. Other names were given by somebody else, such as one who pulled our image.
fn own_names(image: &ImageSummary) -> Vec<String> {
    let named: Vec<&String> = image.repo_tags.iter().filter(|name| *name != "<none>:<none>").collect();
    if named.is_empty() {
        return vec![image.id.clone()];
    }
    named.into_iter().filter(|name| name.starts_with(LOCAL_PREFIX) || is_carrier(name)).cloned().collect()
}

/// `…:b<32 hexadecimal digits>.<epoch>`, for further images with `.<number>`, as `JobSpec::carrier_tag` makes it.
fn is_carrier(name: &str) -> bool {
    let Some((build, epoch)) = name.rsplit_once(':').and_then(|(_, tag)| tag.strip_prefix('b')?.split_once('.')) else {
        return false;
    };
    build.len() == 32
        && build.bytes().all(|b| b.is_ascii_hexdigit())
        && !epoch.is_empty()
        && epoch.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_removed() {
        let carrier = format!("reg.example:5000/a:b{}.3", "0a".repeat(16));
        let second = format!("{carrier}.1");
        let tags =
            ["slipway-build/x:1", &carrier, &second, "reg.example/a:latest", "reg.example/a:b1.2", "<none>:<none>"];
        let image = ImageSummary {
            id: "sha256:1".to_owned(),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..ImageSummary::default()
        };
        assert_eq!(own_names(&image), ["slipway-build/x:1", &carrier, &second]);
        let dangling = ImageSummary { repo_tags: vec!["<none>:<none>".to_owned()], ..image };
        assert_eq!(own_names(&dangling), ["sha256:1"]);
    }
}
