//! What a forge says to us and what we say to it: one folder per forge for verifying and parsing its
//! deliveries (pure), for commit statuses and for reading files at a commit. The hook's row decides
//! which forge it is, never the headers.

pub mod access;
pub mod api;
mod auth;
pub mod bitbucket;
pub mod bitbucket_dc;
mod body;
pub mod change_ref;
pub mod changes;
pub mod coding;
mod contents;
mod deploy_keys;
#[cfg(test)]
mod expect;
pub mod gitea;
pub mod gitee;
pub mod github;
pub mod gitlab;
pub mod headers;
mod heads;
pub mod hook;
pub mod inspect;
pub mod redact;
mod refs;
pub mod repos;
pub mod status;
#[cfg(test)]
mod testing;
mod transport;
pub mod webhooks;
