//! Gitea and Forgejo, which send the same.

mod change;
pub mod parse;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
