//! Tags move: the images that a Dockerfile is built upon are looked up once, so that all images of an attempt stand upon
//! the same ones, and the engine is given their digests in a Dockerfile of its own; the steps see the one that was
//! committed. On the way a registry that keeps copies of another one takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use slipway_domain::agent::RegistryLogin;
use slipway_domain::dockerfile::{self, BaseImage};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::image::Base;
use slipway_domain::spec::BuildOptions;
use slipway_registry::Registry;
use slipway_runtime::breaker::Rules;
use slipway_runtime::breakers::{Breakers, Kind, Limits};
use slipway_runtime::clock::Clock;
use tokio::time::timeout;
use tracing::debug;

use super::flow::{Flow, stopped};
use crate::agent::Agent;
use crate::work::context::ContextTar;

/// A registry that does not answer for so long is left to the engine, which asks again and says why it fails.
const LOOK: Duration = Duration::from_secs(10);
/// When one is left to it without asking.
const LIMITS: Limits = Limits::without_places(
    Rules { failures: 2, first_pause: Duration::from_secs(30), longest_pause: Duration::from_secs(300) },
    256,
);
/// Bases of one attempt that are looked up. A Dockerfile with more is built, but as it is written.
const MAX_BASES: usize = 32;

/// The breakers of all registries that bases are looked up at.
pub(crate) fn base_registries(clock: Clock) -> Breakers {
    Breakers::new(Kind::BaseImages, LIMITS, clock)
}

/// What is known of an attempt's bases, by their full names.
#[derive(Debug, Default)]
pub(super) struct Bases(Mutex<BTreeMap<String, Option<Found>>>);

#[derive(Debug, Clone)]
struct Found {
    /// Name and tag at the registry that has it: a mirror's, or that of the base.
    at: String,
    digest: String,
}

/// What the engine is to build.
#[derive(Debug, Default)]
pub(super) struct Definition {
    /// The Dockerfile, where it is not the committed one.
    pub(super) text: Option<String>,
    /// What the image stands upon, if that was looked up.
    pub(super) base: Option<Base>,
}

impl Bases {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Option<Found>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step's name with the names that the Dockerfile has.
    pub(super) fn as_written(&self, mut step: String) -> String {
        for (name, found) in &*self.known() {
            if let Some(found) = found.as_ref().filter(|found| found.at != *name) {
                step = step.replace(&format!("{}@", found.at), &format!("{name}@"));
            }
        }
        step
    }
}

impl Flow {
    /// Looks up what the Dockerfile is built upon. What no registry has is the engine's affair.
    pub(super) async fn definition(
        &self,
        context: &ContextTar,
        options: &BuildOptions,
        logins: &[RegistryLogin],
    ) -> Result<Definition, Failure> {
        let args = options.args.clone().unwrap_or_default();
        let bases = dockerfile::bases(&context.dockerfile_text, &args, options.target.as_deref());
        let new: BTreeSet<&str> = {
            let known = self.bases.known();
            let names = bases.iter().map(|base| base.name.as_str());
            names.filter(|name| !known.contains_key(*name)).take(MAX_BASES.saturating_sub(known.len())).collect()
        };
        let pull = options.pull.unwrap_or(false);
        let looking = new.into_iter().map(async |name| (name.to_owned(), self.find(name, pull, logins).await));
        let found = tokio::select! {
            found = join_all(looking) => found,
            () = self.reins.halted().cancelled() => return Err(stopped()),
        };
        for (name, found) in found {
            if let Some(found) = found.as_ref().filter(|found| found.at != name) {
                let mirror = found.at.split('/').next().unwrap_or_default();
                self.log
                    .meta(0, &format!("{name} comes from {mirror}, which keeps copies of that registry's images."))?;
            }
            self.bases.known().insert(name, found);
        }
        Ok(self.written(context, &bases))
    }

    fn written(&self, context: &ContextTar, bases: &[BaseImage]) -> Definition {
        let known = self.bases.known();
        let found = |base: &BaseImage| known.get(&base.name)?.clone();
        let pinned: Vec<(&BaseImage, String)> = bases
            .iter()
            .filter_map(|base| found(base).map(|found| (base, format!("{}@{}", found.at, found.digest))))
            .collect();
        let text = dockerfile::with_bases(
            &context.dockerfile_text,
            pinned.iter().map(|(base, reference)| (*base, reference.as_str())),
        );
        let base = bases
            .iter()
            .find(|base| base.of_target)
            .and_then(|base| found(base).map(|found| Base { name: base.name.clone(), digest: Some(found.digest) }));
        Definition { text, base }
    }

