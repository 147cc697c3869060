//! Whatever a body or header says, reading it never panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::parse_tests::{github_push, gitlab_push, merge_request, pull_request};
use super::*;
use crate::inspect::inspect;
use crate::redact::{redact_body, redact_headers};
use crate::testing::{Delivery, SECRET, SHA, at, github, gitlab};

fn corpus() -> Vec<Delivery> {
    let hub = |event: &str, body: Value| github(event, body.to_string());
    let lab = |body: Value| gitlab("Push Hook", body.to_string());
    let mut corpus = vec![
        hub("push", github_push()),
        hub("pull_request", pull_request()),
        hub("check_run", json!({"action": "rerequested", "check_run": {"head_sha": SHA}})),
        lab(gitlab_push()),
        lab(merge_request()),
        lab(json!({"object_kind": "pipeline", "object_attributes": {"variables": [{"key": "A", "value": "b"}]}})),
    ];
    corpus.extend(super::fixture_tests::all().into_iter().map(|(_, delivery)| delivery));
    corpus
}

fn survives(delivery: &Delivery) {
    let verdict = inspect(&delivery.received(), &[], at(0));
    assert!(!verdict.verified);
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
    fn mutated_bytes_never_panic(
        which: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let corpus = corpus();
        let mut delivery = corpus[which.index(corpus.len())].clone();
        for (at, byte) in edits {
            let at = at.index(delivery.body.len());
            delivery.body[at] = byte;
        }
        if let Some(cut) = cut {
            delivery.body.truncate(cut.index(delivery.body.len()));
        }
        survives(&delivery);
    }

    #[test]
    fn values_of_other_types_never_panic(which: prop::sample::Index, at: prop::sample::Index, odd in 0usize..9) {
        let corpus = corpus();
        let mut delivery = corpus[which.index(corpus.len())].clone();
        let Ok(mut body) = serde_json::from_slice::<Value>(&delivery.body) else { return Ok(()) };
        let odd = [
            Value::Null, json!(true), json!(-1), json!(1e300), json!(u64::MAX), json!(""), json!("\u{0}é[skip ci]"),
            json!([[1]]), json!({"": {}}),
        ][odd].clone();
        let mut found = Vec::new();
        pointers(&body, "", &mut found);
        *body.pointer_mut(&found[at.index(found.len())]).expect("found there") = odd;
        delivery.body = body.to_string().into_bytes();
        survives(&delivery);
    }

    #[test]
    fn strange_headers_never_panic(name in 0usize..5, value in prop::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..40)) {
        let names = ["x-github-event", "content-type", "x-hub-signature-256", "webhook-signature", "x-gitlab-event"];
        for mut delivery in [github("push", github_push().to_string()), gitlab("Push Hook", gitlab_push().to_string())] {
            delivery.headers.insert(names[name], http::HeaderValue::from_bytes(&value).expect("allowed bytes"));
            survives(&delivery);
            let _ = verify(&delivery.received(), &[SECRET.to_owned()], at(0));
        }
    }
}
