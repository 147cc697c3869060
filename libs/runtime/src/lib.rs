//! What every process needs and no service may do on its own: the clock, random ids, the lifecycle of
//! tasks, secrets at rest, the guard for outgoing connections, crash points and the HTTP kit.

pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod breakers;
pub mod client_address;
pub mod clock;
pub mod config;
pub mod crash;
pub mod egress;
pub mod health;
pub mod ids;
pub mod lifecycle;
pub mod ops;
pub mod problem;
pub mod secret_key;
pub mod telemetry;
pub mod trust;
pub mod wake;
pub mod web_session;
