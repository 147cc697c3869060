//! Proofs of origin: constant-time comparison of MACs and shared tokens, and why a proof does not hold.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use slipway_domain::event::HookAuth;
use subtle::ConstantTimeEq;

use crate::headers::single;

/// Why a delivery is not believed. Holds no secret, and nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The hook has no secret, so nothing can be proved.
    #[error("no secret is set, so nothing can be proved")]
    NoSecret,
    /// There is a secret, but the request proves nothing.
    #[error("header {0} is missing; set the hook's secret on the forge")]
    Missing(&'static str),
    /// A header that must be there once is there more often.
    #[error("header {0} is there more than once")]
    Repeated(&'static str),
    /// The proof is not written as this forge writes it.
    #[error("header {header} {problem}")]
    Malformed {
        /// The header.
        header: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The signed time is too far from ours.
    #[error("the signed time is {by_secs} s away from ours; at most {limit_secs} s are allowed")]
    Stale {
        /// Distance to our clock, in seconds.
        by_secs: u64,
        /// How far it may be.
        limit_secs: u64,
    },
    /// The proof does not fit any of the hook's secrets.
    #[error("the proof does not fit the hook's secret")]
    Mismatch,
}

impl VerifyError {
    /// A short word for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::Missing(_) => "missing",
            Self::Repeated(_) => "repeated",
            Self::Malformed { .. } => "malformed",
            Self::Stale { .. } => "stale",
            Self::Mismatch => "mismatch",
        }
    }
}

/// The secrets that can prove anything: an empty one would be matched by an empty token.
pub(crate) fn usable(secrets: &[String]) -> Result<Vec<&str>, VerifyError> {
    let usable: Vec<&str> = secrets.iter().map(String::as_str).filter(|secret| !secret.is_empty()).collect();
    if usable.is_empty() { Err(VerifyError::NoSecret) } else { Ok(usable) }
}

/// A header that carries a MAC in hexadecimal digits of either case.
pub(crate) struct HexSignature {
    /// The header as people write it.
    pub(crate) header: &'static str,
    /// What stands before the digits.
    pub(crate) prefix: &'static str,
    /// What to say where it does not.
    pub(crate) no_prefix: &'static str,
}

impl HexSignature {
    /// The MAC that the headers carry.
    pub(crate) fn tag(&self, headers: &HeaderMap) -> Result<Vec<u8>, VerifyError> {
        let malformed = |problem| VerifyError::Malformed { header: self.header, problem };
        let value = single(headers, self.header).map_err(|_| VerifyError::Repeated(self.header))?;
        let value = value.ok_or(VerifyError::Missing(self.header))?;
        let digits = value.strip_prefix(self.prefix).ok_or_else(|| malformed(self.no_prefix))?;
        hex::decode(digits).map_err(|_| malformed("is not hexadecimal"))
    }
}

/// The proof, if one of the secrets fits.
pub(crate) fn any_fits(secrets: &[&str], auth: HookAuth, fits: impl Fn(&str) -> bool) -> Result<HookAuth, VerifyError> {
    if secrets.iter().any(|secret| fits(secret)) { Ok(auth) } else { Err(VerifyError::Mismatch) }
}

/// True when `tag` is the HMAC-SHA256 of the joined parts; compares in constant time.
pub(crate) fn hmac_sha256_fits(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    mac_fits::<Hmac<Sha256>>(key, parts, tag)
}

/// True when `tag` is the HMAC-SHA1 of the joined parts; compares in constant time. For the forge that has
/// nothing better: as a MAC, SHA-1 is not broken.
pub(crate) fn hmac_sha1_fits(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    mac_fits::<Hmac<Sha1>>(key, parts, tag)
}

fn mac_fits<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("any length");
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(tag).is_ok()
}

/// Compares two tokens in constant time; hashing first hides their length as well.
pub(crate) fn same_token(one: &str, other: &str) -> bool {
    Sha256::digest(one.as_bytes()).ct_eq(&Sha256::digest(other.as_bytes())).into()
}
