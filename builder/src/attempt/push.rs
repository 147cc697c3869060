//! Making the image visible: the engine pushes one carrier tag that only this attempt uses, then each user
//! tag is moved to the same digest under leave. Nobody sees the image before leave was given.
//!
//! Absent on purpose: deleting the carrier tag. Until the tags have settled it is what keeps a manifest that the
//! sweeper may have to put back, and a builder is gone by then. By tag most registries refuse (distribution 2,
//! Harbor, Docker Hub), some take the tag alone (GitLab, Quay), and some took the manifest with every other tag of
//! it (<https://github.com/project-zot/zot/issues/67>); nothing tells them apart before it is done.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use slipway_domain::agent::{Leave, LeaveRequest, LeaveReturn, Login, PushedImage};
use slipway_domain::attempt::Phase;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::outputs::{Push, Variant, split_repository};
use slipway_domain::timing::LEAVE_LEASE;
use slipway_registry::{Manifest, Registry};
use slipway_runtime::backoff::Backoff;
use slipway_runtime::crash;
use tokio::sync::mpsc;
use tracing::warn;

use super::flow::{Flow, beside, stopped};
use super::limits::check_tags;
use crate::client::CallError;
use crate::halt::Halt;
use crate::work::engine::{PushRequest, local_image};

/// A PUT is not begun when less of the lease is left.
const LEAVE_MARGIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

/// What all tags of one push share.
struct Pushed<'a> {
    repository: &'a str,
    registry: Registry,
    manifest: Manifest,
    size_bytes: i64,
}

/// What became of one tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It shows our digest, by this leave.
    Yes(Option<i64>),
    /// It already showed a newer build.
    No(String),
}

impl Flow {
    /// False where there is nothing to push.
    pub(super) async fn push(&self, variants: &[Variant]) -> Result<bool, Failure> {
        if variants.iter().all(|variant| variant.pushes.is_empty()) {
            self.log.meta(0, "No tag of the project is one for this build, so nothing is pushed.")?;
            return Ok(false);
        }
        let tags = variants.iter().flat_map(|variant| &variant.pushes).map(|push| push.tags.len()).sum();
        check_tags(tags, &self.spec.limits)?;
        self.phase(Phase::Pushing);
        let step = self.begin("slipway:push", "[slipway] push image");
        let result = self.push_in(step.number, variants).await;
        self.end(step, result).map(|()| true)
    }

    /// All images first, and only then the first tag: nobody sees one of them where another is refused.
    async fn push_in(&self, step: u32, variants: &[Variant]) -> Result<(), Failure> {
        let credentials = self.credentials(Phase::Pushing, &[], false).await?;
        let mut stored = Vec::new();
        for (place, variant) in variants.iter().enumerate() {
            for Push { repository, tags } in &variant.pushes {
                let (host, _) = split_repository(repository);
                let login = credentials.registries.iter().find(|registry| registry.host == host);
                let login = login.map(|known| &known.login);
                self.unless_halted(self.look_first(
                    repository,
                    &self.spec.carrier_tag(self.attempt.epoch, place),
                    login,
                ))
                .await?;
                self.push_carrier(step, (repository, place), login).await?;
                crash::point("builder.carrier.pushed");
                let pushed = self.unless_halted(self.read_back((repository, place), login)).await?;
                self.log.meta(step, &format!("Pushed {repository} as {}", pushed.manifest.digest))?;
                stored.push((pushed, tags));
            }
        }
        for (pushed, tags) in &stored {
            self.move_tags(step, pushed, tags).await?;
        }
        Ok(())
    }

    async fn move_tags(&self, step: u32, pushed: &Pushed<'_>, tags: &[String]) -> Result<(), Failure> {
        let digest = &pushed.manifest.digest;
        for tag in tags {
            let reference = format!("{}:{tag}", pushed.repository);
            let (line, moved, lease) = match self.move_tag(pushed, tag).await? {
                Moved::Yes(lease) => (format!("{reference} now shows {digest}"), true, lease),
                Moved::No(reason) => (format!("{reference} was not moved: {reason}"), false, None),
            };
            self.log.meta(step, &line)?;
            let (digest, size_bytes) = (digest.clone(), pushed.size_bytes);
            let image = PushedImage { reference, digest, size_bytes, moved, lease };
            self.outputs.pushed(image);
        }
        Ok(())
    }

