//! Bitbucket Data Center. Its signature is that of Bitbucket Cloud.

mod change;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod pages;
pub mod parse;

#[cfg(test)]
pub(crate) mod tests;
