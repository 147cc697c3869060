//! What came in with a delivery, as it is stored: without its secrets, and without its body once that is not
//! kept any more. What the forge meant is read from it again, as the intake does.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use slipway_blobs::BlobError;
use slipway_domain::event::{ForgeKind, HookAuth};
use slipway_forges::headers::from_map;
use slipway_forges::hook::Received;
use slipway_forges::inspect::{Exit, Inspection, inspect};
use slipway_runtime::problem::ApiError;
use slipway_store::deliveries::Delivery;
use tracing::warn;
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::intake::body_of;
use crate::openapi::InspectionDoc;
use crate::state::ApiState;
use crate::store_problem::OrProblem;

/// Of a larger body the API shows the beginning, in bytes.
const MAX_SHOWN: usize = 1024 * 1024;

/// What came in with a delivery. Secrets are masked: they were never stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Payload)]
pub struct PayloadJson {
    headers: BTreeMap<String, String>,
    /// The body as text, at most 1 MiB of it; empty if it is not kept. What is no UTF-8 is replaced by U+FFFD.
    body: String,
    /// The same bytes, if they are no UTF-8.
    body_base64: Option<String>,
    /// The body is longer than what is shown.
    truncated: bool,
    /// Length of the whole body as it is kept.
    size_bytes: usize,
    /// False once the body was deleted; the delivery cannot be replayed then.
    kept: bool,
    /// What it means; null without a body.
    #[schema(value_type = Option<InspectionDoc>)]
    inspection: Option<Inspection>,
}

/// What is stored of a delivery.
#[derive(Debug)]
pub struct Payload {
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The whole body, while it is kept.
    pub body: Option<Vec<u8>>,
    /// What it means, while the body is kept.
    pub inspection: Option<Inspection>,
}

/// Reads what came in with a delivery that the caller sees, wherever its body lies.
pub async fn stored(
    state: &ApiState,
    caller: Caller,
    delivery: &Delivery,
    forge: ForgeKind,
) -> Result<Payload, ApiError> {
    let row = state.db.delivery_payload(&caller.scope, delivery.id).await.or_problem()?;
    let headers = row.headers.0;
    let body = match body_of(state, row.body, row.body_blob.as_deref()).await {
        // Deleting a body leaves nothing in its place; a delivery without any body has nothing to read either.
        Ok(body) if body.is_empty() => None,
        Ok(body) => Some(body),
        // It was deleted after its row was read.
        Err(error) if matches!(error.downcast_ref(), Some(BlobError::NotFound(_))) => None,
        Err(error) => {
            warn!(delivery.id = %delivery.id, error = format!("{error:#}"), "the body of a delivery cannot be read");
            let busy =
                "The body of this delivery lies in object storage, which does not answer; ask again in a moment.";
            return Err(ApiError::Busy(busy.to_owned(), 5));
        }
    };
    let inspection = body.as_ref().map(|body| verdict(delivery.auth, forge, &headers, body));
    Ok(Payload { headers, body, inspection })
}

/// What a stored delivery means. It was verified before it was stored, or there would be no row. Its signature is
/// masked now, so that it cannot be verified again: the row says how it was.
fn verdict(auth: HookAuth, kind: ForgeKind, headers: &BTreeMap<String, String>, body: &[u8]) -> Inspection {
    let inspection = match from_map(headers) {
        // Without secrets the time is not looked at.
        Ok(headers) => inspect(&Received { kind, headers: &headers, body }, &[], chrono::DateTime::UNIX_EPOCH),
        Err(reason) => Inspection {
            verified: false,
            auth,
            outcome: None,
            reason: Some(reason),
            events: Vec::new(),
            exit: Exit::Malformed,
        },
    };
    Inspection { verified: true, auth, ..inspection }
}

impl From<Payload> for PayloadJson {
    fn from(payload: Payload) -> Self {
        let Payload { headers, body, inspection } = payload;
        let whole = body.as_deref().unwrap_or_default();
        let (text, base64) = shown(whole, MAX_SHOWN);
        Self {
            headers,
            body: text,
            body_base64: base64,
            truncated: whole.len() > MAX_SHOWN,
            size_bytes: whole.len(),
            kept: body.is_some(),
            inspection,
        }
    }
}

/// The first bytes as text, cut between two characters; and as base64, if the body is no text.
fn shown(body: &[u8], limit: usize) -> (String, Option<String>) {
    match std::str::from_utf8(body) {
        Ok(text) => (text[..text.floor_char_boundary(limit)].to_owned(), None),
        Err(_) => {
            let bytes = &body[..body.len().min(limit)];
            (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_are_cut_between_characters_and_bytes_that_are_no_text_come_as_such() {
        let cases: [(&[u8], &str, Option<&str>); 6] = [
            (b"", "", None),
            (b"abc", "abc", None),
            ("aé€".as_bytes(), "aé", None),
            ("a€b".as_bytes(), "a€", None),
            (b"a\xff", "a\u{fffd}", Some("Yf8=")),
            (b"abcd\xff", "abcd", Some("YWJjZA==")),
        ];
        for (body, text, base64) in cases {
            assert_eq!(shown(body, 4), (text.to_owned(), base64.map(str::to_owned)), "{body:?}");
        }
    }

    #[test]
    fn headers_that_http_does_not_allow_are_named() {
        let headers = BTreeMap::from([("a b".to_owned(), String::new())]);
        let verdict = verdict(HookAuth::HmacSha256, ForgeKind::Github, &headers, b"{}");
        assert_eq!((verdict.verified, verdict.auth, verdict.outcome), (true, HookAuth::HmacSha256, None));
        assert!(verdict.reason.is_some_and(|reason| reason.contains("\"a b\"")));
    }
}
