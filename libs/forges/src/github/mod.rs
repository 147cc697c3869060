//! GitHub: github.com and GitHub Enterprise Server.

mod call;
mod change;
mod client;
pub(crate) mod compare;
pub(crate) mod contents;
pub(crate) mod heads;
pub mod parse;
pub mod status;
pub mod verify;
