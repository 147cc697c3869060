//! Small deliveries of our own.

use serde_json::{Value, json};
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent, Event, HookAuth, RefEvent, RefKind, RefOp};

use crate::expect::{
    Judged, assert_judged, assert_malformed, in_words, judged, the_change, the_events, the_ref, understood, with,
    without_details,
};
use crate::hook::{claimed_auth, delivery_id};
use crate::redact::{MASK, redact_body, redact_headers};
use crate::testing::{Delivery, OLD_SHA, SECRET, SHA, at, gitee};

const NOW: i64 = 1_790_000_000;

pub(crate) fn push() -> Value {
    json!({
        "hook_name": "push_hooks", "password": "hunter2", "sign": "hunter2", "timestamp": "1790000000000",
        "ref": "refs/heads/main", "before": OLD_SHA, "after": SHA, "created": false, "deleted": false,
        "commits": null, "head_commit": {"id": SHA, "message": "Fix it\n"},
        "repository": {
            "id": 7, "path_with_namespace": "acme/widget", "full_name": "acme/other", "pushed_at": "2021-10-08T17:53:18+08:00"
        },
        "pusher": {"username": "ada"}, "sender": {"login": "ada"}
    })
}

pub(crate) fn merge_request() -> Value {
    json!({
        "action": "open", "action_desc": "open", "number": 5, "iid": 5, "source_branch": "fix", "target_branch": "main",
        "repository": {"id": 7, "path_with_namespace": "acme/widget"},
        "pull_request": {
            "number": 5, "head": {"ref": "fix", "sha": SHA, "repo": {"id": 7}},
            "base": {"ref": "main", "sha": OLD_SHA, "repo": {"id": 7}}
        }
    })
}

fn pushed(changes: &[(&str, Value)]) -> Delivery {
    gitee("Push Hook", with(push(), changes).to_string(), at(NOW))
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
    assert_eq!(the_events(&pushed(&[])), [Event::Ref(event)]);
    let parsed = understood(&pushed(&[]));
    assert_eq!((parsed.event_name.as_str(), parsed.repo_id.as_deref()), ("Push Hook", Some("7")));
    assert_eq!(parsed.forge_time, Some(at(1_633_686_798)));
}

#[test]
fn refs_come_and_go_by_zeros_of_both_lengths() {
    for zero in ["0".repeat(40), "0".repeat(64)] {
        let tag = [("/ref", json!("refs/tags/v1")), ("/before", json!(zero)), ("/after", json!("ee".repeat(20)))];
        let tag = the_ref(&gitee("Tag Push Hook", with(push(), &tag).to_string(), at(NOW)));
        assert_eq!((tag.kind, tag.op, tag.commit.as_deref()), (RefKind::Tag, RefOp::Created, Some(SHA)));
        let gone = the_ref(&pushed(&[("/after", json!(zero)), ("/head_commit", Value::Null)]));
        assert_eq!((gone.op, gone.after, gone.commit), (RefOp::Deleted, None, None));
    }
    assert!(the_ref(&pushed(&[("/head_commit/message", json!("x [skip ci]"))])).skip_ci);
}

#[test]
fn every_event_has_its_outcome() {
    let body = json!({"repository": {"id": 7}}).to_string();
    for (event, ping, expected) in [
        ("Push Hook", "true", "ping"),
        ("Issue Hook", "false", "ignored Issue Hook is not an event that starts builds"),
        ("Note Hook", "false", "ignored Note Hook is not an event that starts builds"),
    ] {
        let parsed = understood(&gitee(event, &body, at(NOW)).with("X-Gitee-Ping", ping));
        assert_eq!((in_words(&parsed.outcome).as_str(), parsed.repo_id.as_deref()), (expected, Some("7")));
    }
}

#[test]
fn merge_request_actions() {
    for (action, desc, expected) in [
        ("open", json!("open"), ChangeAction::Opened),
        ("reopen", Value::Null, ChangeAction::Reopened),
        ("update", json!("source_branch_changed"), ChangeAction::HeadUpdated),
        ("update", Value::Null, ChangeAction::HeadUpdated),
        ("update", json!("target_branch_changed"), ChangeAction::Retargeted),
        ("update", json!("update_label"), ChangeAction::Metadata),
        ("assign", Value::Null, ChangeAction::Metadata),
        ("close", Value::Null, ChangeAction::Closed),
        ("merge", json!("open"), ChangeAction::Merged),
        ("tested", Value::Null, ChangeAction::Other),
    ] {
        let body = with(merge_request(), &[("/action", json!(action)), ("/action_desc", desc)]);
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
        assert_eq!(
            without_details(the_change(&gitee("Merge Request Hook", body.to_string(), at(NOW)))),
            event,
            "{action}"
        );
    }
}

#[test]
fn unknown_origin_counts_as_fork() {
    let from_fork = |pointer: &str, value: Value| {
        let body = with(merge_request(), &[(pointer, value)]).to_string();
        the_change(&gitee("Merge Request Hook", body, at(NOW))).from_fork
    };
    assert!(from_fork("/pull_request/head/repo/id", json!(8)));
    assert!(from_fork("/pull_request/head/repo", Value::Null));
    assert!(from_fork("/pull_request/base", Value::Null));
    assert!(!from_fork("/pull_request/head/repo/id", json!("7")));
}

