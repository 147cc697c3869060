//! Meaning: small bodies of our own, so that the suite says something without the fixture folder.

use serde_json::{Value, json};
use slipway_domain::event::{ChangeAction, Event, RefEvent, RefKind, RefOp};

use super::*;
use crate::expect::{assert_malformed, in_words, the_change, the_ref, understood, with};
use crate::inspect::inspect;
use crate::testing::{Delivery, OLD_SHA, SHA, at, github, gitlab};

const ZERO: &str = "0000000000000000000000000000000000000000";

pub(super) fn github_push() -> Value {
    json!({
        "ref": "refs/heads/main", "before": OLD_SHA, "after": SHA, "created": false, "deleted": false, "forced": true,
        "head_commit": {"id": SHA, "message": "Fix the pump\n\nLong text"},
        "repository": {"id": 7, "full_name": "acme/widget", "pushed_at": 1_700_000_000},
        "sender": {"login": "octocat"}, "pusher": {"name": "other"}, "commits": []
    })
}

pub(super) fn gitlab_push() -> Value {
    json!({
        "object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "before": OLD_SHA, "after": SHA,
        "checkout_sha": SHA, "user_username": "jsmith", "project_id": "15",
        "project": {"id": 15, "path_with_namespace": "acme/sub/widget"},
        "commits": [{"id": OLD_SHA, "message": "old [skip ci]"}, {"id": SHA, "message": "new\n"}],
        "push_options": {}, "total_commits_count": 2
    })
}

pub(super) fn pull_request() -> Value {
    json!({
        "action": "opened", "number": 5, "repository": {"id": 7, "full_name": "acme/widget"},
        "pull_request": {
            "number": 5, "merged": false,
            "head": {"ref": "fix", "sha": SHA, "repo": {"id": 7}}, "base": {"ref": "main", "sha": OLD_SHA, "repo": {"id": 7}}
        }
    })
}

pub(super) fn merge_request() -> Value {
    json!({
        "object_kind": "merge_request", "project": {"id": 15, "path_with_namespace": "acme/sub/widget"},
        "object_attributes": {
            "iid": 3, "action": "open", "source_branch": "fix", "target_branch": "main", "source_project_id": 15,
            "target_project_id": 15, "last_commit": {"id": SHA}
        },
        "changes": {}
    })
}

fn github_ref(changes: &[(&str, Value)]) -> RefEvent {
    the_ref(&github("push", with(github_push(), changes).to_string()))
}

fn gitlab_ref(changes: &[(&str, Value)]) -> RefEvent {
    the_ref(&gitlab("Push Hook", with(gitlab_push(), changes).to_string()))
}

#[test]
fn a_github_push_in_full() {
    let parsed = understood(&github("push", github_push().to_string()));
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
        title: Some("Fix the pump".to_owned()),
        actor: Some("octocat".to_owned()),
    };
    let expected = Parsed {
        event_name: "push".to_owned(),
        delivery_id: "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned(),
        repo_id: Some("7".to_owned()),
        forge_time: Some(at(1_700_000_000)),
        outcome: Outcome::Events(vec![Event::Ref(event)]),
    };
    assert_eq!(parsed, expected);
}

#[test]
fn a_gitlab_push_in_full() {
    let parsed = understood(&gitlab("Push Hook", gitlab_push().to_string()));
    let event = RefEvent {
        repo: "acme/sub/widget".to_owned(),
        kind: RefKind::Branch,
        name: "main".to_owned(),
        op: RefOp::Updated,
        commit: Some(SHA.to_owned()),
        forced: None,
        skip_ci: false,
        before: Some(OLD_SHA.to_owned()),
        after: Some(SHA.to_owned()),
        skip_marker: None,
        title: Some("new".to_owned()),
        actor: Some("jsmith".to_owned()),
    };
    let expected = Parsed {
        event_name: "Push Hook".to_owned(),
        delivery_id: "f5e5f430-f57b-4e6e-9fac-d9128cd7232f".to_owned(),
        repo_id: Some("15".to_owned()),
        forge_time: None,
        outcome: Outcome::Events(vec![Event::Ref(event)]),
    };
    assert_eq!(parsed, expected);
}

