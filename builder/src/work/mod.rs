//! What one attempt does on its host: fetch the source, make the context, build, push. Each part is a
//! function that can be dropped or cancelled at any await and then leaves no process behind; each error
//! is already a [`Failure`] that can be shown to the user.

pub mod advice;
pub mod cgroup;
pub mod context;
pub mod dockerignore;
pub mod engine;
pub mod failure;
pub mod lfs;
pub mod mirror;
pub mod source;

use slipway_domain::failure::{Failure, FailureClass};
use slipway_git::{internal, io_failure};

/// The failure of a call that was cancelled.
fn cancelled() -> Failure {
    Failure::new(FailureClass::Cancelled, "stopped on request")
}
