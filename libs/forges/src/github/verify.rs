//! `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 of the raw body, also when it is form-encoded
//! (docs.github.com, "Validating webhook deliveries"). The SHA-1 header beside it proves nothing to us.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::HookAuth;

use crate::auth::{VerifyError, hmac_sha256_fits, usable};
use crate::headers::single;

const SIGNATURE: &str = "x-hub-signature-256";
const LEGACY_SIGNATURE: &str = "x-hub-signature";
const SHOWN: &str = "X-Hub-Signature-256";

/// Verifies over the raw bytes. GitHub signs no time, so `now` does not matter: replays are found by the
/// delivery id.
pub fn verify(
    headers: &HeaderMap,
    raw: &[u8],
    secrets: &[String],
    _now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let secrets = usable(secrets)?;
    let malformed = |problem| VerifyError::Malformed { header: SHOWN, problem };
    let value =
        single(headers, SIGNATURE).map_err(|_| VerifyError::Repeated(SHOWN))?.ok_or(VerifyError::Missing(SHOWN))?;
    let digits = value.strip_prefix("sha256=").ok_or_else(|| malformed("does not begin with sha256="))?;
    let tag = hex::decode(digits).map_err(|_| malformed("is not hexadecimal"))?;
    if secrets.iter().any(|secret| hmac_sha256_fits(secret.as_bytes(), &[raw], &tag)) {
        Ok(HookAuth::HmacSha256)
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// The proof that the headers carry, whether or not it holds.
pub(crate) fn claimed(headers: &HeaderMap) -> HookAuth {
    if headers.contains_key(SIGNATURE) {
        HookAuth::HmacSha256
    } else if headers.contains_key(LEGACY_SIGNATURE) {
        HookAuth::HmacSha1
    } else {
        HookAuth::None
    }
}
