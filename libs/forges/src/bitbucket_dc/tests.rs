//! Small deliveries of our own.

use serde_json::{Value, json};
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent, Event, ForgeKind, RefEvent, RefKind, RefOp};

use crate::expect::{assert_malformed, in_words, the_change, the_events, the_ref, understood, with, without_details};
use crate::hook::delivery_id;
use crate::testing::{Delivery, OLD_SHA, SHA, at};

const ZERO: &str = "0000000000000000000000000000000000000000";

fn bitbucket_dc(event: &str, body: &Value) -> Delivery {
    crate::testing::bitbucket(ForgeKind::BitbucketDc, event, body.to_string())
}

fn repository() -> Value {
    json!({"id": 7, "slug": "widget", "project": {"key": "ACME"}})
}

fn moved(full_ref: &str, from: &str, to: &str) -> Value {
    json!({"ref": {"id": full_ref}, "refId": full_ref, "fromHash": from, "toHash": to, "type": "UPDATE"})
}

pub(crate) fn push() -> Value {
    json!({
        "eventKey": "repo:refs_changed", "date": "2018-07-05T18:22:00+0200", "actor": {"name": "ada"},
        "repository": repository(), "changes": [moved("refs/heads/main", OLD_SHA, SHA)],
        "toCommit": {"id": SHA, "message": "Fix it [no ci]\n\nLong"}, "commits": [{"id": OLD_SHA, "message": "[skip ci]"}]
    })
}

pub(crate) fn pull_request() -> Value {
    let end = |branch: &str, hash: &str| json!({"id": format!("refs/heads/{branch}"), "displayId": branch, "latestCommit": hash, "repository": repository()});
    json!({
        "eventKey": "pr:opened",
        "pullRequest": {"id": 5, "draft": false, "fromRef": end("fix", SHA), "toRef": end("main", OLD_SHA)}
    })
}

fn pushed(changes: &[(&str, Value)]) -> Delivery {
    bitbucket_dc("repo:refs_changed", &with(push(), changes))
}

#[test]
fn a_push_in_full() {
    let parsed = understood(&pushed(&[]));
    let event = RefEvent {
        repo: "ACME/widget".to_owned(),
        kind: RefKind::Branch,
        name: "main".to_owned(),
        op: RefOp::Updated,
        commit: Some(SHA.to_owned()),
        forced: None,
        skip_ci: true,
        before: Some(OLD_SHA.to_owned()),
        after: Some(SHA.to_owned()),
        skip_marker: Some("[no ci]".to_owned()),
        title: Some("Fix it [no ci]".to_owned()),
        actor: Some("ada".to_owned()),
    };
    assert_eq!(the_events(&pushed(&[])), [Event::Ref(event)]);
    assert_eq!((parsed.repo_id.as_deref(), parsed.forge_time), (Some("7"), Some(at(1_530_807_720))));
}

#[test]
fn times_are_texts_or_milliseconds() {
    let time = |date: Value| understood(&pushed(&[("/date", date)])).forge_time;
    for date in [json!("2018-07-05T16:22:00Z"), json!(1_530_807_720_000_i64), json!(1_530_807_720)] {
        assert_eq!(time(date), Some(at(1_530_807_720)));
    }
    for date in [json!("yesterday"), json!([]), json!(1e300), json!(u64::MAX), json!(i64::MIN)] {
        assert_eq!(time(date), None);
    }
}

#[test]
fn one_delivery_gives_an_event_for_each_ref() {
    let long_zero = "0".repeat(64);
    let changes = json!([
        moved("refs/heads/new", ZERO, SHA),
        moved("refs/heads/gone", OLD_SHA, &long_zero),
        moved("refs/tags/v1", ZERO, SHA),
        moved("refs/heads/old", SHA, OLD_SHA),
        moved("refs/notes/x", ZERO, SHA),
    ]);
    let events = the_events(&pushed(&[("/changes", changes)]));
    let told: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Ref(event) => {
                (event.kind, event.name.as_str(), event.op, event.commit.as_deref(), event.skip_marker.as_deref())
            }
            other => panic!("not a ref: {other:?}"),
        })
        .collect();
    // The new head is told of one ref only; whose it is where several moved is not said.
    let expected = [
        (RefKind::Branch, "new", RefOp::Created, Some(SHA), None),
        (RefKind::Branch, "gone", RefOp::Deleted, None, None),
        (RefKind::Tag, "v1", RefOp::Created, None, None),
        (RefKind::Branch, "old", RefOp::Updated, Some(OLD_SHA), Some("[skip ci]")),
        (RefKind::Other, "refs/notes/x", RefOp::Created, None, None),
    ];
    assert_eq!(told, expected);

    let none = understood(&pushed(&[("/changes", json!([]))]));
    assert_eq!(in_words(&none.outcome), "ignored repo:refs_changed: it tells of no ref that moved");
}

#[test]
fn tags_are_peeled_where_the_new_head_is_told() {
    let tag_object = "ee".repeat(20);
    let tag = [("/changes", json!([moved("refs/tags/v1", ZERO, &tag_object)]))];
    let event = the_ref(&pushed(&tag));
    assert_eq!((event.commit.as_deref(), event.after.as_deref()), (Some(SHA), Some(tag_object.as_str())));
    let untold = the_ref(&pushed(&[tag[0].clone(), ("/toCommit", Value::Null)]));
    assert_eq!((untold.commit, untold.after), (None, Some(tag_object)));
}

