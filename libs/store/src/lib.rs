//! All SQL of Slipway, for PostgreSQL and SQLite behind one [`Db`]: one text per statement (but for `batches`),
//! one file per table. A state change is decided by `domain` and committed here by compare-and-set.

pub mod approvals;
pub mod attempt_ends;
pub mod attempts;
pub mod avoidance;
mod batches;
pub mod build_pages;
pub mod builders;
pub mod builds;
pub mod census;
pub mod claims;
pub mod connections;
pub mod db;
pub mod deliveries;
pub mod delivery_moves;
pub mod delivery_retention;
pub mod delivery_work;
pub mod error;
pub mod hooks;
pub mod idempotency;
pub mod job_cancels;
pub mod job_deadlines;
pub mod jobs;
pub mod leaders;
pub mod logs;
pub mod projects;
pub mod queues;
mod readable;
pub mod ref_heads;
mod ref_order;
pub mod registries;
mod schema;
pub mod scope;
pub mod sessions;
mod sole_owner;
pub mod statuses;
pub mod tags;
pub mod tenants;
pub mod tokens;
pub mod unreturned_leaves;
pub mod web_sessions;

pub use db::Db;
pub use error::StoreError;
pub use scope::Scope;
