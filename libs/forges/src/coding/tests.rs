//! Small deliveries of our own, in all three wire formats.

use serde_json::{Value, json};
use slipway_domain::event::{ChangeAction, ChangeDetails, ChangeEvent, Event, HookAuth, RefEvent, RefKind, RefOp};

use crate::expect::{
    Judged, assert_hex_signature, assert_judged, assert_malformed, in_words, judged, the_change, the_events, the_ref,
    understood, with, without_details,
};
use crate::hook::{claimed_auth, delivery_id};
use crate::redact::redact_body;
use crate::testing::{Delivery, OLD_SHA, SECRET, SHA, at, coding, coding_first};

/// Of V2; the Service Hook adds keys that we do not read.
pub(crate) fn push() -> Value {
    json!({
        "ref": "refs/heads/main", "before": OLD_SHA, "after": SHA, "created": false, "deleted": false,
        "commits": [{"id": SHA, "message": "Fix it\n", "timestamp": 1_589_451_706_000_i64}],
        "head_commit": {"id": SHA, "message": "Fix it\n"}, "pusher": {"username": "ada"}, "sender": {"login": "ada"},
        "repository": {"id": 7, "full_name": "acme/tools/widget", "clone_url": "https://e.coding.net/acme/tools/widget.git"}
    })
}

pub(crate) fn merge_request() -> Value {
    json!({
        "action": "create", "number": 5, "repository": {"id": 7, "full_name": "acme/tools/widget"},
        "mergeRequest": {
            "number": 5, "state": "CANMERGE", "merge_commit_sha": "", "head": {"ref": "fix", "sha": SHA, "repo": {"id": 7}},
            "base": {"ref": "main", "sha": OLD_SHA, "repo": {"id": 7}}
        }
    })
}

fn first_repository(id: &str) -> Value {
    json!({"project_id": id, "name": "widget", "https_url": "https://git.coding.net/acme/widget.git"})
}

pub(crate) fn first_push() -> Value {
    json!({
        "event": "push", "ref": "refs/heads/main", "before": OLD_SHA, "after": SHA,
        "commits": [{"sha": SHA, "short_message": "Fix it\n"}], "repository": first_repository("7"),
        "user": {"global_key": "ada"}
    })
}

pub(crate) fn first_pull_request() -> Value {
    json!({
        "event": "pull_request", "repository": first_repository("7"),
        "pull_request": {
            "action": "create", "number": 5, "status": "CANMERGE", "source_sha": SHA, "source_branch": "fix",
            "target_branch": "main", "source_repository": first_repository("7")
        }
    })
}

fn service_hook(event: &str, body: &Value) -> Delivery {
    coding("push", body.to_string())
        .without("X-Coding-WebHook-Version")
        .with("X-Coding-Service-Hook-Event", event)
        .with("X-Coding-Service-Hook-Id", "f0b0ed2e-1810-51f5-bded-d4b07a8bc858")
        .with("X-Coding-Service-Hook-Action", "webhook_http_post")
}

fn pushed(changes: &[(&str, Value)]) -> Delivery {
    coding("push", with(push(), changes).to_string())
}

fn pushed_event(repo: &str) -> RefEvent {
    RefEvent {
        repo: repo.to_owned(),
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
    }
}

fn change_event(repo: &str, action: ChangeAction) -> ChangeEvent {
    ChangeEvent {
        repo: repo.to_owned(),
        number: 5,
        action,
        head: Some(SHA.to_owned()),
        source_branch: Some("fix".to_owned()),
        target_branch: Some("main".to_owned()),
        from_fork: false,
        details: ChangeDetails::default(),
    }
}

