//! Takes in the logs of attempts, shows them while they grow, keeps them in object storage and serves
//! them. The row says how far a log is durable; what lies in memory here is only ahead of it, and the
//! builder's spool has it until then.

mod access;
mod archive;
mod batches;
mod flush;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod hole;
mod index;
mod ingest;
mod logs;
mod pace;
mod problem;
mod reader;
mod render;
mod room;
mod routes;
mod seal;
mod search;
mod storage;
mod tail;

pub use logs::{Deps, Logs};

use axum::Router;

/// Begins to store and to seal; both go on until the lifecycle stops.
pub fn start(deps: Deps) -> Logs {
    let logs = Logs::new(deps);
    logs.life().spawn("flush logs", flush::run(logs.clone()));
    logs.life().spawn("seal logs", seal::run(logs.clone()));
    logs.life().spawn("archive logs", archive::run(logs.clone()));
    logs
}

/// Routes for builders, under `/agent/v1`.
pub fn router(logs: &Logs) -> Router {
    ingest::router(logs.clone())
}

/// Routes for users, under `/api/v1`.
pub fn public_router(logs: &Logs) -> Router {
    routes::router(logs.clone())
}

#[cfg(test)]
mod tests;