#[test]
fn creations_and_deletions_are_told_by_zeros_of_both_lengths() {
    for zero in [ZERO.to_owned(), "0".repeat(64)] {
        let created = [("/before", json!(zero))];
        let deleted = [("/after", json!(zero)), ("/head_commit", Value::Null), ("/checkout_sha", Value::Null)];
        for event in [github_ref(&created), gitlab_ref(&created)] {
            assert_eq!((event.op, event.before, event.commit.as_deref()), (RefOp::Created, None, Some(SHA)));
        }
        for event in [github_ref(&deleted), gitlab_ref(&deleted)] {
            assert_eq!((event.op, event.after, event.commit, event.skip_ci), (RefOp::Deleted, None, None, false));
            assert_eq!(event.before.as_deref(), Some(OLD_SHA));
        }
    }
    let long = "ab".repeat(32);
    assert_eq!(github_ref(&[("/after", json!(long))]).commit.as_deref(), Some(long.as_str()));
}

#[test]
fn annotated_tags_are_peeled_where_the_forge_tells_the_commit() {
    let tag_object = "ee".repeat(20);
    let tag = [("/ref", json!("refs/tags/v1")), ("/after", json!(tag_object))];
    for event in [github_ref(&tag), gitlab_ref(&tag)] {
        assert_eq!((event.kind, event.name.as_str(), event.commit.as_deref()), (RefKind::Tag, "v1", Some(SHA)));
        assert_eq!(event.after.as_deref(), Some(tag_object.as_str()));
    }
    let untold = [tag[0].clone(), tag[1].clone(), ("/checkout_sha", Value::Null), ("/head_commit", Value::Null)];
    assert_eq!((github_ref(&untold).commit, gitlab_ref(&untold).commit), (None, None));
    let branch = gitlab_ref(&[("/checkout_sha", Value::Null)]);
    assert_eq!(branch.commit.as_deref(), Some(SHA), "a branch always points to a commit");
}

#[test]
fn only_the_head_commit_or_a_push_option_skips() {
    let marked = "typo [skip ci]";
    assert_eq!(github_ref(&[("/head_commit/message", json!(marked))]).skip_marker.as_deref(), Some("[skip ci]"));
    assert!(!github_ref(&[("/commits", json!([{"id": OLD_SHA, "message": marked}]))]).skip_ci);
    assert_eq!(gitlab_ref(&[("/commits/1/message", json!(marked))]).skip_marker.as_deref(), Some("[skip ci]"));
    assert!(!gitlab_ref(&[]).skip_ci, "the marker of an older commit does not count");
    for (option, skips) in [
        (json!({"ci": {"skip": true}}), true),
        (json!({"ci": {"skip": "true"}}), true),
        (json!({"ci": {"skip": ""}}), true),
        (json!({"ci": {"skip": 1}}), true),
        (json!({"ci": {"skip": false}}), false),
        (json!({"ci": {"skip": "false"}}), false),
        (json!({"ci": {"variable": {"A=1": 1}}}), false),
        (json!(["ci.skip"]), false),
        (Value::Null, false),
    ] {
        let event = gitlab_ref(&[("/push_options", option.clone())]);
        assert_eq!(event.skip_marker.is_some(), skips, "{option}");
        assert_eq!(event.skip_ci, skips);
    }
}

#[test]
fn names_are_text_whatever_they_say() {
    for name in ["ünïcode/日本", "-rf", "a b", "x;touch y", "$(id)", "<script>alert(1)</script>", "..", "\u{202e}"]
    {
        let full_ref = format!("refs/heads/{name}");
        assert_eq!(github_ref(&[("/ref", json!(full_ref))]).name, name);
        assert_eq!(gitlab_ref(&[("/ref", json!(full_ref))]).name, name);
    }
    let other = github_ref(&[("/ref", json!("refs/notes/commits"))]);
    assert_eq!((other.kind, other.name.as_str()), (RefKind::Other, "refs/notes/commits"));
}

