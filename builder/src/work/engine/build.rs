//! One build by BuildKit.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::PoisonError;

use bytes::Bytes;
use slipway_buildkit::solve::{Export, Solve, Solved};
use slipway_buildkit::tokens::{TokenGiven, Tokens};
use slipway_domain::agent::{BuildSecret, RegistryLogin};
use slipway_domain::failure::Failure;
use slipway_domain::spec::{BuildOptions, NetworkMode};
use slipway_registry::{TokenRequest, fetch_token};
use slipway_runtime::egress::Egress;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::explain::{Refused, Subject};
use super::steps::Steps;
use super::{Engine, StepEvent, down};
use crate::work::context::ContextTar;

/// Messages about the build's progress that may wait for whoever takes its steps.
const QUEUE: usize = 4;
/// Hosts that are reached without a proxy.
const NO_PROXY: &str = "NO_PROXY";

/// What to build.
#[derive(Clone)]
pub struct BuildRequest {
    /// The local name of the image, from [`super::local_image`].
    pub image: String,
    /// What is sent.
    pub context: ContextTar,
    /// The Dockerfile to build, where it is not the one in there.
    pub definition: Option<String>,
    /// The options in force; those about the context were used when it was made.
    pub options: BuildOptions,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Logins for the images that FROM names.
    pub logins: Vec<RegistryLogin>,
    /// The guard before the token services that their registries name.
    pub egress: Egress,
    /// Secrets that its steps mount.
    pub secrets: Vec<BuildSecret>,
    /// Earlier images whose layers may serve again; those that cannot be read are passed over.
    pub cache_from: Vec<String>,
    /// Whether the image shall serve so itself.
    pub inline_cache: bool,
    /// A name for the steps' `/etc/hosts`, which is a part of the cache's keys.
    pub apart: Option<String>,
    /// A word for `NO_PROXY` in the environment of all steps, which is no part of the cache's keys.
    pub marker: Option<String>,
    /// A folder of the attempt, for progress that waits for its reader.
    pub scratch: PathBuf,
}

impl Engine {
    /// Builds and returns the image's id. When this ends, also by a cancel or by being dropped, the
    /// connection is closed and the build's processes die. An export that had begun runs to its end, so
    /// the image's name has to be removed afterwards in any case.
    pub async fn build(
        &self,
        request: BuildRequest,
        events: &mpsc::Sender<StepEvent>,
        cancel: &CancellationToken,
    ) -> Result<String, Failure> {
        let export = Export::Image(request.image.clone());
        let solved = self.solve(request, |solve| Solve { export, ..solve }, events, cancel).await?;
        solved.image.ok_or_else(|| down("it ended the build without an image"))
    }

    /// Builds once more what was built a moment ago, which runs no step while the engine's cache has them, and pushes what
    /// the steps of all stages made as this image, `host/path:tag`, where [`Engine::keeps_caches`]. Returns the digest of
    /// its manifest. Ends as [`Engine::build`] does; a push that had begun may run to its end.
    pub async fn push_cache(
        &self,
        request: BuildRequest,
        to: String,
        cancel: &CancellationToken,
    ) -> Result<String, Failure> {
        let (said, mut heard) = mpsc::channel(QUEUE);
        let pushing = async {
            let only_cache = |solve| Solve { export: Export::Nothing, cache_to: Some(to), ..solve };
            let pushed = self.solve(request, only_cache, &said, cancel).await;
            drop(said);
            pushed
        };
        let draining = async { while heard.recv().await.is_some() {} };
        let (pushed, ()) = tokio::join!(pushing, draining);
        pushed?.cache.ok_or_else(|| down("it does not say what it pushed"))
    }

    async fn solve(
        &self,
        request: BuildRequest,
        changed: impl FnOnce(Solve) -> Solve,
        events: &mpsc::Sender<StepEvent>,
        cancel: &CancellationToken,
    ) -> Result<Solved, Failure> {
        let refused = Refused::default();
        let subject = Subject::of(&request, refused.clone());
        let mut steps = Steps::default();
        let (reader, mut progress) = mpsc::channel(QUEUE);
        let buildkit = self.buildkit();
        let solving = buildkit.solve(changed(solve(request, refused)), reader, cancel);
        let reading = async {
            while let Some(status) = progress.recv().await {
                forward(steps.take(status, self.clock.now()), events).await;
            }
        };
        let (result, ()) = tokio::join!(solving, reading);
        let result = match result {
            Ok(solved) => Ok(solved),
            Err(error) => Err(subject.explain(error, &steps, &self.life).await),
        };
        forward(steps.stop(self.clock.now()), events).await;
        result
    }
}

/// Fetches tokens for the engine with the same client as for our own requests. Why one was refused is kept, because
/// the engine passes on only the words.
fn tokens(egress: Egress, refused: Refused) -> Tokens {
    Tokens::by(move |asked| {
        let (egress, refused) = (egress.clone(), refused.clone());
        Box::pin(async move {
            let service = Some(asked.service.as_str()).filter(|service| !service.is_empty());
            let request = TokenRequest { host: &asked.host, realm: &asked.realm, service, scopes: &asked.scopes };
            match fetch_token(&egress, request, Some(&asked.login)).await {
                Ok(token) => Ok(TokenGiven { token: token.token, expires_in: token.expires_in }),
                Err(failure) => {
                    let message = failure.message.clone();
                    refused.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                    Err(message)
                }
            }
        })
    })
}

async fn forward(new: Vec<StepEvent>, events: &mpsc::Sender<StepEvent>) {
    for event in new {
        // Nobody listening is no reason to stop: the attempt decides when to stop.
        let _ = events.send(event).await;
    }
}

fn solve(request: BuildRequest, refused: Refused) -> Solve {
    let BuildRequest { context, definition, options, labels, logins, egress, secrets, .. } = request;
    let mut args = options.args.unwrap_or_default();
    if let Some(marker) = request.marker {
        mark(&mut args, &marker);
    }
    Solve {
        dockerfile: context.dockerfile,
        definition: definition.map(Bytes::from),
        target: options.target,
        args,
        labels,
        no_cache: options.no_cache.unwrap_or(false),
        pull: options.pull.unwrap_or(false),
        network: options.network.unwrap_or(NetworkMode::Default),
        hosts: request.apart.into_iter().map(|name| (name, IpAddr::from(Ipv4Addr::LOCALHOST))).collect(),
        cache_from: request.cache_from,
        inline_cache: request.inline_cache,
        secrets: secrets.into_iter().map(|secret| (secret.name, Bytes::from(secret.value))).collect(),
        logins,
        tokens: tokens(egress, refused),
        ..Solve::new(context.path, request.scratch, Export::Nothing)
    }
}

/// The user's own words stay: engines take the argument in any case, and one of several as it comes.
fn mark(args: &mut BTreeMap<String, String>, marker: &str) {
    let mut marked = false;
    for (_, value) in args.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(NO_PROXY)) {
        let words = value.split(',').filter(|word| !word.is_empty()).chain([marker]);
        *value = words.collect::<Vec<_>>().join(",");
        marked = true;
    }
    if !marked {
        args.insert(NO_PROXY.to_owned(), marker.to_owned());
    }
}
