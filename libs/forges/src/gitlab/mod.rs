//! GitLab: gitlab.com and self-managed instances.

mod change;
mod client;
pub(crate) mod compare;
pub(crate) mod contents;
pub(crate) mod heads;
pub(crate) mod hooks;
pub(crate) mod keys;
pub mod parse;
pub(crate) mod repos;
pub mod status;
pub mod verify;