#[test]
fn form_bodies_are_decoded_after_their_raw_bytes_were_verified() {
    let payload = github_push().to_string();
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload).finish();
    let delivery = github("push", form).with("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8");
    let verdict = inspect(&delivery.received(), &[crate::testing::SECRET.to_owned()], at(0));
    assert!(verdict.verified);
    assert_eq!(the_ref(&delivery).commit.as_deref(), Some(SHA));
}

#[test]
fn every_github_event_has_its_outcome() {
    let repository = json!({"id": "7", "full_name": "acme/widget"});
    let body = |action: &str| {
        json!({
            "action": action, "repository": repository, "release": {"tag_name": "v1"},
            "check_run": {"head_sha": SHA}, "check_suite": {"head_sha": SHA}
        })
        .to_string()
    };
    let table = [
        ("ping", "", "ping"),
        ("create", "", "ignored create: the push event tells the same"),
        ("delete", "", "ignored delete: the push event tells the same"),
        ("merge_group", "checks_requested", "ignored merge_group: the push of the queue's branch tells the same"),
        ("release", "published", "release acme/widget v1"),
        ("release", "created", "ignored release created: only published releases count"),
        ("check_run", "rerequested", "rerun acme/widget 1f8e2c0d3b4a59687f8e2c0d3b4a59687f8e2c0d"),
        ("check_suite", "rerequested", "rerun acme/widget 1f8e2c0d3b4a59687f8e2c0d3b4a59687f8e2c0d"),
        ("check_run", "completed", "ignored check_run completed: only a request to run again counts"),
        ("installation", "deleted", "lifecycle installation deleted"),
        ("installation_repositories", "added", "lifecycle installation_repositories added"),
        ("repository", "renamed", "lifecycle repository renamed"),
        ("meta", "deleted", "lifecycle meta deleted"),
        ("star", "created", "ignored star is not an event that starts builds"),
        ("<b>", "", "ignored <b> is not an event that starts builds"),
    ];
    for (event, action, expected) in table {
        let parsed = understood(&github(event, body(action)));
        assert_eq!(in_words(&parsed.outcome), expected, "{event} {action}");
        assert_eq!(parsed.repo_id.as_deref(), Some("7"));
    }
}

#[test]
fn every_gitlab_event_has_its_outcome() {
    let project = json!({"id": "15", "path_with_namespace": "acme/sub/widget"});
    let web =
        |kind: &str, action: &str| json!({"object_kind": kind, "action": action, "tag": "v1", "project": project});
    let system = |name: &str| json!({"event_name": name, "project_id": 15, "path_with_namespace": "acme/sub/widget"});
    let table = [
        (web("release", "create"), "release acme/sub/widget v1"),
        (web("release", "delete"), "ignored release delete: only new releases count"),
        (web("pipeline", ""), "ignored pipeline is not an event that starts builds"),
        (web("note", ""), "ignored note is not an event that starts builds"),
        (system("project_create"), "lifecycle project create"),
        (system("project_transfer"), "lifecycle project transfer"),
        (system("repository_update"), "ignored repository_update: the push events tell the same"),
        (system("user_create"), "ignored user_create is not an event that starts builds"),
    ];
    for (body, expected) in table {
        let parsed = understood(&gitlab("System Hook", body.to_string()));
        assert_eq!(in_words(&parsed.outcome), expected);
        assert_eq!(parsed.repo_id.as_deref(), Some("15"));
    }
}

