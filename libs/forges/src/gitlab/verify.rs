//! The signed form of GitLab 19.0 (Standard Webhooks 1.0: `{webhook-id}.{webhook-timestamp}.{body}` under
//! the key in `whsec_<base64>`) and, without a signature, the shared `X-Gitlab-Token`. A signature that is
//! there must hold; there is no way from a failed one to the token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::HookAuth;

use crate::auth::{VerifyError, any_fits, hmac_sha256_fits, same_token, usable};
use crate::headers::single;

/// How far the signed time may be from ours, in either direction.
const WINDOW_SECS: u64 = 300;

const SIGNATURE: &str = "webhook-signature";
const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const TOKEN: &str = "x-gitlab-token";
const TOKEN_SHOWN: &str = "X-Gitlab-Token";

/// Verifies over the raw bytes.
pub fn verify(
    headers: &HeaderMap,
    raw: &[u8],
    secrets: &[String],
    now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let secrets = usable(secrets)?;
    if headers.contains_key(SIGNATURE) {
        return verify_signed(headers, raw, &secrets, now);
    }
    let token = single(headers, TOKEN)
        .map_err(|_| VerifyError::Repeated(TOKEN_SHOWN))?
        .ok_or(VerifyError::Missing("webhook-signature or X-Gitlab-Token"))?;
    any_fits(&secrets, HookAuth::SharedToken, |secret| same_token(secret, token))
}

/// The proof that the headers carry, whether or not it holds.
pub(crate) fn claimed(headers: &HeaderMap) -> HookAuth {
    if headers.contains_key(SIGNATURE) {
        HookAuth::StandardWebhooksV1
    } else if headers.contains_key(TOKEN) {
        HookAuth::SharedToken
    } else {
        HookAuth::None
    }
}

fn verify_signed(
    headers: &HeaderMap,
    raw: &[u8],
    secrets: &[&str],
    now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let only = |name: &'static str| {
        single(headers, name).map_err(|_| VerifyError::Repeated(name))?.ok_or(VerifyError::Missing(name))
    };
    let malformed = |header, problem| VerifyError::Malformed { header, problem };
    let (signature, id, timestamp) = (only(SIGNATURE)?, only(ID)?, only(TIMESTAMP)?);
    let secs: i64 = timestamp.parse().map_err(|_| malformed(TIMESTAMP, "is not a number of seconds"))?;
    // One header holds several values while the forge rotates its key; other versions are not for us.
    let encoded: Vec<&str> = signature.split_ascii_whitespace().filter_map(|part| part.strip_prefix("v1,")).collect();
    if encoded.is_empty() {
        return Err(malformed(SIGNATURE, "has no value that begins with v1,"));
    }
    let tags: Vec<Vec<u8>> = encoded.iter().filter_map(|text| base64(text)).collect();
    if tags.is_empty() {
        return Err(malformed(SIGNATURE, "is not base64"));
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", raw];
    let fits = |key: &Vec<u8>| tags.iter().any(|tag| hmac_sha256_fits(key, &signed, tag));
    if !secrets.iter().filter_map(|secret| signing_key(secret)).any(|key| fits(&key)) {
        return Err(VerifyError::Mismatch);
    }
    let by_secs = now.timestamp().abs_diff(secs);
    if by_secs > WINDOW_SECS {
        return Err(VerifyError::Stale { by_secs, limit_secs: WINDOW_SECS });
    }
    Ok(HookAuth::StandardWebhooksV1)
}

/// The key in `whsec_<base64>`; other secrets are shared tokens and sign nothing.
fn signing_key(secret: &str) -> Option<Vec<u8>> {
    base64(secret.strip_prefix("whsec_")?).filter(|key| !key.is_empty())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
