//! Proofs: what holds, and every way in which one does not.

use http::HeaderMap;
use slipway_domain::event::{ForgeKind, HookAuth};

use super::*;
use crate::testing::{Delivery, SECRET, SIGNING_TOKEN, at, github, gitlab, gitlab_signed, set};

const NOW: i64 = 1_790_000_000;

fn judge(delivery: &Delivery, secrets: &[&str]) -> Result<HookAuth, VerifyError> {
    let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    verify(&delivery.received(), &secrets, at(NOW))
}

fn reason(delivery: &Delivery, secrets: &[&str]) -> &'static str {
    judge(delivery, secrets).map_or_else(|e| e.reason(), |_| "accepted")
}

/// From "Validating webhook deliveries" on docs.github.com.
#[test]
fn githubs_official_vector_holds() {
    let mut headers = HeaderMap::new();
    let tag = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    set(&mut headers, "X-Hub-Signature-256", tag);
    let vector = Delivery { kind: ForgeKind::Github, headers, body: b"Hello, World!".to_vec() };
    assert_eq!(judge(&vector, &[SECRET]), Ok(HookAuth::HmacSha256));
    assert_eq!(judge(&vector.clone().with("X-Hub-Signature-256", &tag.to_uppercase()), &[SECRET]).ok(), None);
    let digits = tag.trim_start_matches("sha256=").to_uppercase();
    let upper = vector.with("X-Hub-Signature-256", &format!("sha256={digits}"));
    assert_eq!(judge(&upper, &[SECRET]), Ok(HookAuth::HmacSha256));
}

#[test]
fn github_refuses_all_that_is_not_exactly_signed() {
    let good = github("push", "{\"a\": 1}");
    let signature = good.headers["x-hub-signature-256"].to_str().expect("text").to_owned();
    let digits = signature.trim_start_matches("sha256=");
    let header = |value: &str| good.clone().with("X-Hub-Signature-256", value);
    let mut twice = good.clone();
    twice.headers.append("x-hub-signature-256", signature.parse().expect("a value"));
    let mut reformatted = good.clone();
    reformatted.body = b"{\"a\":1}".to_vec();
    let only_sha1 = good.clone().without("X-Hub-Signature-256").with("X-Hub-Signature", &format!("sha1={digits}"));

    let table: &[(&str, &Delivery, &[&str], &str)] = &[
        ("as signed", &good, &[SECRET], "accepted"),
        ("current and previous", &good, &["newer", SECRET], "accepted"),
        ("other secret", &good, &["other"], "mismatch"),
        ("no secret", &good, &[], "no_secret"),
        ("empty secret", &good, &[""], "no_secret"),
        ("no header", &good.clone().without("X-Hub-Signature-256"), &[SECRET], "missing"),
        ("only the old header", &only_sha1, &[SECRET], "missing"),
        ("no prefix", &header(digits), &[SECRET], "malformed"),
        ("wrong prefix", &header(&format!("sha1={digits}")), &[SECRET], "malformed"),
        ("empty", &header(""), &[SECRET], "malformed"),
        ("odd length", &header(&format!("sha256={}", &digits[1..])), &[SECRET], "malformed"),
        ("cut", &header(&format!("sha256={}", &digits[2..])), &[SECRET], "mismatch"),
        ("nothing after the prefix", &header("sha256="), &[SECRET], "mismatch"),
        ("not hexadecimal", &header("sha256=zz"), &[SECRET], "malformed"),
        ("not ASCII", &header("sha256=\u{fc}"), &[SECRET], "malformed"),
        ("twice", &twice, &[SECRET], "repeated"),
        ("reformatted", &reformatted, &[SECRET], "mismatch"),
    ];
    for (name, delivery, secrets, expected) in table {
        assert_eq!(reason(delivery, secrets), *expected, "{name}");
    }
}

