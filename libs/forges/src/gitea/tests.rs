//! Small deliveries of our own.

use serde_json::{Value, json};
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent, Event, HookAuth, RefEvent, RefKind, RefOp};

use crate::expect::{
    assert_hex_signature, assert_malformed, in_words, judged, the_change, the_events, the_ref, understood, with,
    without_details,
};
use crate::hook::{claimed_auth, delivery_id};
use crate::redact::redact_body;
use crate::testing::{Delivery, OLD_SHA, SECRET, SHA, at, gitea};

const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn push() -> Value {
    json!({
        "secret": "hunter2", "ref": "refs/heads/main", "before": OLD_SHA, "after": SHA,
        "commits": [{"id": SHA, "message": "Fix it\n"}, {"id": OLD_SHA, "message": "old [skip ci]"}], "total_commits": 2,
        "head_commit": {"id": SHA, "message": "Fix it\n"}, "repository": {"id": 7, "full_name": "acme/widget"},
        "pusher": {"login": "ada"}, "sender": {"login": "ada", "username": "ada"}
    })
}

pub(crate) fn pull_request() -> Value {
    json!({
        "action": "opened", "number": 5, "repository": {"id": 7, "full_name": "acme/widget"},
        "pull_request": {
            "number": 5, "title": "Fix it", "merged": false, "head": {"ref": "fix", "sha": SHA, "repo": {"id": 7}},
            "base": {"ref": "main", "sha": OLD_SHA, "repo": {"id": 7}}
        }
    })
}

/// The payload in a form, with the signature of the payload alone.
fn in_form(mut delivery: Delivery) -> Delivery {
    let json = String::from_utf8(delivery.body).expect("text");
    delivery.body = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish().into();
    delivery.with("Content-Type", FORM)
}

fn pushed(changes: &[(&str, Value)]) -> Delivery {
    gitea("push", with(push(), changes).to_string())
}

#[test]
fn a_push_in_full() {
    let event = RefEvent {
        repo: "acme/widget".to_owned(),
        kind: RefKind::Branch,
        name: "main".to_owned(),
        op: RefOp::Updated,
        commit: Some(SHA.to_owned()),
        forced: None,
        skip_ci: false,
        before: Some(OLD_SHA.to_owned()),
        after: Some(SHA.to_owned()),
        skip_marker: None,
        title: Some("Fix it".to_owned()),
        actor: Some("ada".to_owned()),
    };
    for delivery in [pushed(&[]), pushed(&[("/head_commit", Value::Null)]), in_form(pushed(&[]))] {
        assert_eq!(the_events(&delivery), [Event::Ref(event.clone())]);
        assert_eq!(understood(&delivery).repo_id.as_deref(), Some("7"));
    }
}

#[test]
fn refs_come_and_go_by_zeros_of_both_lengths() {
    for zero in ["0".repeat(40), "0".repeat(64)] {
        let created = the_ref(&pushed(&[("/before", json!(zero))]));
        assert_eq!((created.op, created.before, created.commit.as_deref()), (RefOp::Created, None, Some(SHA)));
        let gone = [("/ref", json!("refs/tags/v1")), ("/after", json!(zero)), ("/head_commit", Value::Null)];
        let gone = the_ref(&pushed(&gone));
        assert_eq!((gone.kind, gone.op, gone.after, gone.commit), (RefKind::Tag, RefOp::Deleted, None, None));
    }
    let tag_object = "ee".repeat(20);
    let tag = the_ref(&pushed(&[("/ref", json!("refs/tags/v1")), ("/after", json!(tag_object))]));
    assert_eq!((tag.commit.as_deref(), tag.after), (Some(SHA), Some(tag_object)));
    let marked = the_ref(&pushed(&[("/head_commit/message", json!("x [skip ci]"))]));
    assert_eq!((marked.skip_ci, marked.skip_marker.as_deref()), (true, Some("[skip ci]")));
}

