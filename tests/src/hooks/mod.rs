//! Deliveries as forges send them: realistic bodies, real headers, real signatures.

pub mod github;
pub mod gitlab;

use slipway_runtime::ids::random_bytes;

/// The object id by which forges say "none".
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// One request to a hook.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The exact bytes that are signed.
    pub body: Vec<u8>,
}

impl Delivery {
    /// The same delivery with one header replaced or added.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(old, _)| !old.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A random id in the form of a UUID, as forges number their deliveries.
pub fn delivery_id() -> String {
    uuid::Uuid::from_bytes(random_bytes::<16>()).to_string()
}
