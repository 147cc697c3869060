//! What a delivery says about a change beside what moved: each forge in its own words.

use serde_json::{Value, json};
use slipway_domain::event::{ChangeDetails, ForgeKind};

use super::parse_tests::{merge_request, pull_request};
use crate::expect::{the_change, with};
use crate::testing::{Delivery, at, bitbucket, coding, coding_first, gitea, gitee, github, gitlab};

const NOW: i64 = 1_700_000_000;

fn details(delivery: &Delivery) -> ChangeDetails {
    the_change(delivery).details
}

#[test]
fn title_author_and_sender_of_every_forge() {
    let login = |name: &str| json!({"login": name, "name": "Ada Lovelace"});
    let as_github = |place: &str| {
        let (title, user) = (format!("{place}/title"), format!("{place}/user"));
        [(title, json!("Fix it\nall")), (user, login("ada")), ("/sender".to_owned(), login("bob"))]
    };
    let changed = |body: Value, changes: &[(String, Value)]| {
        let changes: Vec<(&str, Value)> = changes.iter().map(|(at, value)| (at.as_str(), value.clone())).collect();
        with(body, &changes)
    };
    let on_cloud = [
        ("/pullrequest/title", json!("Fix it")),
        ("/pullrequest/author", json!({"uuid": "{1}", "display_name": "Ada", "nickname": "ada"})),
        ("/actor", json!({"uuid": "{2}", "display_name": "Bob"})),
    ];
    let on_dc = [
        ("/pullRequest/title", json!("Fix it")),
        ("/pullRequest/author", json!({"user": {"name": "ada", "slug": "ada", "id": 1}})),
        ("/actor", json!({"name": "bob", "slug": "bob", "id": 2})),
    ];
    let first = [
        ("/pull_request/title", json!("Fix it")),
        ("/pull_request/user", json!({"global_key": "ada", "name": "Ada Lovelace"})),
    ];
    let pulled = "/pull_request";
    for (delivery, author, sender) in [
        (github("pull_request", changed(pull_request(), &as_github(pulled)).to_string()), "ada", Some("bob")),
        (
            gitea("pull_request", changed(crate::gitea::tests::pull_request(), &as_github(pulled)).to_string()),
            "ada",
            Some("bob"),
        ),
        (
            gitee(
                "Merge Request Hook",
                changed(crate::gitee::tests::merge_request(), &as_github(pulled)).to_string(),
                at(NOW),
            ),
            "ada",
            Some("bob"),
        ),
        (
            coding(
                "merge request",
                changed(crate::coding::tests::merge_request(), &as_github("/mergeRequest")).to_string(),
            ),
            "ada",
            Some("bob"),
        ),
        (coding_first("pull_request", with(crate::coding::tests::first_pull_request(), &first)), "ada", None),
        (
            bitbucket(
                ForgeKind::Bitbucket,
                "pullrequest:created",
                with(crate::bitbucket::tests::pull_request(), &on_cloud).to_string(),
            ),
            "{1}",
            Some("{2}"),
        ),
        (
            bitbucket(
                ForgeKind::BitbucketDc,
                "pr:opened",
                with(crate::bitbucket_dc::tests::pull_request(), &on_dc).to_string(),
            ),
            "ada",
            Some("bob"),
        ),
    ] {
        let (told, kind) = (details(&delivery), delivery.kind);
        assert_eq!(told.title.as_deref(), Some("Fix it"), "{kind}");
        assert_eq!((told.author.as_deref(), told.sender.as_deref()), (Some(author), sender), "{kind}");
        assert_eq!((told.draft, told.skip_marker), (false, None), "{kind}");
    }
}

#[test]
fn on_gitlab_the_author_is_known_who_caused_the_news() {
    let told = |changes: &[(&str, Value)]| {
        let changes: Vec<_> = [("/user", json!({"id": 7, "name": "Ada Lovelace", "username": "ada"}))]
            .into_iter()
            .chain(changes.iter().cloned())
            .collect();
        details(&gitlab("Merge Request Hook", with(merge_request(), &changes).to_string()))
    };
    assert_eq!(told(&[("/object_attributes/author_id", json!(7))]).author.as_deref(), Some("ada"));
    let other = told(&[("/object_attributes/author_id", json!(8)), ("/object_attributes/title", json!("Fix it"))]);
    assert_eq!((other.author, other.sender.as_deref()), (None, Some("ada")));
    assert_eq!(other.title.as_deref(), Some("Fix it"));
    assert_eq!(told(&[]).author, None, "nobody says who");
    let marked = told(&[("/object_attributes/last_commit/message", json!("wip [skip ci]"))]);
    assert_eq!(marked.skip_marker.as_deref(), Some("[skip ci]"));
}

#[test]
fn a_change_tells_when_it_changed() {
    let at = |text: &str| {
        details(&gitlab(
            "Merge Request Hook",
            with(merge_request(), &[("/object_attributes/updated_at", json!(text))]).to_string(),
        ))
        .told_at
    };
    let wanted = chrono::DateTime::from_timestamp(1_700_000_000, 0);
    for text in ["2023-11-14 22:13:20 UTC", "2023-11-14 23:13:20 +0100", "2023-11-14T22:13:20Z"] {
        assert_eq!(at(text), wanted, "{text}");
    }
    assert_eq!(at("yesterday"), None);
    let body =
        with(crate::bitbucket_dc::tests::pull_request(), &[("/pullRequest/updatedDate", json!(1_700_000_000_000_i64))]);
    assert_eq!(details(&bitbucket(ForgeKind::BitbucketDc, "pr:opened", body.to_string())).told_at, wanted);
}

#[test]
fn drafts() {
    let hub = |draft: Value| {
        details(&github("pull_request", with(pull_request(), &[("/pull_request/draft", draft)]).to_string())).draft
    };
    assert!(hub(json!(true)) && !hub(json!(false)) && !hub(Value::Null));
    let lab = |field: &str| {
        let body = with(merge_request(), &[(&format!("/object_attributes/{field}"), json!(true))]).to_string();
        details(&gitlab("Merge Request Hook", body)).draft
    };
    assert!(lab("draft") && lab("work_in_progress") && !lab("other"));
    let tea = |title: &str| {
        let body = with(crate::gitea::tests::pull_request(), &[("/pull_request/title", json!(title))]).to_string();
        details(&gitea("pull_request", body)).draft
    };
    assert!(tea("WIP: x") && tea("[wip] x") && !tea("Wipe x"));
}
