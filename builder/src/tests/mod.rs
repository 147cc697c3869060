//! Stories of one builder against a fake of the agent API at the network edge.

mod engine;
pub mod fake;
mod flow;
mod log;
mod log_services;
mod session;
pub(crate) mod tls;