#[test]
fn only_a_deleted_branch_is_told_by_delete_alone() {
    let body = |kind: &str| {
        json!({"ref": "feature/x", "ref_type": kind, "repository": {"id": 7, "full_name": "acme/widget"}, "sender": {"login": "ada"}})
            .to_string()
    };
    let gone = the_ref(&gitea("delete", body("branch")));
    assert_eq!((gone.kind, gone.name.as_str(), gone.op), (RefKind::Branch, "feature/x", RefOp::Deleted));
    assert_eq!((gone.before, gone.after, gone.commit, gone.actor.as_deref()), (None, None, None, Some("ada")));
    for (event, kind) in [("delete", "tag"), ("create", "branch"), ("create", "tag")] {
        let outcome = understood(&gitea(event, body(kind))).outcome;
        assert_eq!(in_words(&outcome), format!("ignored {event}: the push event tells the same"));
    }
}

#[test]
fn every_event_has_its_outcome() {
    let body = |action: &str| json!({"action": action, "release": {"tag_name": "v1"}, "repository": {"id": 7, "full_name": "acme/widget"}});
    for (event, action, expected) in [
        ("release", "published", "release acme/widget v1"),
        ("release", "updated", "ignored release updated: only published releases count"),
        ("repository", "deleted", "lifecycle repository deleted"),
        ("issues", "opened", "ignored issues is not an event that starts builds"),
        ("pull_request_approved", "reviewed", "ignored pull_request_approved is not an event that starts builds"),
        ("<b>", "", "ignored <b> is not an event that starts builds"),
    ] {
        let parsed = understood(&gitea(event, body(action).to_string()));
        assert_eq!((in_words(&parsed.outcome).as_str(), parsed.repo_id.as_deref()), (expected, Some("7")));
    }
}

#[test]
fn pull_request_actions() {
    let title = |from: &str| json!({"title": {"from": from}});
    for (action, merged, changes, expected) in [
        ("opened", false, Value::Null, ChangeAction::Opened),
        ("reopened", false, Value::Null, ChangeAction::Reopened),
        ("synchronized", false, Value::Null, ChangeAction::HeadUpdated),
        ("closed", false, Value::Null, ChangeAction::Closed),
        ("closed", true, Value::Null, ChangeAction::Merged),
        ("edited", false, json!({"ref": {"from": "dev"}}), ChangeAction::Retargeted),
        ("edited", false, title("WIP: Fix it"), ChangeAction::ReadyForReview),
        ("edited", false, title("[wip] Fix it"), ChangeAction::ReadyForReview),
        ("edited", false, title("Wipe it"), ChangeAction::Metadata),
        ("edited", false, Value::Null, ChangeAction::Metadata),
        ("label_updated", false, Value::Null, ChangeAction::Metadata),
        ("reviewed", false, Value::Null, ChangeAction::Other),
    ] {
        let body = with(
            pull_request(),
            &[("/action", json!(action)), ("/pull_request/merged", json!(merged)), ("/changes", changes)],
        );
        let event = ChangeEvent {
            repo: "acme/widget".to_owned(),
            number: 5,
            action: expected,
            head: Some(SHA.to_owned()),
            source_branch: Some("fix".to_owned()),
            target_branch: Some("main".to_owned()),
            from_fork: false,
            details: ChangeDetails::default(),
        };
        assert_eq!(without_details(the_change(&gitea("pull_request", body.to_string()))), event, "{action}");
    }
    let still_draft =
        [("/action", json!("edited")), ("/changes", title("WIP: a")), ("/pull_request/title", json!("WIP: b"))];
    let change = the_change(&gitea("pull_request", with(pull_request(), &still_draft).to_string()));
    assert_eq!(change.action, ChangeAction::Metadata);
}

