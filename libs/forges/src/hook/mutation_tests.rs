//! Whatever a body or header says, reading it never panics, and what is not as signed is never believed.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::parse_tests::{github_push, gitlab_push, merge_request, pull_request};
use super::*;
use crate::inspect::inspect;
use crate::redact::{redact_body, redact_headers};
use crate::testing::{Delivery, SECRET, SHA, at, bitbucket, coding, coding_first, gitea, gitee, github, gitlab};

/// Deliveries of one forge.
struct Corpus {
    kind: ForgeKind,
    deliveries: Vec<Delivery>,
}

static CORPORA: LazyLock<Vec<Corpus>> = LazyLock::new(|| {
    let fixtures: Vec<Delivery> = super::fixture_tests::all().into_iter().map(|(_, delivery)| delivery).collect();
    let corpus = |kind: ForgeKind| {
        let own = own(kind).into_iter();
        let real = fixtures.iter().filter(|delivery| delivery.kind == kind).cloned();
        Corpus { kind, deliveries: own.chain(real).collect() }
    };
    ForgeKind::ALL.iter().copied().map(corpus).collect()
});

fn own(kind: ForgeKind) -> Vec<Delivery> {
    let found = match kind {
        ForgeKind::Github => vec![
            github("push", github_push().to_string()),
            github("pull_request", pull_request().to_string()),
            github("check_run", json!({"action": "rerequested", "check_run": {"head_sha": SHA}}).to_string()),
        ],
        ForgeKind::Gitlab => vec![
            gitlab("Push Hook", gitlab_push().to_string()),
            gitlab("Merge Request Hook", merge_request().to_string()),
            gitlab(
                "Pipeline Hook",
                json!({"object_kind": "pipeline", "object_attributes": {"variables": [{"key": "A", "value": "b"}]}})
                    .to_string(),
            ),
        ],
        ForgeKind::Bitbucket => vec![
            bitbucket(kind, "repo:push", crate::bitbucket::tests::push().to_string()),
            bitbucket(kind, "pullrequest:created", crate::bitbucket::tests::pull_request().to_string()),
        ],
        ForgeKind::BitbucketDc => vec![
            bitbucket(kind, "repo:refs_changed", crate::bitbucket_dc::tests::push().to_string()),
            bitbucket(kind, "pr:modified", crate::bitbucket_dc::tests::pull_request().to_string()),
        ],
        ForgeKind::Gitea => vec![
            gitea("push", crate::gitea::tests::push().to_string()),
            gitea("pull_request", crate::gitea::tests::pull_request().to_string()),
            gitea("delete", json!({"ref": "x", "ref_type": "branch", "repository": {"full_name": "a/b"}}).to_string()),
        ],
        ForgeKind::Gitee => vec![
            gitee("Push Hook", crate::gitee::tests::push().to_string(), at(0)),
            gitee("Merge Request Hook", crate::gitee::tests::merge_request().to_string(), at(0)),
        ],
        ForgeKind::Coding => vec![
            coding("push", crate::coding::tests::push().to_string()),
            coding("merge request", crate::coding::tests::merge_request().to_string()),
            coding_first("push", crate::coding::tests::first_push()),
            coding_first("pull_request", crate::coding::tests::first_pull_request()),
        ],
    };
    assert!(found.iter().all(|delivery| delivery.kind == kind));
    found
}

fn survives(delivery: &Delivery) {
    let verdict = inspect(&delivery.received(), &[], at(0));
    assert!(!verdict.verified);
    let _ = verify(&delivery.received(), &[SECRET.to_owned()], at(0));
    let _ = delivery_id(&delivery.received());
    let _ = redact_headers(&delivery.headers);
    let _ = redact_body(&delivery.headers, &delivery.body);
}

/// Every pointer into a JSON value.
fn pointers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    found.push(prefix.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, &format!("{prefix}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{prefix}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn mutated_bytes_never_panic_and_are_never_believed(
        which: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for Corpus { kind, deliveries } in CORPORA.iter() {
            let sent = &deliveries[which.index(deliveries.len())];
            let mut delivery = sent.clone();
            for (at, byte) in &edits {
                let at = at.index(delivery.body.len());
                delivery.body[at] = *byte;
            }
            if let Some(cut) = cut {
                delivery.body.truncate(cut.index(delivery.body.len()));
            }
            survives(&delivery);
            let signs_body = matches!(
                claimed_auth(&sent.received()),
                HookAuth::HmacSha256 | HookAuth::HmacSha1 | HookAuth::StandardWebhooksV1
            );
            if signs_body && delivery.body != sent.body {
                let found = verify(&delivery.received(), &[SECRET.to_owned()], at(0));
                prop_assert!(found.is_err(), "{kind}: {found:?}");
            }
        }
    }

    #[test]
    fn values_of_other_types_never_panic(which: prop::sample::Index, place: prop::sample::Index, odd in 0usize..9) {
        let odd = [
            Value::Null, json!(true), json!(-1), json!(1e300), json!(u64::MAX), json!(""), json!("\u{0}é[skip ci]"),
            json!([[1]]), json!({"": {}}),
        ][odd].clone();
        for Corpus { deliveries, .. } in CORPORA.iter() {
            let mut delivery = deliveries[which.index(deliveries.len())].clone();
            let Ok(mut body) = serde_json::from_slice::<Value>(&delivery.body) else { continue };
            let mut found = Vec::new();
            pointers(&body, "", &mut found);
            *body.pointer_mut(&found[place.index(found.len())]).expect("found there") = odd.clone();
            delivery.body = body.to_string().into_bytes();
            survives(&delivery);
        }
    }

    #[test]
    fn strange_headers_never_panic(
        which: prop::sample::Index,
        value in prop::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..40),
    ) {
        for Corpus { deliveries, .. } in CORPORA.iter() {
            let mut delivery = deliveries[0].clone();
            let names: Vec<_> = delivery.headers.keys().cloned().collect();
            let name = names[which.index(names.len())].clone();
            delivery.headers.insert(name, http::HeaderValue::from_bytes(&value).expect("allowed bytes"));
            survives(&delivery);
        }
    }
}
