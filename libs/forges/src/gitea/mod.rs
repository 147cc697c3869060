//! Gitea and Forgejo, which send the same.

mod change;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod hooks;
pub(crate) mod keys;
pub mod parse;
pub(crate) mod repos;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
