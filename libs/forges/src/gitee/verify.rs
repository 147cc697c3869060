//! `X-Gitee-Token` holds the hook's password, or in signature mode base64 of the HMAC-SHA256 of
//! `{X-Gitee-Timestamp}\n{secret}` ("WebHook 密钥验证和验证算法"). Nothing says which of the two it is, and neither
//! covers the body. A token that is no password of ours must hold as a signature, and be fresh.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use slipway_domain::event::HookAuth;

use crate::auth::{VerifyError, any_fits, hmac_sha256_fits, same_token, usable};
use crate::headers::single;

/// How far the signed time may be from ours, in either direction.
const WINDOW_SECS: u64 = 3600;

const TOKEN: &str = "X-Gitee-Token";
const TIMESTAMP: &str = "X-Gitee-Timestamp";
const MAC_BYTES: usize = 32;

/// Verifies the token. The body is not covered by it.
pub fn verify(
    headers: &HeaderMap,
    _raw: &[u8],
    secrets: &[String],
    now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let secrets = usable(secrets)?;
    let token = single(headers, TOKEN).map_err(|_| VerifyError::Repeated(TOKEN))?.ok_or(VerifyError::Missing(TOKEN))?;
    let password = any_fits(&secrets, HookAuth::SharedToken, |secret| same_token(secret, token));
    match mac(token) {
        Some(tag) if password.is_err() => verify_signed(headers, &tag, &secrets, now),
        _ => password,
    }
}

/// The proof that the headers carry, whether or not it holds.
pub(crate) fn claimed(headers: &HeaderMap) -> HookAuth {
    match headers.get(TOKEN).map(|token| token.to_str().unwrap_or_default()) {
        None => HookAuth::None,
        Some(token) if mac(token).is_some() => HookAuth::TimestampOnly,
        Some(_) => HookAuth::SharedToken,
    }
}

fn verify_signed(
    headers: &HeaderMap,
    tag: &[u8],
    secrets: &[&str],
    now: DateTime<Utc>,
) -> Result<HookAuth, VerifyError> {
    let timestamp = single(headers, TIMESTAMP)
        .map_err(|_| VerifyError::Repeated(TIMESTAMP))?
        .ok_or(VerifyError::Missing(TIMESTAMP))?;
    let malformed = |_| VerifyError::Malformed { header: TIMESTAMP, problem: "is not a number of milliseconds" };
    let millis: i64 = timestamp.parse().map_err(malformed)?;
    let proof = any_fits(secrets, HookAuth::TimestampOnly, |secret| {
        hmac_sha256_fits(secret.as_bytes(), &[timestamp.as_bytes(), b"\n", secret.as_bytes()], tag)
    })?;
    let by_secs = now.timestamp_millis().abs_diff(millis).div_ceil(1000);
    if by_secs > WINDOW_SECS {
        return Err(VerifyError::Stale { by_secs, limit_secs: WINDOW_SECS });
    }
    Ok(proof)
}

/// The MAC, if the token can be one. The documentation has it URL-encoded, real requests do not.
fn mac(token: &str) -> Option<Vec<u8>> {
    let plain = ["%2B", "%2b"].iter().fold(token.to_owned(), |text, code| text.replace(code, "+"));
    let plain = ["%2F", "%2f"].iter().fold(plain, |text, code| text.replace(code, "/"));
    let plain = plain.replace("%3D", "=").replace("%3d", "=");
    STANDARD.decode(plain).ok().filter(|mac| mac.len() == MAC_BYTES)
}
