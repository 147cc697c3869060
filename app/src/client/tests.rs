//! The commands against an API that answers as each test needs it.

mod commands;
mod deliveries;
mod fake;
mod following;
mod progress;
mod secrets;