#[test]
fn pull_request_actions() {
    let base_changed = json!({"base": {"ref": {"from": "old"}}});
    for (action, merged, changes, expected) in [
        ("opened", false, Value::Null, ChangeAction::Opened),
        ("reopened", false, Value::Null, ChangeAction::Reopened),
        ("synchronize", false, Value::Null, ChangeAction::HeadUpdated),
        ("ready_for_review", false, Value::Null, ChangeAction::ReadyForReview),
        ("edited", false, base_changed, ChangeAction::Retargeted),
        ("edited", false, json!({"title": {"from": "x"}}), ChangeAction::Metadata),
        ("converted_to_draft", false, Value::Null, ChangeAction::Metadata),
        ("labeled", false, Value::Null, ChangeAction::Metadata),
        ("closed", false, Value::Null, ChangeAction::Closed),
        ("closed", true, Value::Null, ChangeAction::Merged),
        ("made_up", false, Value::Null, ChangeAction::Other),
    ] {
        let body = with(
            pull_request(),
            &[("/action", json!(action)), ("/pull_request/merged", json!(merged)), ("/changes", changes)],
        );
        let change = the_change(&github("pull_request", body.to_string()));
        assert_eq!(change.action, expected, "{action}");
        assert_eq!((change.repo.as_str(), change.number, change.from_fork), ("acme/widget", 5, false));
        assert_eq!(change.head.as_deref(), Some(SHA));
        assert_eq!((change.source_branch.as_deref(), change.target_branch.as_deref()), (Some("fix"), Some("main")));
    }
}

#[test]
fn merge_request_actions() {
    let flag = |previous: bool| json!({"previous": previous, "current": !previous});
    for (action, oldrev, changes, expected) in [
        ("open", Value::Null, json!({}), ChangeAction::Opened),
        ("reopen", Value::Null, json!({}), ChangeAction::Reopened),
        ("update", json!(OLD_SHA), json!({}), ChangeAction::HeadUpdated),
        ("update", Value::Null, json!({"title": {}}), ChangeAction::Metadata),
        ("update", Value::Null, json!({"target_branch": {"previous": "a", "current": "b"}}), ChangeAction::Retargeted),
        ("update", Value::Null, json!({"draft": flag(true)}), ChangeAction::ReadyForReview),
        ("update", Value::Null, json!({"work_in_progress": flag(true)}), ChangeAction::ReadyForReview),
        ("update", Value::Null, json!({"draft": flag(false)}), ChangeAction::Metadata),
        ("close", Value::Null, json!({}), ChangeAction::Closed),
        ("merge", Value::Null, json!({}), ChangeAction::Merged),
        ("approved", Value::Null, json!({}), ChangeAction::Other),
    ] {
        let body = with(
            merge_request(),
            &[
                ("/object_attributes/action", json!(action)),
                ("/object_attributes/oldrev", oldrev),
                ("/changes", changes.clone()),
            ],
        );
        let change = the_change(&gitlab("Merge Request Hook", body.to_string()));
        assert_eq!(change.action, expected, "{action} {changes}");
        assert_eq!((change.repo.as_str(), change.number, change.from_fork), ("acme/sub/widget", 3, false));
    }
}

#[test]
fn unknown_origin_counts_as_fork() {
    let github_fork = |head: Value, base: Value| {
        let body = with(pull_request(), &[("/pull_request/head/repo", head), ("/pull_request/base/repo", base)]);
        the_change(&github("pull_request", body.to_string())).from_fork
    };
    assert!(github_fork(json!({"id": 8}), json!({"id": 7})));
    assert!(github_fork(Value::Null, json!({"id": 7})), "the fork was deleted");
    assert!(github_fork(json!({}), json!({})), "no ids at all");
    assert!(!github_fork(json!({"id": "7"}), json!({"id": 7})), "numbers may be text");

    let gitlab_fork = |source: Value, target: Value, paths: Option<(&str, &str)>| {
        let path = |path: &str| json!({"path_with_namespace": path});
        let body = with(
            merge_request(),
            &[
                ("/object_attributes/source_project_id", source),
                ("/object_attributes/target_project_id", target),
                ("/object_attributes/source", paths.map_or(Value::Null, |paths| path(paths.0))),
                ("/object_attributes/target", paths.map_or(Value::Null, |paths| path(paths.1))),
            ],
        );
        the_change(&gitlab("Merge Request Hook", body.to_string())).from_fork
    };
    assert!(gitlab_fork(json!(2), json!("15"), None));
    assert!(!gitlab_fork(json!(15), json!("15"), None));
    assert!(gitlab_fork(Value::Null, json!(15), None));
    assert!(!gitlab_fork(Value::Null, Value::Null, Some(("a/b", "a/b"))));
    assert!(gitlab_fork(Value::Null, Value::Null, Some(("x/b", "a/b"))));
}

