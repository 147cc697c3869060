//! How far a commit status has come on its way to the forge.

use crate::text_enum::text_enum;

text_enum! {
    /// Where a wanted commit status stands.
    StatusState {
        /// To be sent, or to be sent again.
        Due = "due",
        /// The forge acknowledged it.
        Sent = "sent",
        /// The forge refuses it for good; a newer one is tried again.
        GivenUp = "given_up",
    }
}
