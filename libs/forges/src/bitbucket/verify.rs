//! `X-Hub-Signature: sha256=<hex>`: HMAC-SHA256 of the raw body, of Bitbucket Cloud and of Data Center
//! ("Manage webhooks", "Secure webhooks"). Without a secret on the forge the header is not there.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::HookAuth;

use crate::auth::{HexSignature, VerifyError, any_fits, hmac_sha256_fits, usable};

const SIGNATURE: HexSignature =
    HexSignature { header: "X-Hub-Signature", prefix: "sha256=", no_prefix: "does not begin with sha256=" };

/// Verifies over the raw bytes. No time is signed, so `now` does not matter.
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
    if headers.contains_key(SIGNATURE.header) { HookAuth::HmacSha256 } else { HookAuth::None }
}
