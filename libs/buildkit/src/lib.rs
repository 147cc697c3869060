//! A client of BuildKit, inside a Docker engine or alone: one build per [`solve`](client::BuildKit::solve), with
//! its context, secrets and logins served from here, its progress, its image id or the reason why there is none.
//!
//! A build has three connections of its own: the session, in which the engine calls us (for the context, secrets
//! and logins), one for the build itself and one for its progress. Everything that they start lives in their
//! tasks, and whoever drops the build shuts their sockets down, which is also what kills a build's processes.
//! Progress has a connection to itself because what is not read there must never hold up the build: HTTP/2 libraries
//! close a connection on which too many small frames wait for a reader.

mod call;
pub mod client;
pub mod endpoint;
mod errdefs;
pub mod error;
mod feed;
mod nest;
mod session;
pub mod socket;
pub mod solve;
mod spill;
#[cfg(test)]
mod tests;
pub mod tokens;
mod upgrade;
mod watch;
