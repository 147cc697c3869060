//! Looks at the host and the engine every few seconds and says whether jobs may be taken. When the engine
//! comes (back) to life, what a former life left in it is removed before anything is taken.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slipway_domain::failure::Failure;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::cache::EngineCache;
use crate::gate::{EngineHealth, Limits, Readiness, not_taking};
use crate::home::{Home, Identity};
use crate::host;
use crate::slots::Slots;
use crate::work::engine::{Engine, EngineInfo};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// So many looks at an engine that lives are followed by one that asks what it is: its answer is the dearest part of
/// a look, for the engine as well.
const SHORT_LOOKS: u32 = 14;
/// An engine that does not answer within this time is down.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What one look needs.
pub struct Probe {
    /// Spawns the blocking part.
    pub life: Life,
    /// For the pauses.
    pub clock: Clock,
    /// The data folder, whose disk is watched.
    pub home: Arc<Home>,
    /// Whose leftovers are removed.
    pub identity: Identity,
    /// The engine.
    pub engine: Engine,
    /// Told which engine it is.
    pub cache: EngineCache,
    /// Who sits where.
    pub slots: Slots,
    /// When nothing more is taken.
    pub limits: Limits,
    /// Whether the engine is known to hold nothing of a former life.
    pub clean: bool,
    /// Looks since the engine was last asked what it is.
    pub short_looks: u32,
}

impl Probe {
    /// One look.
    pub async fn look(&mut self, last: &Readiness) -> Readiness {
        let (engine, data_root) = match self.data_root(last.data_root.as_ref()).await {
            Ok(data_root) => (self.cleaned().await, Some(data_root)),
            Err(reason) => {
                self.clean = false;
                (EngineHealth::Down(reason), last.data_root.clone())
            }
        };
        let work_dir = self.home.work_dir();
        let reading = match self.life.blocking("read host", move || host::read(&work_dir)).await {
            Ok(Ok(reading)) => reading,
            Ok(Err(error)) => {
                warn!(error = format!("{error:#}"), "host not readable");
                last.reading
            }
            Err(error) => {
                warn!(%error, "host not readable");
                last.reading
            }
        };
        let closed = last.not_taking.is_some();
        let not_taking = not_taking(&self.limits, &engine, &reading, self.slots.taken(), closed);
        Readiness { reading, not_taking, data_root }
    }

    /// What the engine says about itself, or why it does not.
    pub async fn engine_info(&self) -> Result<EngineInfo, String> {
        answered(self.engine.probe()).await
    }

    /// Where the engine's data lies, which tells that it lives.
    async fn data_root(&mut self, known: Option<&PathBuf>) -> Result<PathBuf, String> {
        match known {
            Some(known) if self.clean && self.short_looks < SHORT_LOOKS => {
                self.short_looks += 1;
                answered(self.engine.ping()).await.map(|()| known.clone())
            }
            Some(_) | None => {
                self.short_looks = 0;
                let info = self.engine_info().await?;
                self.cache.engine_is(&info).await;
                Ok(info.data_root)
            }
        }
    }

    /// Looks again and again and tells about changes.
    pub async fn watch(mut self, readiness: watch::Sender<Readiness>) -> Infallible {
        loop {
            self.clock.sleep(EVERY).await;
            let last = readiness.borrow().clone();
            let now = self.look(&last).await;
            let turned = now.not_taking.is_some() != last.not_taking.is_some();
            match &now.not_taking {
                Some(reason) if turned => warn!(reason, "taking no jobs"),
                None if turned => info!("taking jobs again"),
                Some(_) | None => {}
            }
            readiness.send_if_modified(|old| {
                *old = now;
                turned
            });
        }
    }

    /// Removes leftovers once. While a claim is under way its attempt is not listed yet and would be taken
    /// for one; the closed gate lets no new claim begin, so that the next look finds none.
    async fn cleaned(&mut self) -> EngineHealth {
        if self.clean {
            return EngineHealth::Ready;
        }
        let held = self.slots.held();
        if i64::try_from(held.len()).is_ok_and(|held| held < self.slots.taken()) {
            return EngineHealth::Down("it was away; running claims are waited for".to_owned());
        }
        match self.engine.remove_leftovers(self.identity.builder, &held).await {
            Ok(removed) => {
                if removed > 0 {
                    info!(removed, "leftovers of earlier attempts removed from the engine");
                }
                self.clean = true;
                EngineHealth::Ready
            }
            Err(failure) => EngineHealth::Down(failure.message),
        }
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
    match timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|failure| failure.message),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}
