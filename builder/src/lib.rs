//! The agent: pulls jobs by its own load, fetches source, drives BuildKit, pushes and reports.

pub mod agent;
mod attempt;
mod attempt_log;
mod cache;
mod claim;
pub mod client;
pub mod config;
mod feed;
pub mod gate;
mod halt;
mod home;
mod host;
pub mod logship;
mod probe;
mod report;
mod session;
pub mod shelf;
mod slots;
pub mod spool;
#[cfg(test)]
mod tests;
mod watermarks;
pub mod work;