#[test]
fn a_push_in_full_in_every_format() {
    for (delivery, event, repo) in [
        (pushed(&[]), "push", "acme/tools/widget"),
        (service_hook("GIT_PUSHED", &push()), "GIT_PUSHED", "acme/tools/widget"),
        (coding_first("push", first_push()), "push", "acme/widget"),
    ] {
        assert_eq!(the_events(&delivery), [Event::Ref(pushed_event(repo))]);
        let parsed = understood(&delivery);
        assert_eq!((parsed.event_name.as_str(), parsed.repo_id.as_deref()), (event, Some("7")));
    }
    let bare = [("/commits", Value::Null), ("/head_commit", Value::Null), ("/sender", Value::Null)];
    let bare = the_ref(&pushed(&bare));
    assert_eq!((bare.commit.as_deref(), bare.title, bare.actor.as_deref()), (Some(SHA), None, Some("ada")));
}

#[test]
fn refs_come_and_go_by_zeros_of_both_lengths() {
    for zero in ["0".repeat(40), "0".repeat(64)] {
        let tag = [("/ref", json!("refs/tags/v1")), ("/before", json!(zero)), ("/after", json!("ee".repeat(20)))];
        let tag = the_ref(&pushed(&tag));
        assert_eq!((tag.kind, tag.op, tag.commit.as_deref()), (RefKind::Tag, RefOp::Created, Some(SHA)));
        let gone = [("/after", json!(zero)), ("/head_commit", Value::Null)];
        for gone in [the_ref(&pushed(&gone)), the_ref(&coding_first("push", with(first_push(), &gone)))] {
            assert_eq!((gone.op, gone.after, gone.commit), (RefOp::Deleted, None, None));
        }
    }
    for marker in ["[skip ci]", "[ci-skip]"] {
        let message = json!(format!("x {marker}"));
        let newer = the_ref(&pushed(&[("/head_commit/message", message.clone())]));
        let first = the_ref(&coding_first("push", with(first_push(), &[("/commits/0/short_message", message)])));
        for event in [newer, first] {
            assert_eq!((event.skip_ci, event.skip_marker.as_deref()), (true, Some(marker)));
        }
    }
    let older = json!([{"id": OLD_SHA, "message": "[ci-skip]"}]);
    assert!(!the_ref(&pushed(&[("/commits", older)])).skip_ci);
}

#[test]
fn every_event_has_its_outcome() {
    let svn = json!({"repository": {"id": 7, "vcs_type": "svn"}});
    let plain = json!({"zen": "x", "hook_id": 1, "repository": {"id": 7, "html_url": "<a href='x'>y</a>"}});
    for (delivery, expected) in [
        (coding("ping", plain.to_string()), "ping"),
        (coding_first("ping", json!({"zen": "x"})), "ping"),
        (service_hook("GIT_PUSHED", &svn), "ignored the repository is not one of git"),
        (service_hook("GIT_MR_NOTE", &plain), "ignored GIT_MR_NOTE is not an event that starts builds"),
        (service_hook("CI_JOB_STARTED", &plain), "ignored CI_JOB_STARTED is not an event that starts builds"),
        (coding("task", plain.to_string()), "ignored task is not an event that starts builds"),
    ] {
        assert_eq!(in_words(&understood(&delivery).outcome), expected);
    }
}

#[test]
fn merge_request_actions_of_the_second_format() {
    for (action, expected) in [
        ("create", ChangeAction::Opened),
        ("reopen", ChangeAction::Reopened),
        ("synchronize", ChangeAction::HeadUpdated),
        ("merge", ChangeAction::Merged),
        ("close", ChangeAction::Closed),
        ("refuse", ChangeAction::Closed),
        ("made_up", ChangeAction::Other),
    ] {
        let body = with(merge_request(), &[("/action", json!(action))]);
        let change = the_change(&coding("merge request", body.to_string()));
        assert_eq!(without_details(change), change_event("acme/tools/widget", expected), "{action}");
        let body = with(first_pull_request(), &[("/pull_request/action", json!(action))]);
        let change = the_change(&coding_first("pull_request", body));
        assert_eq!(without_details(change), change_event("acme/widget", expected), "{action}");
    }
}

