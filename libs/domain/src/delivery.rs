//! How a stored delivery stands. Every accepted one ends in a build or a recorded reason.

use crate::text_enum::text_enum;

text_enum! {
    /// Where a delivery stands.
    DeliveryState {
        /// Stored, not worked yet.
        Received = "received",
        /// It made its builds, or joined those that existed.
        Done = "done",
        /// Authentic, and nothing to do; the reason says why.
        Ignored = "ignored",
        /// It cannot be worked; the reason says why.
        Failed = "failed",
    }
}