#[test]
fn malformed_deliveries_name_the_place() {
    let push = |changes: &[(&str, Value)]| github("push", with(github_push(), changes).to_string());
    let pull = |changes: &[(&str, Value)]| github("pull_request", with(pull_request(), changes).to_string());
    let lab = |changes: &[(&str, Value)]| gitlab("Push Hook", with(gitlab_push(), changes).to_string());
    let form = "application/x-www-form-urlencoded";
    let table: Vec<(Delivery, &str)> = vec![
        (github("push", "Hello, World!"), "body"),
        (github("push", ""), "body"),
        (github("push", "{\"ref\": \"refs/heads/main\""), "body"),
        (github("push", "[]"), "body"),
        (github("push", "null"), "body"),
        (github("push", "{} {}"), "body"),
        (github("push", "[".repeat(100_000)), "body"),
        (github("push", "{}"), "repository.full_name"),
        (github("push", "x=1").with("Content-Type", form), "form field payload"),
        (github("push", github_push().to_string()).without("X-GitHub-Event"), "header X-GitHub-Event"),
        (push(&[("/ref", json!(5))]), "ref"),
        (push(&[("/ref", Value::Null)]), "ref"),
        (push(&[("/ref", json!("main"))]), "ref"),
        (push(&[("/ref", json!("refs/heads/"))]), "ref"),
        (push(&[("/before", Value::Null)]), "before"),
        (push(&[("/after", json!("--upload-pack=x"))]), "after"),
        (push(&[("/after", json!(SHA.to_uppercase()))]), "after"),
        (push(&[("/head_commit/id", json!("abc"))]), "head_commit.id"),
        (push(&[("/head_commit", json!("abc"))]), "head_commit"),
        (push(&[("/repository/full_name", json!(["x"]))]), "repository.full_name"),
        (pull(&[("/pull_request", Value::Null)]), "pull_request"),
        (pull(&[("/number", Value::Null), ("/pull_request/number", json!("x"))]), "number"),
        (pull(&[("/pull_request/head/sha", Value::Null)]), "pull_request.head.sha"),
        (
            github("release", json!({"action": "published", "repository": {"full_name": "a/b"}}).to_string()),
            "release.tag_name",
        ),
        (
            github("check_run", json!({"action": "rerequested", "check_run": {"head_sha": ZERO}}).to_string()),
            "repository.full_name",
        ),
        (gitlab("Push Hook", "{\"text\": \"my template\"}"), "object_kind"),
        (lab(&[("/ref", json!(""))]), "ref"),
        (lab(&[("/checkout_sha", json!("x"))]), "checkout_sha"),
        (lab(&[("/commits/0/message", json!(1))]), "commits[0].message"),
        (lab(&[("/project/path_with_namespace", json!(" "))]), "project.path_with_namespace"),
        (
            gitlab("Merge Request Hook", with(merge_request(), &[("/object_attributes/iid", json!(-1))]).to_string()),
            "object_attributes.iid",
        ),
    ];
    assert_malformed(table);
}

#[test]
fn the_delivery_id_is_the_forges_or_the_bodys_hash() {
    let id = |delivery: &Delivery| delivery_id(&delivery.received());
    let lab = gitlab("Push Hook", "{}");
    assert_eq!(id(&lab), "f5e5f430-f57b-4e6e-9fac-d9128cd7232f");
    assert_eq!(id(&lab.clone().with("webhook-id", "msg-1")), "msg-1");
    let hash = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(id(&lab.clone().without("Idempotency-Key")), hash);
    assert_eq!(id(&lab.clone().with("Idempotency-Key", "")), hash);
    assert_eq!(id(&github("push", "{}").with("X-GitHub-Delivery", &"x".repeat(129))), hash);
    let repeated = lab.without("Idempotency-Key").with("X-Gitlab-Event-UUID", "shared by recursive hooks");
    assert_eq!(id(&repeated), hash);
}
