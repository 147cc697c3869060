//! What the tests of this crate share: signing as the forges do, and headers from pairs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;
use slipway_domain::event::ForgeKind;

use crate::expect::with;
use crate::hook::Received;

pub(crate) const SECRET: &str = "It's a Secret to Everybody";
pub(crate) const SIGNING_TOKEN: &str = "whsec_c21hbGwtZml4dHVyZS1zaWduaW5nLWtleQ==";
pub(crate) const SHA: &str = "1f8e2c0d3b4a59687f8e2c0d3b4a59687f8e2c0d";
pub(crate) const OLD_SHA: &str = "aa11bb22cc33dd44ee55ff6677889900aabbccdd";

/// A delivery that owns its parts.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) kind: ForgeKind,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    pub(crate) fn received(&self) -> Received<'_> {
        Received { kind: self.kind, headers: &self.headers, body: &self.body }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// With the header a second time.
    pub(crate) fn twice(mut self, name: &str) -> Self {
        let value = self.headers[name].clone();
        self.headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a header name"), value);
        self
    }

    /// The forge's hexadecimal digits in this header, without what stands before them.
    pub(crate) fn digits(&self, name: &str) -> String {
        let value = self.headers[name].to_str().expect("text");
        value.rsplit('=').next().expect("a part").to_owned()
    }
}

/// A delivery as GitHub sends it, signed with [`SECRET`].
pub(crate) fn github(event: &str, body: impl AsRef<[u8]>) -> Delivery {
    let body = body.as_ref().to_vec();
    let tag = hex::encode(mac(SECRET.as_bytes(), &body));
    Delivery { kind: ForgeKind::Github, headers: HeaderMap::new(), body }
        .with("Content-Type", "application/json")
        .with("X-GitHub-Event", event)
        .with("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
        .with("X-Hub-Signature-256", &format!("sha256={tag}"))
}

/// A delivery as GitLab sends it with [`SECRET`] as its token.
pub(crate) fn gitlab(event: &str, body: impl AsRef<[u8]>) -> Delivery {
    Delivery { kind: ForgeKind::Gitlab, headers: HeaderMap::new(), body: body.as_ref().to_vec() }
        .with("Content-Type", "application/json")
        .with("X-Gitlab-Event", event)
        .with("Idempotency-Key", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f")
        .with("X-Gitlab-Token", SECRET)
}

/// A delivery as GitLab 19 signs it with [`SIGNING_TOKEN`].
pub(crate) fn gitlab_signed(event: &str, body: impl AsRef<[u8]>, at: DateTime<Utc>) -> Delivery {
    let key = STANDARD.decode(SIGNING_TOKEN.trim_start_matches("whsec_")).expect("base64");
    let (id, secs) = ("msg-1", at.timestamp());
    let tag = mac(&key, &[format!("{id}.{secs}.").as_bytes(), body.as_ref()].concat());
    gitlab(event, body)
        .without("X-Gitlab-Token")
        .with("webhook-id", id)
        .with("webhook-timestamp", &secs.to_string())
        .with("webhook-signature", &format!("v1,{}", STANDARD.encode(tag)))
}

/// A delivery as Bitbucket Cloud or Data Center sends it, signed with [`SECRET`].
pub(crate) fn bitbucket(kind: ForgeKind, event: &str, body: impl AsRef<[u8]>) -> Delivery {
    let body = body.as_ref().to_vec();
    let tag = hex::encode(mac(SECRET.as_bytes(), &body));
    Delivery { kind, headers: HeaderMap::new(), body }
        .with("Content-Type", "application/json")
        .with("X-Event-Key", event)
        .with("X-Request-UUID", "0703c265-54ba-5ff5-8ab5-d2bc14074dba")
        .with("X-Request-Id", "f96684a1-6949-548d-819e-00e875884fa3")
        .with("X-Hub-Signature", &format!("sha256={tag}"))
}

/// A delivery as Gitea sends it, signed with [`SECRET`].
pub(crate) fn gitea(event: &str, body: impl AsRef<[u8]>) -> Delivery {
    let body = body.as_ref().to_vec();
    let tag = hex::encode(mac(SECRET.as_bytes(), &body));
    Delivery { kind: ForgeKind::Gitea, headers: HeaderMap::new(), body }
        .with("Content-Type", "application/json")
        .with("X-Gitea-Event", event)
        .with("X-GitHub-Event", event)
        .with("X-Gitea-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473")
        .with("X-Gitea-Signature", &tag)
        .with("X-Hub-Signature-256", &format!("sha256={tag}"))
}

/// A delivery as Gitee sends it in signature mode, with [`SECRET`].
pub(crate) fn gitee(event: &str, body: impl AsRef<[u8]>, at: DateTime<Utc>) -> Delivery {
    let millis = at.timestamp_millis();
    let tag = mac(SECRET.as_bytes(), format!("{millis}\n{SECRET}").as_bytes());
    Delivery { kind: ForgeKind::Gitee, headers: HeaderMap::new(), body: body.as_ref().to_vec() }
        .with("Content-Type", "application/json")
        .with("X-Gitee-Event", event)
        .with("X-Gitee-Timestamp", &millis.to_string())
        .with("X-Gitee-Token", &STANDARD.encode(tag))
}

/// A delivery as CODING's V2 sends it, signed with [`SECRET`].
pub(crate) fn coding(event: &str, body: impl AsRef<[u8]>) -> Delivery {
    let body = body.as_ref().to_vec();
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(&body);
    let tag = hex::encode(mac.finalize().into_bytes());
    Delivery { kind: ForgeKind::Coding, headers: HeaderMap::new(), body }
        .with("Content-Type", "application/json; charset=UTF-8")
        .with("X-Coding-Event", event)
        .with("X-Coding-Delivery", "bf3f043a-3883-433c-8e20-312b04c49b46")
        .with("X-Coding-WebHook-Version", "v2")
        .with("X-Coding-Signature", &format!("sha1={tag}"))
}

/// A delivery as CODING's first format sends it, with [`SECRET`] as the token in its body.
pub(crate) fn coding_first(event: &str, body: Value) -> Delivery {
    let body = with(body, &[("/token", Value::from(SECRET))]).to_string().into_bytes();
    Delivery { kind: ForgeKind::Coding, headers: HeaderMap::new(), body }
        .with("Content-Type", "application/json; charset=UTF-8")
        .with("X-Coding-Event", event)
}

pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
}

pub(crate) fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(secs, 0).expect("in range")
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
