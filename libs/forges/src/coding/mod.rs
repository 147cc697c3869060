//! CODING DevOps, in its three wire formats: the first webhooks ("v1"), "WebHook V2", and the Service Hook.

mod change;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod hooks;
pub mod parse;
pub(crate) mod repos;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