    /// The engine takes a login wherever the registry sends it, and follows every redirect. So what we would not follow
    /// is found out before it is asked; all other words are left to the push itself.
    pub(super) async fn look_first(&self, repository: &str, tag: &str, login: Option<&Login>) -> Result<(), Failure> {
        let looked = async { Registry::connect(&self.agent.egress, repository, login).await?.digest(tag).await };
        match looked.await {
            Err(failure)
                if matches!(failure.class, FailureClass::RegistryForbidden | FailureClass::RegistryInvalid) =>
            {
                Err(failure)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn push_carrier(
        &self,
        step: u32,
        (repository, place): (&str, usize),
        login: Option<&Login>,
    ) -> Result<(), Failure> {
        let (image, tag) = (local_image(self.attempt, place), self.spec.carrier_tag(self.attempt.epoch, place));
        let request = PushRequest { image: &image, repository, tag: &tag, login };
        let stop = self.reins.halted().child_token();
        let (said, heard) = mpsc::channel::<Bytes>(64);
        let pushing = async {
            let pushed = self.agent.engine.push_carrier(request, &said, &stop).await;
            drop(said);
            pushed
        };
        beside(pushing, self.log.pour(step, heard), &stop).await
    }

    /// The digest is what the registry says, not what the engine believes.
    async fn read_back<'a>(
        &self,
        (repository, place): (&'a str, usize),
        login: Option<&Login>,
    ) -> Result<Pushed<'a>, Failure> {
        let carrier = self.spec.carrier_tag(self.attempt.epoch, place);
        let registry = Registry::connect(&self.agent.egress, repository, login).await?;
        let Some(digest) = registry.digest(&carrier).await? else {
            let message = format!("The registry took {repository}:{carrier} but does not show it.");
            return Err(Failure::new(FailureClass::RegistryUnreachable, message));
        };
        let manifest = registry.manifest(&digest).await?;
        let size_bytes = registry.size_bytes(&manifest).await?;
        self.outputs.stored(place, &manifest.digest, registry.layers(&manifest).await?);
        Ok(Pushed { repository, registry, manifest, size_bytes })
    }

    async fn move_tag(&self, pushed: &Pushed<'_>, tag: &str) -> Result<Moved, Failure> {
        let (registry, repository) = split_repository(pushed.repository);
        let leave = LeaveRequest {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: pushed.manifest.digest.clone(),
        };
        loop {
            let asked = self.agent.clock.monotonic();
            match self.heard("leave", || self.api.leave(&leave)).await? {
                Leave::Granted { within_ms, lease } => {
                    let spent = self.agent.clock.monotonic().duration_since(asked);
                    let left = Duration::from_millis(within_ms).saturating_sub(spent);
                    if left >= LEAVE_MARGIN.min(Duration::from_millis(within_ms / 2)) {
                        crash::point("builder.leave.granted");
                        return self.put(pushed, (leave, lease), left).await.map(|()| Moved::Yes(lease));
                    }
                }
                Leave::NotMoved { reason } => return Ok(Moved::No(reason)),
                Leave::Wait { retry_ms } => {
                    let pause = Duration::from_millis(retry_ms.clamp(10, 5000));
                    let waiting = async {
                        self.agent.clock.sleep(pause).await;
                        Ok(())
                    };
                    self.unless_halted(waiting).await?;
                }
                Leave::Cancelled => {
                    self.reins.pull(Halt::Cancelled);
                    return Err(stopped());
                }
            }
        }
    }

    /// Moves the tag and gives the leave back. Nothing interrupts it: between PUT and return a cancel comes
    /// too late. When it is unclear whether the PUT arrived the leave is not given back; whoever gets it
    /// next looks at the tag first.
    async fn put(
        &self,
        pushed: &Pushed<'_>,
        (leave, lease): (LeaveRequest, Option<i64>),
        within: Duration,
    ) -> Result<(), Failure> {
        let put = pushed.registry.put_tag(&leave.tag, &pushed.manifest, within).await;
        crash::point("builder.tag.moved");
        let moved = match &put {
            Ok(()) => true,
            Err(failure) if is_definite(failure.class) => false,
            Err(_) => return put,
        };
        self.give_back(&LeaveReturn { leave, moved, lease }).await;
        crash::point("builder.leave.returned");
        put
    }

    async fn give_back(&self, back: &LeaveReturn) {
        let began = self.agent.clock.monotonic();
        let mut backoff = Backoff::for_calls();
        while self.agent.clock.monotonic().duration_since(began) < LEAVE_LEASE {
            match self.api.leave_return(back).await {
                Ok(()) => return,
                Err(error @ CallError::Refused { .. }) => return warn!(%error, "leave not taken back"),
                Err(CallError::Unavailable(_)) => self.agent.clock.sleep(backoff.pause()).await,
            }
        }
    }

    async fn unless_halted<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = self.reins.halted().cancelled() => Err(stopped()),
        }
    }
}

/// True when the registry itself said no, so that the tag surely did not move.
fn is_definite(class: FailureClass) -> bool {
    class.is_registry_refusal() || matches!(class, FailureClass::RateLimited | FailureClass::SourceForbidden)
}
