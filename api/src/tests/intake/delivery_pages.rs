//! What users see of a delivery: what came in, what it means, and what became of it; by API.

use std::collections::BTreeMap;

use slipway_domain::event::HookAuth;
use slipway_domain::tenant::Role;
use slipway_store::deliveries::{NewDelivery, Verdict};
use slipway_store::tenants::NewTenant;

use super::*;

fn path_of(delivery: &Value) -> String {
    format!("/api/v1/deliveries/{}", delivery["id"].as_str().expect("an id"))
}

impl Hooked {
    /// A delivery that was ignored, with these headers and this body.
    async fn stored(&self, event: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let id = new_id();
        let new = NewDelivery {
            id,
            hook: self.hook,
            project: self.project,
            tenant: self.app.tenant,
            delivery_key: id.to_string(),
            event: event.to_owned(),
            auth: HookAuth::HmacSha256,
            verdict: Verdict::Ignored("nothing to do".to_owned()),
            headers: BTreeMap::from_iter(headers.iter().map(|(name, value)| ((*name).into(), (*value).into()))),
            body: body.to_vec(),
            body_blob: None,
            moves: Vec::new(),
            now: self.now(),
        };
        self.app.state.db.accept_delivery(&new).await.expect("stored");
        id.to_string()
    }

    /// A token of somebody who has nothing to do with this project.
    async fn stranger(&self) -> String {
        let (name, class) = ("other".to_owned(), "standard".to_owned());
        let other = NewTenant { id: new_id(), name, class, running_limit: 1, now: self.now() };
        self.app.state.db.create_tenant(&other).await.expect("a tenant");
        self.app.member_of(other.id, Role::Owner).await
    }
}

#[tokio::test]
async fn a_delivery_shows_what_came_in_and_what_it_means_without_its_secrets() {
    let hooked = Hooked::new().await;
    let mut body = push("refs/heads/main", &id('a'), &id('b'));
    body["hook"] = json!({"config": {"secret": "hush"}});
    let delivery = hooked.pushed("key-1", &body).await;
    let shown = ["delivery", "event", "auth", "attempts", "project_name"].map(|name| delivery[name].clone());
    assert_eq!(json!(shown), json!(["key-1", "push", "hmac_sha256", 1, "hooked"]));
    assert!(delivery["finished_at"].is_string(), "{delivery}");

    let payload = hooked.app.get(&format!("{}/payload", path_of(&delivery))).await;
    assert!(!payload.text.contains("hush"), "{}", payload.text);
    let payload = payload.json();
    assert_eq!((&payload["kept"], &payload["truncated"]), (&json!(true), &json!(false)));
    assert_eq!((&payload["body_base64"], &payload["headers"]["x-github-event"]), (&Value::Null, &json!("push")));
    assert_eq!(payload["headers"]["x-hub-signature-256"], "[redacted]");
    let text = payload["body"].as_str().expect("a text");
    assert_eq!((payload["size_bytes"].as_u64(), text.contains("[redacted]")), (Some(text.len() as u64), true));
    let event = json!({
        "type": "ref", "repo": "acme/app", "kind": "branch", "name": "main", "op": "updated", "commit": id('b'),
        "forced": false, "skip_ci": false,
    });
    let expected =
        json!({"verified": true, "auth": "hmac_sha256", "outcome": "events", "reason": null, "events": [event]});
    assert_eq!(payload["inspection"], expected);
}

#[tokio::test]
async fn a_body_that_is_not_kept_any_more_is_said_to_be_gone() {
    let hooked = Hooked::new().await;
    let delivery = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    sweep_once(&hooked.app.state.db, hooked.now() + TimeDelta::days(8)).await;
    let payload = hooked.app.get(&format!("{}/payload", path_of(&delivery))).await.json();
    let shown = ["kept", "truncated", "body", "size_bytes", "inspection"].map(|name| payload[name].clone());
    assert_eq!(json!(shown), json!([false, false, "", 0, null]));
    assert_eq!(payload["headers"]["x-github-event"], "push", "headers stay with the row");
}

