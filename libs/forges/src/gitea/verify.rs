//! `X-Gitea-Signature: <hex>`, without a prefix: HMAC-SHA256 of the JSON payload, also when it is sent in a form
//! (gitea `services/webhook/deliver.go`). A hook without a secret sends the header empty. The copies of GitHub's
//! and Gogs's headers beside it prove nothing to us.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::HookAuth;

use crate::auth::{HexSignature, VerifyError, any_fits, hmac_sha256_fits, usable};
use crate::body::json_body;

const SIGNATURE: HexSignature = HexSignature { header: "X-Gitea-Signature", prefix: "", no_prefix: "" };

/// Verifies over the JSON payload. No time is signed, so `now` does not matter.
pub fn verify(
    headers: &HeaderMap,
    raw: &[u8],
    secrets: &[String],
    _now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let secrets = usable(secrets)?;
    let tag = SIGNATURE.tag(headers)?;
    if tag.is_empty() {
        return Err(VerifyError::Missing(SIGNATURE.header));
    }
    let json = json_body(headers, raw).map_err(|_| VerifyError::Mismatch)?;
    any_fits(&secrets, HookAuth::HmacSha256, |secret| hmac_sha256_fits(secret.as_bytes(), &[&json], &tag))
}

/// The proof that the headers carry, whether or not it holds.
pub(crate) fn claimed(headers: &HeaderMap) -> HookAuth {
    if headers.get(SIGNATURE.header).is_some_and(|value| !value.is_empty()) {
        HookAuth::HmacSha256
    } else {
        HookAuth::None
    }
}