#[test]
fn unknown_origin_counts_as_fork() {
    let from_fork = |pointer: &str, value: Value| {
        the_change(&gitea("pull_request", with(pull_request(), &[(pointer, value)]).to_string())).from_fork
    };
    assert!(from_fork("/pull_request/head/repo/id", json!(8)));
    assert!(from_fork("/pull_request/head/repo", Value::Null), "the fork was deleted");
    assert!(from_fork("/pull_request/base", Value::Null));
    assert!(!from_fork("/pull_request/head/repo/id", json!("7")));
}

#[test]
fn malformed_deliveries_name_the_place() {
    let pulled = |changes: &[(&str, Value)]| gitea("pull_request", with(pull_request(), changes).to_string());
    let body = |body: Value| body.to_string();
    assert_malformed(vec![
        (pushed(&[]).without("X-Gitea-Event"), "header X-Gitea-Event"),
        (gitea("push", "x=1").with("Content-Type", FORM), "form field payload"),
        (pushed(&[("/ref", json!("main"))]), "ref"),
        (pushed(&[("/before", Value::Null)]), "before"),
        (pushed(&[("/after", json!("--upload-pack=x"))]), "after"),
        (pushed(&[("/repository", Value::Null)]), "repository.full_name"),
        (pushed(&[("/commits/1/message", json!(1))]), "commits[1].message"),
        (pulled(&[("/pull_request", Value::Null)]), "pull_request"),
        (pulled(&[("/pull_request/head", Value::Null)]), "pull_request.head"),
        (pulled(&[("/pull_request/head/sha", json!("abc"))]), "pull_request.head.sha"),
        (pulled(&[("/number", Value::Null), ("/pull_request/number", json!("x"))]), "number"),
        (gitea("delete", body(json!({"ref_type": "branch", "repository": {"full_name": "a/b"}}))), "ref"),
        (
            gitea("release", body(json!({"action": "published", "repository": {"full_name": "a/b"}}))),
            "release.tag_name",
        ),
    ]);
    let headless = the_change(&pulled(&[("/pull_request/head/sha", json!(""))]));
    assert_eq!(headless.head, None);
}

#[test]
fn only_the_exact_signature_is_believed() {
    let good = gitea("push", "{\"a\": 1}");
    assert_hex_signature(&good, "X-Gitea-Signature", "");
    let reason = |delivery: &Delivery| judged(delivery, &[SECRET], at(0));
    let empty = good.clone().with("X-Gitea-Signature", "");
    assert_eq!(reason(&empty), Err("missing"), "so it is sent by a hook without a secret");
    let only_copies = good.clone().without("X-Gitea-Signature");
    assert_eq!(reason(&only_copies), Err("missing"), "GitHub's header is not Gitea's");
    for (delivery, auth) in [(&good, HookAuth::HmacSha256), (&empty, HookAuth::None), (&only_copies, HookAuth::None)] {
        assert_eq!(claimed_auth(&delivery.received()), auth);
    }
}

#[test]
fn a_form_is_signed_by_its_payload() {
    let form = in_form(pushed(&[]));
    assert_eq!(judged(&form, &[SECRET], at(0)).as_deref(), Ok("hmac_sha256"));
    let relabelled = form.clone().with("Content-Type", "application/json");
    assert_eq!(judged(&relabelled, &[SECRET], at(0)), Err("mismatch"));
    let empty = Delivery { body: b"other=1".to_vec(), ..form.clone() };
    assert_eq!(judged(&empty, &[SECRET], at(0)), Err("mismatch"));
    let stored = redact_body(&form.headers, &form.body).into_owned();
    assert!(!String::from_utf8(stored.clone()).expect("text").contains("hunter2"), "the secret of old versions");
    assert_eq!(the_ref(&Delivery { body: stored, ..form }).commit.as_deref(), Some(SHA), "and is read again");
}

#[test]
fn a_delivery_is_known_by_its_id() {
    assert_eq!(delivery_id(&pushed(&[]).received()), "f6266f16-1bf3-46a5-9ea4-602e06ead473");
}
