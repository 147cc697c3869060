//! What an offer looks like on a broker: `{"v":1,"job":…,"dispatch":…}`. Roles of two releases read the same
//! queues, so a field may be added at any time and is ignored by who does not know it. A version is raised only
//! when an older reader would do harm, and is written only by the release after the first that reads it.

use serde::{Deserialize, Serialize};
use slipway_domain::agent::Offer;
use slipway_domain::ids::{DispatchId, JobId};

/// The newest version that this release reads, and the one it writes.
const VERSION: u32 = 1;

/// What a body turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// An offer.
    Offer(Offer),
    /// Written by a newer release: not ours to take and not ours to lose.
    Newer(u32),
    /// Nothing that any release wrote.
    Garbage,
}

#[derive(Serialize, Deserialize)]
struct V1 {
    v: u32,
    job: JobId,
    dispatch: DispatchId,
}

#[derive(Deserialize)]
struct AnyVersion {
    v: u32,
}

/// The body of an offer.
pub(crate) fn encode(offer: Offer) -> Vec<u8> {
    let body = serde_json::json!({ "v": VERSION, "job": offer.job, "dispatch": offer.dispatch });
    body.to_string().into_bytes()
}

/// Reads a body. Never fails: what cannot be read has a name too.
pub(crate) fn decode(body: &[u8]) -> Body {
    match serde_json::from_slice::<AnyVersion>(body) {
        Ok(AnyVersion { v }) if v > VERSION => Body::Newer(v),
        Ok(AnyVersion { v: VERSION }) => match serde_json::from_slice::<V1>(body) {
            Ok(V1 { job, dispatch, .. }) => Body::Offer(Offer { job, dispatch }),
            Err(_) => Body::Garbage,
        },
        Ok(_) | Err(_) => Body::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::{new_id, random_id};

    use super::*;

    /// As the first release wrote it; it must be readable for ever.
    const RECORDED_V1: &str = include_str!("../../domain/recorded/1/queue_offer.json");

    #[test]
    fn what_is_written_is_read() {
        let offer = Offer { job: new_id(), dispatch: random_id() };
        assert_eq!(decode(&encode(offer)), Body::Offer(offer));
    }

    #[test]
    fn recorded_messages_are_read_and_written_the_same() {
        let Body::Offer(offer) = decode(RECORDED_V1.as_bytes()) else { panic!("a recorded message is an offer") };
        assert_eq!(offer.job.to_string(), "01930000-0000-7000-8000-000000000001");
        assert_eq!(String::from_utf8(encode(offer)).expect("text"), RECORDED_V1.trim_end());
    }

    #[test]
    fn bodies_by_kind() {
        let grown = RECORDED_V1.replace('}', r#","hint":{"cache":"x"}}"#);
        assert!(matches!(decode(grown.as_bytes()), Body::Offer(_)), "unknown fields are ignored");
        assert_eq!(decode(br#"{"v":2,"anything":true}"#), Body::Newer(2));
        for garbage in ["", "hello", "[]", "{}", r#"{"v":0}"#, r#"{"v":1}"#, r#"{"v":1,"job":"x","dispatch":"y"}"#] {
            assert_eq!(decode(garbage.as_bytes()), Body::Garbage, "{garbage}");
        }
        assert_eq!(decode(&[0xff, 0xfe]), Body::Garbage);
    }
}
