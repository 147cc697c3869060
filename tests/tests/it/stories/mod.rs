//! Stories over the whole app in the user's words, against the real binary, a real engine and a real
//! registry. Only the outside face is used.

mod push_becomes_image;
