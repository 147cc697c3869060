//! GitLab: gitlab.com and self-managed instances.

mod change;
mod client;
pub(crate) mod contents;
pub mod parse;
pub mod status;
pub mod verify;