#[test]
fn merge_request_actions_of_the_service_hook() {
    for (event, action, expected) in [
        ("GIT_MR_CREATED", Value::Null, ChangeAction::Opened),
        ("GIT_MR_UPDATED", Value::Null, ChangeAction::HeadUpdated),
        ("GIT_MR_UPDATED", json!("synchronize"), ChangeAction::HeadUpdated),
        ("GIT_MR_UPDATED", json!("made_up"), ChangeAction::Other),
        ("GIT_MR_MERGED", Value::Null, ChangeAction::Merged),
        ("GIT_MR_CLOSED", Value::Null, ChangeAction::Closed),
    ] {
        let body = with(merge_request(), &[("/action", action), ("/number", Value::Null)]);
        assert_eq!(the_change(&service_hook(event, &body)), change_event("acme/tools/widget", expected), "{event}");
    }
}

#[test]
fn unknown_origin_counts_as_fork() {
    let newer = |pointer: &str, value: Value| {
        the_change(&coding("merge request", with(merge_request(), &[(pointer, value)]).to_string())).from_fork
    };
    assert!(newer("/mergeRequest/head/repo/id", json!(8)));
    assert!(newer("/mergeRequest/head/repo", Value::Null));
    assert!(newer("/mergeRequest/base", Value::Null));
    assert!(!newer("/mergeRequest/head/repo/id", json!("7")));
    let first = |pointer: &str, value: Value| {
        the_change(&coding_first("pull_request", with(first_pull_request(), &[(pointer, value)]))).from_fork
    };
    assert!(first("/pull_request/source_repository", first_repository("8")));
    assert!(first("/pull_request/source_repository", Value::Null));
    let same = json!({"event": "merge_request", "repository": first_repository("7"), "merge_request": {"number": 1}});
    assert!(the_change(&coding_first("merge_request", same)).from_fork, "it does not say where it comes from");
}

#[test]
fn malformed_deliveries_name_the_place() {
    let merged = |changes: &[(&str, Value)]| coding("merge request", with(merge_request(), changes).to_string());
    let first = |changes: &[(&str, Value)]| coding_first("pull_request", with(first_pull_request(), changes));
    let nameless = [("/repository/full_name", json!("")), ("/repository/https_url", json!("nonsense"))];
    assert_malformed(vec![
        (pushed(&[]).without("X-Coding-Event"), "header X-Coding-Event"),
        (
            service_hook("GIT_PUSHED", &push()).with("X-Coding-Service-Hook-Event", ""),
            "header X-Coding-Service-Hook-Event",
        ),
        (pushed(&[]).with("Content-Type", "application/x-www-form-urlencoded"), "header Content-Type"),
        (coding("push", "[]"), "body"),
        (pushed(&[("/repository", Value::Null)]), "repository"),
        (pushed(&nameless), "repository.full_name"),
        (pushed(&[("/ref", json!("main"))]), "ref"),
        (pushed(&[("/after", json!("--upload-pack=x"))]), "after"),
        (pushed(&[("/commits/0/message", json!(1))]), "commits[0].message"),
        (merged(&[("/mergeRequest", Value::Null)]), "mergeRequest"),
        (merged(&[("/mergeRequest/head", Value::Null)]), "mergeRequest.head"),
        (merged(&[("/mergeRequest/head/sha", json!("abc"))]), "mergeRequest.head.sha"),
        (merged(&[("/mergeRequest/number", Value::Null), ("/number", Value::Null)]), "mergeRequest.number"),
        (first(&[("/pull_request/number", Value::Null)]), "pull_request.number"),
        (first(&[("/pull_request/source_sha", json!("abc"))]), "pull_request.source_sha"),
    ]);
    assert_eq!(the_change(&first(&[("/pull_request/source_sha", json!(""))])).head, None);
}

