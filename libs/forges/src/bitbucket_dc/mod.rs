//! Bitbucket Data Center. Its signature is that of Bitbucket Cloud.

mod change;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod hooks;
pub(crate) mod keys;
pub(crate) mod pages;
pub mod parse;
pub(crate) mod repos;

#[cfg(test)]
pub(crate) mod tests;
