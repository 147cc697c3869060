//! Small deliveries of our own.

use serde_json::{Value, json};
use slipway_domain::event::{
    ChangeAction, ChangeDetails, ChangeEvent, Event, ForgeKind, HookAuth, RefEvent, RefKind, RefOp,
};

use crate::expect::{
    assert_hex_signature, assert_malformed, in_words, the_change, the_events, the_ref, understood, with,
    without_details,
};
use crate::hook::{claimed_auth, delivery_id};
use crate::testing::{Delivery, OLD_SHA, SHA};

fn bitbucket(event: &str, body: &Value) -> Delivery {
    crate::testing::bitbucket(ForgeKind::Bitbucket, event, body.to_string())
}

fn side(kind: &str, name: &str, hash: &str, message: &str) -> Value {
    json!({"type": kind, "name": name, "target": {"type": "commit", "hash": hash, "message": message}})
}

pub(crate) fn push() -> Value {
    json!({
        "push": {"changes": [{
            "old": side("branch", "main", OLD_SHA, "old [skip ci]"), "new": side("branch", "main", SHA, "Fix it\n\nLong"),
            "created": false, "closed": false, "forced": true, "truncated": true
        }]},
        "repository": {"uuid": "{7}", "full_name": "acme/widget"},
        "actor": {"display_name": "Ada L.", "nickname": "ada"}
    })
}

pub(crate) fn pull_request() -> Value {
    let end = |branch: &str, hash: &str| json!({"branch": {"name": branch}, "commit": {"hash": hash}, "repository": {"uuid": "{7}", "full_name": "acme/widget"}});
    json!({
        "pullrequest": {"id": 5, "title": "x", "source": end("fix", "1f8e2c0d3b4a"), "destination": end("main", "aa11bb22cc33")},
        "repository": {"uuid": "{7}", "full_name": "acme/widget"}
    })
}

fn change(changes: &[(&str, Value)]) -> RefEvent {
    the_ref(&bitbucket("repo:push", &with(push(), changes)))
}

#[test]
fn a_push_in_full() {
    let parsed = understood(&bitbucket("repo:push", &push()));
    assert_eq!((parsed.event_name.as_str(), parsed.repo_id.as_deref()), ("repo:push", Some("{7}")));
    let event = RefEvent {
        repo: "acme/widget".to_owned(),
        kind: RefKind::Branch,
        name: "main".to_owned(),
        op: RefOp::Updated,
        commit: Some(SHA.to_owned()),
        forced: Some(true),
        skip_ci: false,
        before: Some(OLD_SHA.to_owned()),
        after: Some(SHA.to_owned()),
        skip_marker: None,
        title: Some("Fix it".to_owned()),
        actor: Some("ada".to_owned()),
    };
    assert_eq!(the_events(&bitbucket("repo:push", &push())), [Event::Ref(event)]);
}

#[test]
fn one_delivery_gives_an_event_for_each_ref() {
    let mut body = push();
    body["push"]["changes"] = json!([
        {"old": null, "new": side("branch", "new", SHA, "a"), "forced": false},
        {"old": side("branch", "gone", OLD_SHA, "b [skip ci]"), "new": null, "forced": false},
        {"old": side("tag", "v1", OLD_SHA, "c"), "new": side("tag", "v1", SHA, "d [ci skip]")},
        {"old": null, "new": side("bookmark", "odd", SHA, "e")},
    ]);
    let events = the_events(&bitbucket("repo:push", &body));
    let told: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Ref(event) => {
                (event.kind, event.name.as_str(), event.op, event.commit.as_deref(), event.forced, event.skip_ci)
            }
            other => panic!("not a ref: {other:?}"),
        })
        .collect();
    let expected = [
        (RefKind::Branch, "new", RefOp::Created, Some(SHA), Some(false), false),
        (RefKind::Branch, "gone", RefOp::Deleted, None, Some(false), false),
        (RefKind::Tag, "v1", RefOp::Updated, Some(SHA), None, true),
        (RefKind::Other, "odd", RefOp::Created, Some(SHA), None, false),
    ];
    assert_eq!(told, expected);

    body["push"]["changes"] = json!([]);
    let parsed = understood(&bitbucket("repo:push", &body));
    assert_eq!(in_words(&parsed.outcome), "ignored repo:push: it tells of no ref that moved");
    assert_eq!(parsed.repo_id.as_deref(), Some("{7}"));
}

#[test]
fn names_are_text_whatever_they_say() {
    for name in ["ünïcode/日本", "-rf", "a b", "refs/heads/x", "<script>alert(1)</script>", "\u{202e}"] {
        assert_eq!(change(&[("/push/changes/0/new/name", json!(name))]).name, name);
    }
    let long = "ab".repeat(32);
    assert_eq!(change(&[("/push/changes/0/new/target/hash", json!(long))]).commit, Some(long));
}

