//! The signatures under deliveries.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// HMAC-SHA256; a key may have any length.
pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    signed::<Hmac<Sha256>>(key, message)
}

/// HMAC-SHA1, as old forges have it.
pub(super) fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    signed::<Hmac<Sha1>>(key, message)
}

fn signed<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = match <M as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(never) => unreachable!("HMAC takes keys of every length: {never}"),
    };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