#[test]
fn malformed_deliveries_name_the_place() {
    let pulled =
        |changes: &[(&str, Value)]| gitee("Merge Request Hook", with(merge_request(), changes).to_string(), at(NOW));
    let numberless = [("/number", Value::Null), ("/iid", json!("")), ("/pull_request/number", json!("x"))];
    assert_malformed(vec![
        (pushed(&[]).without("X-Gitee-Event"), "header X-Gitee-Event"),
        (gitee("Push Hook", "hook=1", at(NOW)), "body"),
        (pushed(&[("/ref", Value::Null)]), "ref"),
        (pushed(&[("/after", json!("--upload-pack=x"))]), "after"),
        (pushed(&[("/repository", Value::Null)]), "repository.path_with_namespace"),
        (pulled(&[("/pull_request", Value::Null)]), "pull_request"),
        (pulled(&numberless), "number"),
        (pulled(&[("/pull_request/head/sha", json!("abc"))]), "pull_request.head.sha"),
    ]);
}

#[test]
fn a_signature_covers_the_time_and_no_body() {
    let good = pushed(&[]);
    let token = good.headers["x-gitee-token"].to_str().expect("text").to_owned();
    let escaped = token.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    let other_body = Delivery { body: b"{}".to_vec(), ..good.clone() };
    let time = |value: &str| good.clone().with("X-Gitee-Timestamp", value);
    let is = |value: &str| good.clone().with("X-Gitee-Token", value);
    let table: &[Judged<'_>] = &[
        ("as signed", &good, &[SECRET], Ok("timestamp_only")),
        ("URL-encoded", &is(&escaped), &[SECRET], Ok("timestamp_only")),
        ("previous secret", &good, &["newer", SECRET], Ok("timestamp_only")),
        ("other body", &other_body, &[SECRET], Ok("timestamp_only")),
        ("other secret", &good, &["other"], Err("mismatch")),
        ("no secret", &good, &[], Err("no_secret")),
        ("other time", &time("1790000000001"), &[SECRET], Err("mismatch")),
        ("seconds", &time("1790000000"), &[SECRET], Err("mismatch")),
        ("no number", &time("soon"), &[SECRET], Err("malformed")),
        ("no time", &good.clone().without("X-Gitee-Timestamp"), &[SECRET], Err("missing")),
        ("time twice", &good.clone().twice("X-Gitee-Timestamp"), &[SECRET], Err("repeated")),
        ("no token", &good.clone().without("X-Gitee-Token"), &[SECRET], Err("missing")),
        ("token twice", &good.clone().twice("X-Gitee-Token"), &[SECRET], Err("repeated")),
        ("other digits", &is(&token.to_lowercase()), &[SECRET], Err("mismatch")),
    ];
    assert_judged(at(NOW), table);
    assert_eq!(claimed_auth(&good.received()), HookAuth::TimestampOnly);
}

#[test]
fn the_signed_time_may_be_an_hour_off_in_either_direction() {
    for (offset, expected) in [
        (-3601, Err("stale")),
        (-3600, Ok("timestamp_only")),
        (0, Ok("timestamp_only")),
        (3600, Ok("timestamp_only")),
        (3601, Err("stale")),
        (-NOW, Err("stale")),
    ] {
        let found = judged(&gitee("Push Hook", "{}", at(NOW + offset)), &[SECRET], at(NOW));
        assert_eq!(found.as_deref().map_err(|reason| *reason), expected, "{offset}");
    }
}

#[test]
fn a_password_is_compared_whole() {
    // 32 bytes in base64, as people make passwords too.
    let random = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
    let is = |value: &str| pushed(&[]).with("X-Gitee-Token", value);
    let table: &[Judged<'_>] = &[
        ("equal", &is(SECRET), &[SECRET], Ok("shared_token")),
        ("previous", &is(SECRET), &["newer", SECRET], Ok("shared_token")),
        ("looks like a signature", &is(random), &[random], Ok("shared_token")),
        ("without a time", &is(SECRET).without("X-Gitee-Timestamp"), &[SECRET], Ok("shared_token")),
        ("beginning", &is("It's"), &[SECRET], Err("mismatch")),
        ("longer", &is(&format!("{SECRET}!")), &[SECRET], Err("mismatch")),
        ("empty", &is(""), &[SECRET], Err("mismatch")),
        ("empty on both sides", &is(""), &[""], Err("no_secret")),
        ("twice", &is(SECRET).twice("X-Gitee-Token"), &[SECRET], Err("repeated")),
    ];
    assert_judged(at(NOW), table);
    assert_eq!(claimed_auth(&is(SECRET).received()), HookAuth::SharedToken);
    assert_eq!(claimed_auth(&is(SECRET).without("X-Gitee-Token").received()), HookAuth::None);
}

#[test]
fn equal_bodies_are_one_delivery_and_no_secret_is_kept() {
    let delivery = pushed(&[]);
    let later = gitee("Push Hook", &delivery.body, at(NOW + 60));
    assert_eq!(delivery_id(&delivery.received()), delivery_id(&later.received()));
    assert!(delivery_id(&delivery.received()).starts_with("sha256:"));
    let body = String::from_utf8(redact_body(&delivery.headers, &delivery.body).into_owned()).expect("text");
    assert!(!body.contains("hunter2") && body.contains("1790000000000"), "{body}");
    assert_eq!(redact_headers(&delivery.headers)["x-gitee-token"], MASK);
}