#[test]
fn every_event_has_its_outcome() {
    for (event, expected) in [
        ("repo:transfer", "lifecycle repo transfer"),
        ("repo:updated", "lifecycle repo updated"),
        ("repo:fork", "ignored repo:fork is not an event that starts builds"),
        ("pullrequest:approved", "ignored pullrequest:approved is not an event that starts builds"),
        ("<b>", "ignored <b> is not an event that starts builds"),
    ] {
        let parsed = understood(&bitbucket(event, &json!({"repository": {"uuid": "{7}"}})));
        assert_eq!((in_words(&parsed.outcome).as_str(), parsed.repo_id.as_deref()), (expected, Some("{7}")));
    }
}

#[test]
fn pull_requests_keep_their_short_hash() {
    for (event, action) in [
        ("pullrequest:created", ChangeAction::Opened),
        ("pullrequest:updated", ChangeAction::HeadUpdated),
        ("pullrequest:fulfilled", ChangeAction::Merged),
        ("pullrequest:rejected", ChangeAction::Closed),
    ] {
        let expected = ChangeEvent {
            repo: "acme/widget".to_owned(),
            number: 5,
            action,
            head: Some("1f8e2c0d3b4a".to_owned()),
            source_branch: Some("fix".to_owned()),
            target_branch: Some("main".to_owned()),
            from_fork: false,
            details: ChangeDetails::default(),
        };
        assert_eq!(without_details(the_change(&bitbucket(event, &pull_request()))), expected, "{event}");
    }
}

#[test]
fn unknown_origin_counts_as_fork() {
    let from_fork = |pointer: &str, value: Value| {
        let body = with(pull_request(), &[(pointer, value)]);
        the_change(&bitbucket("pullrequest:created", &body)).from_fork
    };
    assert!(from_fork("/pullrequest/source/repository", json!({"uuid": "{8}", "full_name": "acme/widget"})));
    assert!(from_fork("/pullrequest/source/repository", Value::Null), "the fork was deleted");
    assert!(from_fork("/pullrequest/source/repository", json!({"full_name": "acme/widget"})), "names are reused");
    assert!(from_fork("/pullrequest/destination", Value::Null));
    assert!(!from_fork("/pullrequest/source/repository/full_name", json!("acme/renamed")));
}

#[test]
fn malformed_deliveries_name_the_place() {
    let pushed = |changes: &[(&str, Value)]| bitbucket("repo:push", &with(push(), changes));
    let pulled = |changes: &[(&str, Value)]| bitbucket("pullrequest:created", &with(pull_request(), changes));
    let second = json!([{"new": side("tag", "v1", SHA, "")}, {"new": side("tag", "", SHA, "")}]);
    assert_malformed(vec![
        (bitbucket("repo:push", &json!({})), "repository.full_name"),
        (bitbucket("repo:push", &push()).without("X-Event-Key"), "header X-Event-Key"),
        (bitbucket("repo:push", &push()).twice("X-Event-Key"), "header X-Event-Key"),
        (pushed(&[("/push", Value::Null)]), "push.changes"),
        (pushed(&[("/push/changes", Value::Null)]), "push.changes"),
        (pushed(&[("/push/changes", json!("many"))]), "push.changes"),
        (pushed(&[("/push/changes", second)]), "push.changes[1].new.name"),
        (pushed(&[("/push/changes/0/new", Value::Null), ("/push/changes/0/old", Value::Null)]), "push.changes[0].new"),
        (pushed(&[("/push/changes/0/new/type", Value::Null)]), "push.changes[0].new.type"),
        (pushed(&[("/push/changes/0/new/target", Value::Null)]), "push.changes[0].new.target.hash"),
        (pushed(&[("/push/changes/0/new/target/hash", json!("--upload-pack=x"))]), "push.changes[0].new.target.hash"),
        (pushed(&[("/push/changes/0/old/target/hash", json!("1f8e2c0d3b4a"))]), "push.changes[0].old.target.hash"),
        (pulled(&[("/pullrequest", Value::Null)]), "pullrequest"),
        (pulled(&[("/pullrequest/id", json!("x"))]), "pullrequest.id"),
        (pulled(&[("/pullrequest/source", Value::Null)]), "pullrequest.source"),
        (pulled(&[("/pullrequest/source/commit/hash", json!("1f8e2"))]), "pullrequest.source.commit.hash"),
        (pulled(&[("/pullrequest/source/commit/hash", json!("--upload-pack"))]), "pullrequest.source.commit.hash"),
    ]);
}

#[test]
fn only_the_exact_signature_is_believed() {
    for kind in [ForgeKind::Bitbucket, ForgeKind::BitbucketDc] {
        let good = crate::testing::bitbucket(kind, "repo:push", "{\"a\": 1}");
        assert_hex_signature(&good, "X-Hub-Signature", "sha256=");
        assert_eq!(claimed_auth(&good.received()), HookAuth::HmacSha256);
        assert_eq!(claimed_auth(&good.without("X-Hub-Signature").received()), HookAuth::None);
    }
}

#[test]
fn a_delivery_is_known_by_its_request() {
    let delivery = bitbucket("repo:push", &push()).without("X-Request-Id");
    assert_eq!(delivery_id(&delivery.received()), "0703c265-54ba-5ff5-8ab5-d2bc14074dba");
    assert!(delivery_id(&delivery.without("X-Request-UUID").received()).starts_with("sha256:"));
}
