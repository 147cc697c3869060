//! Bitbucket Cloud. Data Center signs in the same way and says everything else in its own words.

mod change;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod hooks;
pub(crate) mod keys;
pub(crate) mod pages;
pub mod parse;
pub(crate) mod repos;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
