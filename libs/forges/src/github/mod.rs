//! GitHub: github.com and GitHub Enterprise Server.

pub mod app;
pub mod app_manifest;
mod call;
mod change;
pub mod checks;
mod client;
pub(crate) mod compare;
pub(crate) mod contents;
#[cfg(test)]
mod fake;
pub(crate) mod heads;
pub(crate) mod hooks;
pub(crate) mod keys;
pub mod parse;
pub(crate) mod repos;
pub mod status;
pub mod verify;
