//! `X-Coding-Signature: sha1=<hex>`: HMAC-SHA1 of the raw body, of V2 and of the Service Hook (CODING help,
//! "WebHook", "Service Hook"). The first format has no signature: it carries the shared token in its body. A
//! signature that is there must hold, and the newer formats must have one; neither ever falls back to the token.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;
use slipway_domain::event::HookAuth;

use crate::auth::{HexSignature, VerifyError, any_fits, hmac_sha1_fits, same_token, usable};
use crate::body::read_json;

const SIGNATURE: HexSignature =
    HexSignature { header: "X-Coding-Signature", prefix: "sha1=", no_prefix: "does not begin with sha1=" };
/// Headers by which the newer formats are known.
const NEWER: [&str; 3] = ["x-coding-webhook-version", "x-coding-service-hook-event", "x-coding-service-hook-id"];

/// All that may be read of a body before it is believed.
#[derive(Deserialize)]
struct Shared {
    #[serde(default)]
    token: Option<String>,
}

/// Verifies over the raw bytes. No time is signed, so `now` does not matter.
pub fn verify(
    headers: &HeaderMap,
    raw: &[u8],
    secrets: &[String],
    _now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let secrets = usable(secrets)?;
    if headers.contains_key(SIGNATURE.header) || is_newer(headers) {
        let tag = SIGNATURE.tag(headers)?;
        return any_fits(&secrets, HookAuth::HmacSha1, |secret| hmac_sha1_fits(secret.as_bytes(), &[raw], &tag));
    }
    let token = shared_token(raw).ok_or(VerifyError::Missing("X-Coding-Signature (or the body's token)"))?;
    any_fits(&secrets, HookAuth::SharedToken, |secret| same_token(secret, &token))
}

/// The proof that headers and body carry, whether or not it holds.
pub(crate) fn claimed(headers: &HeaderMap, raw: &[u8]) -> HookAuth {
    if headers.contains_key(SIGNATURE.header) {
        HookAuth::HmacSha1
    } else if !is_newer(headers) && shared_token(raw).is_some() {
        HookAuth::SharedToken
    } else {
        HookAuth::None
    }
}

fn is_newer(headers: &HeaderMap) -> bool {
    NEWER.iter().any(|name| headers.contains_key(*name))
}

fn shared_token(raw: &[u8]) -> Option<String> {
    read_json::<Shared>(raw).ok()?.token.filter(|token| !token.is_empty())
}
