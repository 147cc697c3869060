//! Pushing the one immutable tag that carries an attempt's image.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error as EngineError;
use bollard::models::PushImageInfo;
use bollard::query_parameters::{PushImageOptions, TagImageOptions};
use bytes::Bytes;
use futures_util::StreamExt as _;
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Engine, failed};
use crate::work::{cancelled, failure};

/// The engine begins to answer a push within this time.
const PUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// What to push, and where.
#[derive(Clone, Copy)]
pub struct PushRequest<'a> {
    /// The local name of the image.
    pub image: &'a str,
    /// `host[:port]/path`.
    pub repository: &'a str,
    /// The tag.
    pub tag: &'a str,
    /// The registry's login.
    pub login: Option<&'a Login>,
}

impl Engine {
    /// Tags the image for the registry, pushes the tag and removes it from the engine again. What the
    /// engine says goes to `log`. Dropped or cancelled, the engine stops pushing.
    pub async fn push_carrier(
        &self,
        request: PushRequest<'_>,
        log: &mpsc::Sender<Bytes>,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        let result = tokio::select! {
            result = self.tag_and_push(request, log) => result,
            () = cancel.cancelled() => Err(cancelled()),
        };
        let untagged = self.remove_image(&format!("{}:{}", request.repository, request.tag)).await;
        // The push counts; a tag that stays is found later by the image's label.
        if let (Ok(()), Err(failure)) = (&result, untagged) {
            tracing::warn!(error = failure.message, "the carrier tag stays on the engine for now");
        }
        result
    }

    async fn tag_and_push(&self, request: PushRequest<'_>, log: &mpsc::Sender<Bytes>) -> Result<(), Failure> {
        let lane = self.lane(PUSH_TIMEOUT)?;
        let (repository, tag) = (request.repository, request.tag.to_owned());
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.clone()) };
        lane.docker().tag_image(request.image, Some(options)).await.map_err(|error| explain(&error, request))?;

        let host = repository.split_once('/').map_or("", |(host, _)| host);
        let login = request.login.map(|login| credential(host, login));
        let options = PushImageOptions { tag: Some(tag), ..PushImageOptions::default() };
        let mut stream = lane.docker().push_image(repository, Some(options), login);
        while let Some(item) = stream.next().await {
            let info = item.map_err(|error| explain(&error, request))?;
            if let Some(line) = line(&info) {
                // Nobody listening is no reason to stop: the attempt decides when to stop.
                let _ = log.send(Bytes::from(line)).await;
            }
        }
        Ok(())
    }
}

/// A login as the engine takes it.
fn credential(host: &str, login: &Login) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.user.clone()),
        password: Some(login.password.clone()),
        serveraddress: Some(host.to_owned()),
        ..DockerCredentials::default()
    }
}

/// One line of the log; the percentages between are left out.
fn line(info: &PushImageInfo) -> Option<String> {
    let status = info.status.as_deref()?;
    if matches!(status, "Pushing" | "Preparing" | "Waiting") {
        return None;
    }
    Some(format!("{status}\n"))
}

fn explain(error: &EngineError, request: PushRequest<'_>) -> Failure {
    let place = format!("pushing to {}:{}", request.repository, request.tag);
    match error {
        EngineError::DockerStreamError { error } => {
            let verdict = failure::of_push(error);
            Failure::new(verdict.class, format!("{place}: {}", verdict.text))
        }
        EngineError::DockerResponseServerError { status_code: 400, message } => {
            Failure::new(FailureClass::RegistryDenied, format!("{place}: {message}"))
        }
        other => failed(other),
    }
}