#[test]
fn every_event_has_its_outcome() {
    for (event, body, expected) in [
        ("diagnostics:ping", json!({"test": true}), "ping"),
        ("repo:modified", json!({"old": repository(), "new": repository()}), "lifecycle repo modified"),
        ("pr:comment:added", json!({}), "ignored pr:comment:added is not an event that starts builds"),
        ("pr:reviewer:approved", json!({}), "ignored pr:reviewer:approved is not an event that starts builds"),
        (
            "mirror:repo_synchronized",
            json!({"repository": repository()}),
            "ignored mirror:repo_synchronized is not an event that starts builds",
        ),
    ] {
        assert_eq!(in_words(&understood(&bitbucket_dc(event, &body)).outcome), expected);
    }
}

#[test]
fn pull_request_actions() {
    let target = |id: &str| json!({"id": id, "latestCommit": OLD_SHA});
    let (same, other) = (target("refs/heads/main"), target("refs/heads/dev"));
    for (event, previous_target, previous_draft, action) in [
        ("pr:opened", Value::Null, Value::Null, ChangeAction::Opened),
        ("pr:reopened", Value::Null, Value::Null, ChangeAction::Reopened),
        ("pr:from_ref_updated", Value::Null, Value::Null, ChangeAction::HeadUpdated),
        ("pr:to_ref_updated", Value::Null, Value::Null, ChangeAction::Metadata),
        ("pr:modified", same.clone(), Value::Null, ChangeAction::Metadata),
        ("pr:modified", other.clone(), Value::Null, ChangeAction::Retargeted),
        ("pr:modified", other, json!(true), ChangeAction::Retargeted),
        ("pr:modified", same.clone(), json!(true), ChangeAction::ReadyForReview),
        ("pr:modified", same, json!(false), ChangeAction::Metadata),
        ("pr:modified", Value::Null, Value::Null, ChangeAction::Metadata),
        ("pr:reviewer:updated", Value::Null, Value::Null, ChangeAction::Metadata),
        ("pr:merged", Value::Null, Value::Null, ChangeAction::Merged),
        ("pr:declined", Value::Null, Value::Null, ChangeAction::Closed),
        ("pr:deleted", Value::Null, Value::Null, ChangeAction::Closed),
    ] {
        let body = with(pull_request(), &[("/previousTarget", previous_target), ("/previousDraft", previous_draft)]);
        let expected = ChangeEvent {
            repo: "ACME/widget".to_owned(),
            number: 5,
            action,
            head: Some(SHA.to_owned()),
            source_branch: Some("fix".to_owned()),
            target_branch: Some("main".to_owned()),
            from_fork: false,
            details: ChangeDetails::default(),
        };
        let delivery = bitbucket_dc(event, &body);
        assert_eq!(without_details(the_change(&delivery)), expected, "{event}");
        assert_eq!(understood(&delivery).repo_id.as_deref(), Some("7"));
    }
}

#[test]
fn unknown_origin_counts_as_fork() {
    let from_fork = |pointer: &str, value: Value| {
        the_change(&bitbucket_dc("pr:opened", &with(pull_request(), &[(pointer, value)]))).from_fork
    };
    assert!(from_fork("/pullRequest/fromRef/repository/id", json!(8)));
    assert!(from_fork("/pullRequest/fromRef/repository", Value::Null), "the fork was deleted");
    assert!(from_fork("/pullRequest/toRef/repository/id", Value::Null));
    assert!(!from_fork("/pullRequest/fromRef/repository/slug", json!("renamed")));
}

#[test]
fn malformed_deliveries_name_the_place() {
    let pulled = |changes: &[(&str, Value)]| bitbucket_dc("pr:opened", &with(pull_request(), changes));
    let second = json!([moved("refs/heads/a", ZERO, SHA), moved("main", ZERO, SHA)]);
    assert_malformed(vec![
        (pushed(&[]).without("X-Event-Key"), "header X-Event-Key"),
        (pushed(&[("/repository", Value::Null)]), "repository"),
        (pushed(&[("/repository/slug", json!(""))]), "repository.slug"),
        (pushed(&[("/repository/project", Value::Null)]), "repository.project.key"),
        (pushed(&[("/changes", Value::Null)]), "changes"),
        (pushed(&[("/changes", second)]), "changes[1].ref.id"),
        (pushed(&[("/changes/0/fromHash", Value::Null)]), "changes[0].fromHash"),
        (pushed(&[("/changes/0/toHash", json!("--upload-pack=x"))]), "changes[0].toHash"),
        (pushed(&[("/changes/0/toHash", json!(5))]), "changes[0].toHash"),
        (pulled(&[("/pullRequest", Value::Null)]), "pullRequest"),
        (pulled(&[("/pullRequest/id", json!(-1))]), "pullRequest.id"),
        (pulled(&[("/pullRequest/fromRef", Value::Null)]), "pullRequest.fromRef"),
        (pulled(&[("/pullRequest/toRef/repository", Value::Null)]), "pullRequest.toRef.repository"),
        (pulled(&[("/pullRequest/fromRef/latestCommit", json!("1f8e2c0d3b4a"))]), "pullRequest.fromRef.latestCommit"),
        (bitbucket_dc("diagnostics:ping", &json!([])), "body"),
    ]);
}

#[test]
fn a_delivery_is_known_by_its_request() {
    let delivery = pushed(&[]).without("X-Request-UUID");
    assert_eq!(delivery_id(&delivery.received()), "f96684a1-6949-548d-819e-00e875884fa3");
}
