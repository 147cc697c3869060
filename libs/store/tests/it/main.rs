//! The contract of the store: every method on SQLite, and on PostgreSQL when `TEST_POSTGRES_URL` names a
//! server where databases may be made (`REQUIRE_BACKENDS=1` makes its absence a failure).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bad_rows;
mod builds;
mod census;
mod connections;
mod crew;
mod deliveries;
mod delivery_batches;
mod delivery_retention;
mod env;
mod fleet_samples;
mod fleets;
mod found;
mod hooks;
mod idempotency;
mod lives;
mod logs;
mod machine;
mod newer_builds;
mod projects;
mod races;
mod ref_heads;
mod registries;
mod restarts;
mod samples;
mod schema;
mod secrets;
mod statuses;
mod tags;
mod tenants;
mod tokens;
mod trends;
mod web_sessions;
