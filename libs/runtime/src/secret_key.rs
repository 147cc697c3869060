//! The key that encrypts secrets at rest and signs attempt tokens. Held by api and dispatcher only.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ids::random_bytes;

const NONCE_BYTES: usize = 24;

/// 32 bytes. Never printed.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

/// A stored secret that cannot be opened: another key, another row, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret does not open with SLIPWAY_SECRET_KEY; was the key changed?")]
pub struct CannotOpen;

/// A key that is not 32 bytes of base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SLIPWAY_SECRET_KEY must be base64 of exactly 32 bytes; make one with: head -c 32 /dev/urandom | base64")]
pub struct BadKey;

impl SecretKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(random_bytes())
    }

    /// Reads the base64 form.
    pub fn from_base64(text: &str) -> Result<Self, BadKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| BadKey)?;
        Ok(Self(bytes.try_into().map_err(|_| BadKey)?))
    }

    /// The base64 form, for the key file.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Encrypts a secret, bound to the row that `context` names (`connection:<id>`).
    #[expect(clippy::expect_used, reason = "XChaCha20-Poly1305 fails only beyond 256 GiB")]
    pub fn seal(&self, context: &str, secret: &str) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload { msg: secret.as_bytes(), aad: context.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("a secret is short");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Decrypts what [`SecretKey::seal`] made for the same row.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<String, CannotOpen> {
        let (nonce, text) = sealed.split_at_checked(NONCE_BYTES).ok_or(CannotOpen)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| CannotOpen)?;
        let payload = Payload { msg: text, aad: context.as_bytes() };
        let open = self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| CannotOpen)?;
        String::from_utf8(open).map_err(|_| CannotOpen)
    }

    /// A token that can be made again from the same words: HMAC-SHA256 under this key.
    pub fn derive_token(&self, prefix: &str, words: &str) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length");
        mac.update(words.as_bytes());
        format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_for_its_row_and_key() {
        let key = SecretKey::generate();
        let sealed = key.seal("connection:1", "hunter2");
        assert_eq!(key.open("connection:1", &sealed).as_deref(), Ok("hunter2"));
        assert_eq!(key.open("connection:2", &sealed), Err(CannotOpen));
        assert_eq!(SecretKey::generate().open("connection:1", &sealed), Err(CannotOpen));
        assert_eq!(key.open("connection:1", b"short"), Err(CannotOpen));
    }

    #[test]
    fn keys_and_derived_tokens_are_stable() {
        let key = SecretKey::generate();
        let again = SecretKey::from_base64(&key.to_base64()).expect("its own text");
        assert_eq!(key.derive_token("a", "x"), again.derive_token("a", "x"));
        assert_ne!(key.derive_token("a", "x"), key.derive_token("a", "y"));
        assert!(SecretKey::from_base64("c2hvcnQ=").is_err());
        assert!(!format!("{key:?}").contains(&key.to_base64()));
    }
}
