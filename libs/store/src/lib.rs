//! All SQL of Slipway, for PostgreSQL and SQLite behind one [`Db`]: one text per statement, one file per
//! table. A state change is decided by `domain` and committed here by compare-and-set.

pub mod attempts;
pub mod builders;
pub mod builds;
pub mod db;
pub mod error;
pub mod jobs;
pub mod leaders;
pub mod logs;
pub mod role;
pub mod scope;
pub mod sessions;
pub mod tags;

pub use db::Db;
pub use error::StoreError;
pub use scope::Scope;
