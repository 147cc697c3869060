//! The outside world: REST, web pages, the OpenAPI document, health and metrics; intake of forge webhooks and
//! the statuses that go back.

mod addresses;
mod assets;
mod badge;
mod builders;
mod builds;
mod caller;
mod connections;
mod deliveries;
pub mod forge;
mod gauges;
mod github_apps;
mod headers;
mod idempotency;
pub mod intake;
mod jobs;
mod limits;
pub mod new_build;
mod openapi;
mod ops;
mod page_of;
mod pages;
mod pool_history;
mod pools;
mod projects;
mod registries;
pub mod reporter;
pub mod router;
mod secrets;
pub mod state;
mod store_problem;
mod sweep;
mod tenants;
#[cfg(test)]
mod tests;
mod texts;
mod tokens;
mod words;

pub use intake::Handover;
pub use router::router;
pub use slipway_forges::access::AppTokens;
pub use state::{ApiConfig, ApiState};

/// Starts the loops of this role; they end with the process.
pub fn run(state: &ApiState) {
    state.life.spawn("gauges", gauges::run(state.clone()));
    state.life.spawn("api-sweep", sweep::run(state.clone()));
    intake::start(state);
    reporter::start(state);
}
