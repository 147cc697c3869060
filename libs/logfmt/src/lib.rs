//! The bytes of an attempt's log: chunks that builders send, segments that lie in object storage, the
//! masking of secrets, whole lines out of parallel steps, and plain text out of terminal output.
//! Pure: no IO, no async, no clock.
//!
//! A log is one byte stream: what the steps wrote, line by line and unchanged except for masked secrets,
//! plus lines of ours. Who wrote which range is told by spans beside the bytes, never inside them.

pub mod ansi;
pub mod chunk;
pub mod compose;
pub mod digest;
pub mod groups;
pub mod line;
pub mod mask;
pub mod outline;
mod packing;
pub mod seek_table;
pub mod segment;
pub mod terminal;
pub mod text;
mod wire;