#[test]
fn gitlab_tokens_are_compared_whole() {
    let good = gitlab("Push Hook", "{}");
    let mut twice = good.clone();
    twice.headers.append("x-gitlab-token", SECRET.parse().expect("a value"));
    let table: &[(&str, &Delivery, &[&str], &str)] = &[
        ("equal", &good, &[SECRET], "accepted"),
        ("previous", &good, &["newer", SECRET], "accepted"),
        ("prefix of it", &good.clone().with("X-Gitlab-Token", "It's"), &[SECRET], "mismatch"),
        ("longer", &good.clone().with("X-Gitlab-Token", &format!("{SECRET}!")), &[SECRET], "mismatch"),
        ("other case", &good.clone().with("X-Gitlab-Token", &SECRET.to_uppercase()), &[SECRET], "mismatch"),
        ("empty", &good.clone().with("X-Gitlab-Token", ""), &[SECRET], "mismatch"),
        ("empty on both sides", &good.clone().with("X-Gitlab-Token", ""), &[""], "no_secret"),
        ("missing", &good.clone().without("X-Gitlab-Token"), &[SECRET], "missing"),
        ("twice", &twice, &[SECRET], "repeated"),
        ("no secret", &good, &[], "no_secret"),
    ];
    for (name, delivery, secrets, expected) in table {
        assert_eq!(reason(delivery, secrets), *expected, "{name}");
    }
    assert_eq!(judge(&good, &[SECRET]), Ok(HookAuth::SharedToken));
}

#[test]
fn gitlab_signatures_cover_id_time_and_body() {
    let good = gitlab_signed("Push Hook", "{}", at(NOW));
    let signature = good.headers["webhook-signature"].to_str().expect("text").to_owned();
    let other_body = Delivery { body: b"{ }".to_vec(), ..good.clone() };
    let two = format!("v1,{} v1a,x {signature}", "A".repeat(44));
    let mut twice = good.clone();
    twice.headers.append("webhook-signature", signature.parse().expect("a value"));

    let table: &[(&str, &Delivery, &[&str], &str)] = &[
        ("as signed", &good, &[SIGNING_TOKEN], "accepted"),
        ("previous key", &good, &["whsec_b3RoZXI=", SECRET, SIGNING_TOKEN], "accepted"),
        ("one of several values", &good.clone().with("webhook-signature", &two), &[SIGNING_TOKEN], "accepted"),
        ("other body", &other_body, &[SIGNING_TOKEN], "mismatch"),
        ("other id", &good.clone().with("webhook-id", "msg-2"), &[SIGNING_TOKEN], "mismatch"),
        ("other time", &good.clone().with("webhook-timestamp", "1790000001"), &[SIGNING_TOKEN], "mismatch"),
        ("other key", &good, &["whsec_b3RoZXI="], "mismatch"),
        ("a key without prefix signs nothing", &good, &["c21hbGwtZml4dHVyZS1zaWduaW5nLWtleQ=="], "mismatch"),
        ("an empty key signs nothing", &good, &["whsec_"], "mismatch"),
        ("no id", &good.clone().without("webhook-id"), &[SIGNING_TOKEN], "missing"),
        ("no time", &good.clone().without("webhook-timestamp"), &[SIGNING_TOKEN], "missing"),
        ("no signature", &good.clone().without("webhook-signature"), &[SIGNING_TOKEN], "missing"),
        ("time is no number", &good.clone().with("webhook-timestamp", "soon"), &[SIGNING_TOKEN], "malformed"),
        ("other version", &good.clone().with("webhook-signature", "v2,AAAA"), &[SIGNING_TOKEN], "malformed"),
        ("not base64", &good.clone().with("webhook-signature", "v1,!!"), &[SIGNING_TOKEN], "malformed"),
        ("twice", &twice, &[SIGNING_TOKEN], "repeated"),
    ];
    for (name, delivery, secrets, expected) in table {
        assert_eq!(reason(delivery, secrets), *expected, "{name}");
    }
    assert_eq!(judge(&good, &[SIGNING_TOKEN]), Ok(HookAuth::StandardWebhooksV1));
}

#[test]
fn a_failed_signature_never_falls_back_to_the_token() {
    let both = gitlab_signed("Push Hook", "{}", at(NOW)).with("X-Gitlab-Token", SECRET);
    assert_eq!(judge(&both, &[SECRET, SIGNING_TOKEN]), Ok(HookAuth::StandardWebhooksV1));
    for signature in ["", "v1,AAAA", "v2,AAAA"] {
        let failed = both.clone().with("webhook-signature", signature);
        assert!(judge(&failed, &[SECRET, SIGNING_TOKEN]).is_err(), "{signature}");
    }
    assert_eq!(judge(&both, &[SECRET]), Err(VerifyError::Mismatch));
}

#[test]
fn the_signed_time_may_be_five_minutes_off_in_either_direction() {
    for (offset, expected) in
        [(-301, "stale"), (-300, "accepted"), (0, "accepted"), (300, "accepted"), (301, "stale"), (-NOW, "stale")]
    {
        let delivery = gitlab_signed("Push Hook", "{}", at(NOW + offset));
        assert_eq!(reason(&delivery, &[SIGNING_TOKEN]), expected, "{offset}");
    }
}