#[tokio::test]
async fn a_large_body_is_read_where_it_lies_shown_in_part_and_understood_as_a_whole() {
    let hooked = Hooked::new().await;
    let mut body = push("refs/heads/main", &id('a'), &id('b'));
    // Sorted in front of all other keys.
    body["aaa"] = json!("x".repeat(1200 * 1024));
    let delivery = hooked.pushed("1", &body).await;
    let path = format!("{}/payload", path_of(&delivery));
    let payload = hooked.app.get(&path).await.json();
    assert_eq!(payload["body"].as_str().map(str::len), Some(1024 * 1024));
    assert_eq!((&payload["truncated"], &payload["size_bytes"]), (&json!(true), &json!(body.to_string().len())));
    assert_eq!(payload["inspection"]["events"][0]["name"], "main");

    let folder = hooked.app.blobs_folder();
    let aside = folder.with_extension("aside");
    std::fs::rename(&folder, &aside).expect("it is gone");
    std::fs::write(&folder, "no folder").expect("and something else in its place");
    let detail = hooked.app.get(&path).await.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert!(detail.contains("object storage"), "{detail}");
    assert_eq!(hooked.app.get(&path_of(&delivery)).await.json()["state"], "done", "what became of it is known");
    std::fs::remove_file(&folder).expect("out of the way");
    std::fs::create_dir(&folder).expect("an empty one");
    assert_eq!(hooked.app.get(&path).await.json()["kept"], false, "it was deleted meanwhile");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_shown_as_such() {
    let hooked = Hooked::new().await;
    let id = hooked.stored("push", &[("x-github-event", "push")], b"{\xff}").await;
    let payload = hooked.app.get(&format!("/api/v1/deliveries/{id}/payload")).await.json();
    assert_eq!((&payload["body"], &payload["body_base64"]), (&json!("{\u{fffd}}"), &json!("e/99")));
    assert_eq!((&payload["inspection"]["outcome"], &payload["inspection"]["verified"]), (&Value::Null, &json!(true)));
    assert!(payload["inspection"]["reason"].is_string(), "{payload}");
}

#[tokio::test]
async fn deliveries_are_for_members_of_their_tenant() {
    let hooked = Hooked::new().await;
    let delivery = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let (viewer, stranger) = (hooked.app.member(Role::Viewer).await, hooked.stranger().await);
    let api = path_of(&delivery);
    let list = format!("/api/v1/deliveries?project={}", hooked.project);
    for path in [api.clone(), format!("{api}/payload"), list] {
        assert_eq!(hooked.app.get_as(&viewer, &path).await.status, StatusCode::OK, "{path}");
        hooked.app.get_as(&stranger, &path).await.problem(StatusCode::NOT_FOUND);
        hooked.app.get_public(&path).await.problem(StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn deliveries_are_listed_by_project_and_state() {
    let hooked = Hooked::new().await;
    let done = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let ignored = hooked.stored("star", &[], b"{}").await;
    let other = hooked.app.project("other", "private").await;
    let ids = async |query: &str| {
        let list = hooked.app.get(&format!("/api/v1/deliveries?{query}")).await.json();
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let (project, done) = (hooked.project, done["id"].as_str().expect("an id"));
    assert_eq!(ids(&format!("project={project}")).await, [ignored.as_str(), done]);
    assert_eq!(ids("state=done").await, [done]);
    assert_eq!(ids(&format!("state=ignored&project={project}")).await, [ignored.as_str()]);
    assert_eq!(ids(&format!("project={project}&cursor={ignored}&limit=1")).await, [done]);
    assert!(ids(&format!("project={}", other["id"].as_str().expect("an id"))).await.is_empty());
    hooked.app.get("/api/v1/deliveries?state=lost").await.problem(StatusCode::BAD_REQUEST);
}