#[test]
fn only_the_exact_signature_is_believed() {
    for good in [pushed(&[]), service_hook("GIT_PUSHED", &push())] {
        assert_hex_signature(&good, "X-Coding-Signature", "sha1=");
        assert_eq!(claimed_auth(&good.received()), HookAuth::HmacSha1);
        assert_eq!(claimed_auth(&good.without("X-Coding-Signature").received()), HookAuth::None);
    }
}

#[test]
fn the_first_formats_token_is_compared_whole() {
    let good = coding_first("push", first_push());
    let is = |token: Value| Delivery {
        body: with(first_push(), &[("/token", token)]).to_string().into_bytes(),
        ..good.clone()
    };
    let bytes = |body: &str| Delivery { body: body.as_bytes().to_vec(), ..good.clone() };
    let twice = bytes(&format!("{{\"token\": \"other\", \"token\": \"{SECRET}\"}}"));
    let table: &[Judged<'_>] = &[
        ("equal", &good, &[SECRET], Ok("shared_token")),
        ("previous", &good, &["newer", SECRET], Ok("shared_token")),
        ("other secret", &good, &["other"], Err("mismatch")),
        ("no secret", &good, &[], Err("no_secret")),
        ("beginning", &is(json!("It's")), &[SECRET], Err("mismatch")),
        ("other case", &is(json!(SECRET.to_uppercase())), &[SECRET], Err("mismatch")),
        ("empty", &is(json!("")), &[SECRET], Err("missing")),
        ("empty on both sides", &is(json!("")), &[""], Err("no_secret")),
        ("not a text", &is(json!([SECRET])), &[SECRET], Err("missing")),
        ("null", &is(Value::Null), &[SECRET], Err("missing")),
        ("elsewhere", &bytes(&format!("{{\"hook\": {{\"token\": \"{SECRET}\"}}}}")), &[SECRET], Err("missing")),
        ("twice", &twice, &[SECRET], Err("missing")),
        ("no JSON", &bytes(&format!("token={SECRET}")), &[SECRET], Err("missing")),
        ("an array", &bytes(&format!("[\"{SECRET}\"]")), &[SECRET], Err("missing")),
    ];
    assert_judged(at(0), table);
    assert_eq!(claimed_auth(&good.received()), HookAuth::SharedToken);
    assert_eq!(claimed_auth(&is(Value::Null).received()), HookAuth::None);
}

#[test]
fn a_signature_that_fails_or_is_missing_never_falls_back_to_the_token() {
    let with_token = with(push(), &[("/token", json!(SECRET))]);
    let signed = coding("push", with_token.to_string());
    assert_eq!(judged(&signed, &[SECRET], at(0)).as_deref(), Ok("hmac_sha1"));
    let first = coding_first("push", first_push());
    for value in ["", "sha1=", "sha1=00", "sha256=00"] {
        for delivery in [&signed, &first] {
            assert!(judged(&delivery.clone().with("X-Coding-Signature", value), &[SECRET], at(0)).is_err(), "{value}");
        }
    }
    let unsigned = signed.without("X-Coding-Signature");
    let hooked = service_hook("GIT_PUSHED", &with_token).without("X-Coding-Signature");
    for delivery in [unsigned, hooked] {
        assert_eq!(judged(&delivery, &[SECRET], at(0)), Err("missing"), "the newer formats are signed");
        assert_eq!(claimed_auth(&delivery.received()), HookAuth::None);
    }
}

#[test]
fn deliveries_have_ids_but_for_the_first_format_and_no_token_is_kept() {
    assert_eq!(delivery_id(&pushed(&[]).received()), "bf3f043a-3883-433c-8e20-312b04c49b46");
    let first = coding_first("push", first_push());
    assert!(delivery_id(&first.received()).starts_with("sha256:"));
    let stored = redact_body(&first.headers, &first.body).into_owned();
    assert!(!String::from_utf8(stored.clone()).expect("text").contains(SECRET));
    assert_eq!(the_ref(&Delivery { body: stored, ..first }), pushed_event("acme/widget"), "and is read again");
}
