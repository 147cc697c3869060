//! What of a delivery may be stored: headers that are known to be harmless, and the body without the
//! places where forges put secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderMap;
use serde::de::IgnoredAny;

use crate::body::is_form;

mod json;

/// Stands in place of what was taken out.
pub const MASK: &str = "[redacted]";

/// Headers that hold nothing secret. Everything else may (GitLab lets users add headers of their own).
const KEPT: [&str; 14] = [
    "accept",
    "content-length",
    "content-type",
    "date",
    "host",
    "idempotency-key",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "x-attempt-number",
    "x-event-key",
    "x-hook-uuid",
    "x-request-id",
    "x-request-uuid",
];
const KEPT_PREFIXES: [&str; 6] = ["x-github-", "x-gitlab-", "x-gitea-", "x-gitee-", "x-gogs-", "x-coding-"];
const SECRET_WORDS: [&str; 7] = ["token", "signature", "secret", "password", "auth", "cookie", "sign"];

/// Keys of JSON bodies whose values are secrets somewhere: `token` (Coding), `password` and `sign` (Gitee),
/// `secret` (old Gitea, hook configurations), and tokens by their usual names.
const SECRET_KEYS: [&str; 14] = [
    "access_token",
    "api_key",
    "auth_token",
    "client_secret",
    "deploy_token",
    "job_token",
    "passwd",
    "password",
    "private_token",
    "refresh_token",
    "runners_token",
    "secret",
    "sign",
    "token",
];

/// The headers as a flat map, with everything masked that is not known to be harmless. Repeated headers are joined.
pub fn redact_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let shown = |name: &str| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        values.collect::<Vec<_>>().join(", ")
    };
    headers
        .keys()
        .map(|name| {
            let name = name.as_str();
            (name.to_owned(), if is_harmless(name) { shown(name) } else { MASK.to_owned() })
        })
        .collect()
}

/// The body with its secrets masked, in the encoding that the headers name. A body that is not JSON is
/// replaced as a whole, for nobody knows where its secrets are.
pub fn redact_body<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
    if is_form(headers) { redact_form(body) } else { redact_json(body) }
}

fn is_harmless(name: &str) -> bool {
    KEPT.contains(&name)
        || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn redact_json(body: &[u8]) -> Cow<'_, [u8]> {
    // `IgnoredAny` passes over numbers of any size and any nesting, but also over bytes that are no text.
    if std::str::from_utf8(body).is_err() || serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return Cow::Owned(format!("[{} bytes that are not JSON were not kept]", body.len()).into_bytes());
    }
    let secrets = json::secrets(body);
    // Most bodies hold no secret and stay byte for byte what the forge sent.
    if secrets.is_empty() {
        return Cow::Borrowed(body);
    }
    let (mut shown, mut kept) = (Vec::with_capacity(body.len()), 0);
    for secret in secrets {
        shown.extend_from_slice(&body[kept..secret.start]);
        shown.extend_from_slice(format!("\"{MASK}\"").as_bytes());
        kept = secret.end;
    }
    shown.extend_from_slice(&body[kept..]);
    Cow::Owned(shown)
}

fn redact_form(body: &[u8]) -> Cow<'_, [u8]> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    // Forges send nothing beside the payload, and JSON under the wrong type reads as one long name.
    for (key, value) in url::form_urlencoded::parse(body).filter(|(key, _)| key == "payload") {
        form.append_pair(&key, &String::from_utf8_lossy(&redact_json(value.as_bytes())));
    }
    Cow::Owned(form.finish().into_bytes())
}

#[cfg(test)]
mod json_tests;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{github, gitlab, set};

    #[test]
    fn only_harmless_headers_are_kept() {
        let mut headers = HeaderMap::new();
        let kept = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", "1"),
            ("x-gitlab-event-uuid", "2"),
            ("x-gitlab-instance", "https://gitlab.example"),
            ("idempotency-key", "3"),
            ("webhook-id", "4"),
            ("webhook-timestamp", "5"),
        ];
        let masked = [
            "x-gitlab-token",
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-hub-signature",
            "x-hub-signature-256",
            "webhook-signature",
            "x-gitea-signature",
            "x-gogs-signature",
            "x-gitee-token",
            "x-coding-signature",
            "x-of-the-user",
        ];
        for (name, value) in kept {
            set(&mut headers, name, value);
        }
        for name in masked {
            set(&mut headers, name, "hunter2");
        }
        let shown = redact_headers(&headers);
        assert_eq!(shown.len(), kept.len() + masked.len());
        for (name, value) in kept {
            assert_eq!(shown[name], value);
        }
        for name in masked {
            assert_eq!(shown[name], MASK, "{name}");
        }
    }

    #[test]
    fn secrets_of_bodies_are_masked_wherever_they_stand() {
        let body = json!({
            "token": "hunter2", "Secret": "hunter2", "password": "hunter2", "sign": "hunter2", "ref": "refs/heads/token",
            "hook": {"config": {"secret": "hunter2", "url": "https://x"}, "tokens": 1},
            "list": [{"private_token": {"a": "hunter2"}}],
            "object_attributes": {"variables": [{"key": "PASS", "value": "hunter2"}, {"key": "B", "value": "hunter2"}]}
        });
        let text = body.to_string();
        let shown = redact_body(&HeaderMap::new(), text.as_bytes()).into_owned();
        let shown = String::from_utf8(shown).expect("text");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("refs/heads/token") && shown.contains("https://x") && shown.contains("PASS"), "{shown}");
    }

    #[test]
    fn a_body_without_secrets_stays_byte_for_byte() {
        for body in ["{\"b\":1, \"a\":2}", "{\"secret\":\"\"}", "{\"token\":null}", "[]"] {
            assert_eq!(redact_body(&HeaderMap::new(), body.as_bytes()), Cow::Borrowed(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn forms_stay_forms_and_what_is_not_json_is_not_kept() {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", "{\"token\":\"hunter2\",\"ref\":\"x\"}")
            .append_pair("other", "hunter2")
            .finish();
        let delivery = github("push", form).with("Content-Type", "application/x-www-form-urlencoded");
        let shown = String::from_utf8(redact_body(&delivery.headers, &delivery.body).into_owned()).expect("text");
        assert!(!shown.contains("hunter2") && shown.starts_with("payload=%7B"), "{shown}");

        let lying = github("push", "{\"token\":\"hunter2\"}").with("Content-Type", "application/x-www-form-urlencoded");
        assert_eq!(redact_body(&lying.headers, &lying.body), Cow::<[u8]>::Borrowed(b""));

        let broken = gitlab("Push Hook", "{\"token\":\"hunter2\"");
        assert_eq!(
            redact_body(&broken.headers, &broken.body),
            Cow::<[u8]>::Borrowed(b"[18 bytes that are not JSON were not kept]")
        );
    }
}
