//! What one attempt does on its host: fetch the source, make the context, build, push. Each part is a
//! function that can be dropped or cancelled at any await and then leaves no process behind; each error
//! is already a [`Failure`] that can be shown to the user.

pub mod context;
pub mod dockerignore;
pub mod engine;
pub mod failure;
pub mod source;

use slipway_domain::failure::{Failure, FailureClass};

/// The failure of a call that was cancelled.
fn cancelled() -> Failure {
    Failure::new(FailureClass::Cancelled, "stopped on request")
}

/// A fault of ours.
fn internal(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Internal, format!("{what}: {error}"))
}

/// A fault of this host's files: a full disk has a class of its own.
fn io_failure(what: &str, error: &std::io::Error) -> Failure {
    let class = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FailureClass::DiskFull,
        _ => FailureClass::Internal,
    };
    Failure::new(class, format!("{what}: {error}"))
}
