//! Random ids and tokens. The only user of the system's randomness in product code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use slipway_domain::ids::Id;
use uuid::Uuid;

/// A new id that sorts by the time it was made (UUID version 7).
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
pub fn new_id<T: Id>() -> T {
    T::from(Uuid::now_v7())
}

/// A new id of 122 random bits (UUID version 4), for what must not be guessed or ordered.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
pub fn random_id<T: Id>() -> T {
    T::from(Uuid::new_v4())
}

/// Bytes from the system's source of randomness. Panics if it fails: nothing safe could follow.
#[expect(clippy::expect_used, reason = "without randomness no token is safe, so the process must not go on")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's source of randomness works");
    bytes
}

/// A new bearer token of 256 random bits, with a prefix that secret scanners can find.
pub fn new_token(prefix: &str) -> String {
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
}

/// What the database keeps of a token: the SHA-256. Tokens are random, so no slow hash is needed.
pub fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use slipway_domain::ids::{HookId, JobId};

    use super::*;

    #[test]
    fn ids_sort_by_time_unless_random() {
        let first: JobId = new_id();
        let second: JobId = new_id();
        assert!(first < second);
        assert_ne!(random_id::<HookId>(), random_id::<HookId>());
    }

    #[test]
    fn tokens_differ_and_hash_to_32_bytes() {
        let token = new_token("slw");
        assert!(token.starts_with("slw_") && token.len() > 40);
        assert_ne!(token, new_token("slw"));
        assert_eq!(token_hash(&token).len(), 32);
    }
}
