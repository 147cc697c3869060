//! What an attempt has made so far: told with its last word, also where it failed later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use slipway_domain::agent::PushedImage;
use slipway_domain::image::BuiltImage;

/// The outputs of one attempt.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    built: Vec<BuiltImage>,
    pushed: Vec<PushedImage>,
}

impl Outputs {
    /// An image was built, or more is known of the one at this place.
    pub fn built(&self, place: usize, image: BuiltImage) {
        let mut made = self.made();
        match made.built.get_mut(place) {
            Some(known) => *known = image,
            None => made.built.push(image),
        }
    }

    /// The registry took the image at this place.
    pub fn stored(&self, place: usize, digest: &str, layers: Vec<(String, i64)>) {
        if let Some(image) = self.made().built.get_mut(place) {
            image.pushed(digest, layers);
        }
    }

    /// A tag was moved, or left to a newer build.
    pub fn pushed(&self, image: PushedImage) {
        self.made().pushed.push(image);
    }

    /// All of it, for the last word.
    pub fn take(&self) -> (Vec<BuiltImage>, Vec<PushedImage>) {
        let made = std::mem::take(&mut *self.made());
        (made.built, made.pushed)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
