//! What the engine did and does, for whoever checks it afterwards. Grows by one short entry per attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::image::Labels;

/// Everything that an engine tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Builds under way.
    pub running: Vec<RunningBuild>,
    /// How often a build was begun, by the image's local name: `slipway-build/<job>:<epoch>`. More than once is a
    /// doubled effect.
    pub begun: BTreeMap<String, u32>,
    /// How often a push was begun, by the whole reference: `host/path:b<build>.<epoch>`.
    pub pushes: BTreeMap<String, u32>,
    /// What builds began with that were given something, by the image's local name.
    pub caches_from: BTreeMap<String, Vec<String>>,
    /// Where layers of all stages were pushed, in that order.
    pub caches_to: Vec<String>,
    /// Builds that made their image.
    pub succeeded: u64,
    /// Builds that failed by their script, or for a Dockerfile that cannot be read.
    pub failed: u64,
    /// Builds that ended by a fault of the engine, by their script.
    pub infra: u64,
    /// Builds that their client gave up.
    pub cancelled: u64,
    /// Pushes that the registry took.
    pub pushed: u64,
    /// Images held now.
    pub images: usize,
}

/// A build under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningBuild {
    /// The image's local name.
    pub image: String,
    /// The labels of its image: whose it is.
    pub labels: Labels,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Succeeded,
    Failed,
    Infra,
    /// Nobody listens any more.
    Cancelled,
}

/// Cheap to clone; all clones are one ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    told: Told,
    running: BTreeMap<u64, RunningBuild>,
    /// What builds were asked for.
    asked: Vec<BTreeMap<String, String>>,
    next: u64,
}

/// A build that is booked as running until this is dropped.
#[derive(Debug)]
pub struct Running {
    ledger: Ledger,
    number: u64,
    ended: Ended,
}

impl Ledger {
    /// Books the begin of a build.
    pub fn begin(&self, image: &str, labels: &Labels) -> Running {
        let mut inner = self.lock();
        *inner.told.begun.entry(image.to_owned()).or_default() += 1;
        inner.next += 1;
        let number = inner.next;
        inner.running.insert(number, RunningBuild { image: image.to_owned(), labels: labels.clone() });
        Running { ledger: self.clone(), number, ended: Ended::Cancelled }
    }

    /// Books what a build was given to begin with, if anything.
    pub fn begins_with(&self, image: &str, caches: Vec<String>) {
        if !caches.is_empty() {
            self.lock().told.caches_from.insert(image.to_owned(), caches);
        }
    }

    /// Books what a build was asked for.
    pub fn built(&self, asked: BTreeMap<String, String>) {
        self.lock().asked.push(asked);
    }

    /// Whether a build was asked for just this.
    pub fn was_built(&self, asked: &BTreeMap<String, String>) -> bool {
        self.lock().asked.contains(asked)
    }

    /// Books that layers of all stages were pushed there.
    pub fn kept(&self, reference: &str) {
        self.lock().told.caches_to.push(reference.to_owned());
    }

    /// Books the begin of a push.
    pub fn begin_push(&self, reference: &str) {
        *self.lock().told.pushes.entry(reference.to_owned()).or_default() += 1;
    }

    /// Books a push that was taken.
    pub fn pushed(&self) {
        self.lock().told.pushed += 1;
    }

    /// All of it; how many images there are is the caller's to say.
    pub fn told(&self, images: usize) -> Told {
        let inner = self.lock();
        Told { running: inner.running.values().cloned().collect(), images, ..inner.told.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Says how it ended; who says nothing was cancelled.
    pub fn end(mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut inner = self.ledger.lock();
        inner.running.remove(&self.number);
        let told = &mut inner.told;
        let count = match self.ended {
            Ended::Succeeded => &mut told.succeeded,
            Ended::Failed => &mut told.failed,
            Ended::Infra => &mut told.infra,
            Ended::Cancelled => &mut told.cancelled,
        };
        *count += 1;
    }
}
