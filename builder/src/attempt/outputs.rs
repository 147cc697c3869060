//! What an attempt has made so far: told with its last word, also where it failed later, and cleaned up after it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use slipway_domain::agent::PushedImage;
use slipway_domain::image::{Base, BuiltImage, bounded};

/// The outputs of one attempt. Variants are named by their place among those that are built.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    /// So many were begun: each may have left an image on the engine.
    begun: usize,
    built: BTreeMap<usize, BuiltImage>,
    bases: BTreeMap<usize, Vec<Base>>,
    pushed: Vec<PushedImage>,
}

impl Outputs {
    /// A variant is built from now on.
    pub fn begin(&self, variant: usize) {
        let mut made = self.made();
        made.begun = made.begun.max(variant + 1);
    }

    /// How many were begun.
    pub fn begun(&self) -> usize {
        self.made().begun
    }

    /// A stage of a variant stands upon this.
    pub fn upon(&self, variant: usize, base: Base) {
        let mut made = self.made();
        let bases = made.bases.entry(variant).or_default();
        if !bases.contains(&base) {
            bases.push(base);
        }
    }

    /// A variant was built.
    pub fn built(&self, variant: usize, image: BuiltImage) {
        let mut made = self.made();
        let bases = made.bases.remove(&variant).unwrap_or_default();
        made.built.insert(variant, BuiltImage { bases, ..image });
    }

    /// A registry took a variant.
    pub fn stored(&self, variant: usize, digest: &str, layers: Vec<(String, i64)>) {
        if let Some(image) = self.made().built.get_mut(&variant) {
            image.pushed(digest, layers);
        }
    }

    /// A tag was moved, or left to a newer build.
    pub fn pushed(&self, image: PushedImage) {
        self.made().pushed.push(image);
    }

    /// What is told with the last word.
    pub fn take(&self) -> (Vec<BuiltImage>, Vec<PushedImage>) {
        let mut made = self.made();
        let built = std::mem::take(&mut made.built).into_values().collect();
        (bounded(built), std::mem::take(&mut made.pushed))
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
