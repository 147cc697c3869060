//! `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 of the raw body, also when it is form-encoded
//! (docs.github.com, "Validating webhook deliveries"). The SHA-1 header beside it proves nothing to us.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::HookAuth;

use crate::auth::{HexSignature, VerifyError, any_fits, hmac_sha256_fits, usable};

const SIGNATURE: HexSignature =
    HexSignature { header: "X-Hub-Signature-256", prefix: "sha256=", no_prefix: "does not begin with sha256=" };
const LEGACY_SIGNATURE: &str = "x-hub-signature";

/// Verifies over the raw bytes. GitHub signs no time, so `now` does not matter: replays are found by the
/// delivery id.
pub fn verify(
    headers: &HeaderMap,
    raw: &[u8],
    secrets: &[String],
    _now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let secrets = usable(secrets)?;
    let tag = SIGNATURE.tag(headers)?;
    any_fits(&secrets, HookAuth::HmacSha256, |secret| hmac_sha256_fits(secret.as_bytes(), &[raw], &tag))
}

/// The proof that the headers carry, whether or not it holds.
pub(crate) fn claimed(headers: &HeaderMap) -> HookAuth {
    if headers.contains_key(SIGNATURE.header) {
        HookAuth::HmacSha256
    } else if headers.contains_key(LEGACY_SIGNATURE) {
        HookAuth::HmacSha1
    } else {
        HookAuth::None
    }
}