    /// Where a base is and what its tag shows there; nothing where the engine has it, or has to say why not.
    async fn find(&self, name: &str, pull: bool, logins: &[RegistryLogin]) -> Option<Found> {
        if !pull && self.agent.engine.has_image(name).await.unwrap_or(false) {
            return None;
        }
        if let Some(mirror) = self.agent.config.registry_mirrors.of(name)
            && let Some(found) = look(&self.agent, mirror, &[]).await
        {
            return Some(found);
        }
        look(&self.agent, name.to_owned(), logins).await
    }
}

/// What a tag shows; nothing where its registry does not say, or did not lately: no build waits for it then.
async fn look(agent: &Agent, at: String, logins: &[RegistryLogin]) -> Option<Found> {
    let (repository, tag) = at.rsplit_once(':')?;
    let host = repository.split('/').next()?;
    let login = logins.iter().find(|known| known.host == host).map(|known| &known.login);
    let permit = agent.base_registries.ask(host).ok()?;
    let digest = async { Registry::connect(&agent.egress, repository, login).await?.digest(tag).await };
    let result = timeout(LOOK, digest).await;
    match &result {
        Ok(Err(failure)) if failure.class == FailureClass::RegistryUnreachable => permit.failed(),
        Ok(_) => permit.answered(),
        Err(_) => permit.failed(),
    }
    match result {
        Ok(Ok(digest)) => Some(Found { digest: digest?, at }),
        Ok(Err(failure)) => {
            debug!(base = at, reason = failure.message, "a base was not looked up");
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use slipway_runtime::lifecycle::Life;
    use tokio::net::TcpListener;

    use super::*;
    use crate::agent;
    use crate::tests::fake::Fake;

    #[tokio::test]
    async fn a_registry_that_is_out_is_not_waited_for_at_every_build() {
        let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
        let config = Fake::start(&life).await.config(dir.path(), &dir.path().join("none.sock"));
        let (agent, ..) = agent::assemble(config, Clock::system(), life.clone()).await.expect("assembled");
        let out = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let host = out.local_addr().expect("an address").to_string();
        // Nobody takes what connects, so that it would have to be waited for.
        for _ in 0..2 {
            agent.base_registries.ask(&host).expect("asked").failed();
        }
        let looked = timeout(Duration::from_secs(5), look(&agent, format!("{host}/a:1"), &[])).await;
        assert!(looked.expect("at once").is_none());
        drop(out);
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("an address");
        for asked in [true, true, false] {
            assert_eq!(
                agent.base_registries.ask(&gone.to_string()).is_ok(),
                asked,
                "one that is out is its own affair"
            );
            assert!(look(&agent, format!("{gone}/a:1"), &[]).await.is_none());
        }
    }

    #[test]
    fn steps_are_named_as_the_dockerfile_has_it() {
        let bases = Bases::default();
        let found = |at: &str| Some(Found { at: at.to_owned(), digest: "sha256:1".to_owned() });
        bases.known().extend([
            ("docker.io/library/a:1".to_owned(), found("m.example:5000/library/a:1")),
            ("r.example/b:1".to_owned(), found("r.example/b:1")),
            ("r.example/c:1".to_owned(), None),
        ]);
        for (step, wanted) in [
            ("[1/2] FROM m.example:5000/library/a:1@sha256:1", "[1/2] FROM docker.io/library/a:1@sha256:1"),
            ("[1/2] FROM m.example:5000/library/a:10@sha256:1", "[1/2] FROM m.example:5000/library/a:10@sha256:1"),
            (
                "[internal] load metadata for m.example:5000/library/a:1@sha256:1",
                "[internal] load metadata for docker.io/library/a:1@sha256:1",
            ),
            ("[2/2] RUN curl m.example:5000/library/a:1", "[2/2] RUN curl m.example:5000/library/a:1"),
            ("[1/2] FROM r.example/b:1@sha256:1", "[1/2] FROM r.example/b:1@sha256:1"),
        ] {
            assert_eq!(bases.as_written(step.to_owned()), wanted);
        }
    }
}
