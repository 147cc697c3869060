//! What users see of a delivery: what came in, what it means, and what became of it; by API and page.

use std::collections::BTreeMap;

use slipway_domain::event::HookAuth;
use slipway_domain::tenant::Role;
use slipway_store::deliveries::{NewDelivery, Verdict};

use super::super::form_request;
use super::*;

/// A name that would be a part of the page were it not escaped.
const HOSTILE: &str = "<script>alert(1)</script>";

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
            held_by: None,
            now: self.now(),
        };
        self.app.state.db.accept_delivery(&new).await.expect("stored");
        id.to_string()
    }

    /// A token of somebody who has nothing to do with this project.
    async fn stranger(&self) -> String {
        self.app.member_of(self.app.other_tenant().await, Role::Owner).await
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

#[tokio::test]
async fn a_page_tells_what_came_in_what_it_means_and_what_became_of_it() {
    let hooked = Hooked::new().await;
    let delivery = hooked.pushed("key-1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let (path, build) = (format!("/deliveries/{}", delivery["id"].as_str().expect("an id")), &delivery["builds"][0]);
    let page = hooked.app.get(&path).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    for part in [
        "<h1>push from GitHub</h1>".to_owned(),
        "<li>branch main moved from aaaaaaaaaa to bbbbbbbbbb</li>".to_owned(),
        format!("href=\"/builds/{}\"", build.as_str().expect("an id")),
        "by a signature of the body (HMAC-SHA256)".to_owned(),
        "<code>key-1</code>".to_owned(),
        "<dt>Tries</dt><dd>1</dd>".to_owned(),
        "x-hub-signature-256: [redacted]".to_owned(),
        "&#34;outcome&#34;: &#34;events&#34;".to_owned(),
        "&#34;full_name&#34;:&#34;acme/app&#34;".to_owned(),
        format!("action=\"{path}/replay\""),
    ] {
        assert!(page.text.contains(&part), "{part} is missing in {}", page.text);
    }
    assert!(!page.text.contains("data-refresh-ms"), "what is over does not refresh");
    assert!(!page.text.contains("style=\"") && !page.text.contains("onclick"), "nothing inline");
    assert!(hooked.app.get("/deliveries").await.text.contains(&format!("href=\"{path}\"")));

    let cookie = hooked.app.log_in().await;
    let replay = form_request(&format!("{path}/replay"), "http://127.0.0.1:8080", Some(&cookie), "");
    let replayed = hooked.app.send(replay).await;
    assert_eq!((replayed.status, replayed.header(http::header::LOCATION)), (StatusCode::SEE_OTHER, path.as_str()));
    let page = hooked.app.get(&path).await.text;
    assert!(page.contains("Received") && page.contains("data-refresh-ms=\"5000\""), "{page}");
    assert!(!page.contains("/replay\""), "it is being worked already");

    hooked.work().await;
    sweep_once(&hooked.app.state.db, hooked.now() + TimeDelta::days(8)).await;
    let page = hooked.app.get(&path).await.text;
    assert!(page.contains("not kept any more") && page.contains("x-github-event: push"), "{page}");
    assert!(!page.contains("/replay\"") && !page.contains("What it says"), "{page}");
}

#[tokio::test]
async fn names_that_strangers_chose_are_text_on_the_page() {
    let hooked = Hooked::new().await;
    let git_ref = format!("refs/heads/{HOSTILE}");
    let mut body = push(&git_ref, &id('a'), &id('b'));
    body["head_commit"]["message"] = json!(format!("{HOSTILE}\n</code></pre>{HOSTILE}"));
    let headers = [("x-github-event", "push"), ("x-github-odd", HOSTILE), ("content-type", "application/json")];
    let pushed = hooked.stored(HOSTILE, &headers, body.to_string().as_bytes()).await;
    let odd = hooked.stored("odd", &[("x-github-event", HOSTILE)], b"{}").await;
    for (id, escaped) in [(pushed, 6), (odd, 2)] {
        let page = hooked.app.get(&format!("/deliveries/{id}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(!page.text.contains("<script>alert") && !page.text.contains("</code></pre>&"), "{}", page.text);
        assert!(page.text.matches("&#60;script&#62;alert(1)").count() >= escaped, "{}", page.text);
        assert!(page.header(http::header::CONTENT_SECURITY_POLICY).starts_with("default-src 'self';"));
    }
    assert!(!hooked.app.get("/deliveries").await.text.contains("<script>alert"));
}

#[tokio::test]
async fn pages_of_deliveries_are_for_members_and_replaying_for_writers() {
    let hooked = Hooked::new().await;
    let delivery = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let path = format!("/deliveries/{}", delivery["id"].as_str().expect("an id"));
    let stranger = hooked.stranger().await;
    for hidden in [hooked.app.get_as(&stranger, &path).await, hooked.app.get_public(&path).await] {
        assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{}", hidden.text);
        assert!(hidden.text.contains("<h1>Not Found</h1>") && !hidden.text.contains("hooked"), "{}", hidden.text);
    }
    for (role, may_replay) in [(Role::Viewer, false), (Role::Maintainer, true)] {
        let page = hooked.app.get_as(&hooked.app.member(role).await, &path).await;
        assert_eq!((page.status, page.text.contains("/replay\"")), (StatusCode::OK, may_replay), "{role}");
    }
}

#[tokio::test]
async fn a_page_shows_the_beginning_of_a_large_body_and_lives_without_object_storage() {
    let hooked = Hooked::new().await;
    let mut body = push("refs/heads/main", &id('a'), &id('b'));
    body["padding"] = json!("x".repeat(300 * 1024));
    let delivery = hooked.pushed("1", &body).await;
    let path = format!("/deliveries/{}", delivery["id"].as_str().expect("an id"));
    let page = hooked.app.get(&path).await.text;
    assert!(page.len() < 150 * 1024 && page.contains("This is the beginning of 300."), "{}", page.len());
    assert!(page.contains("branch main moved"), "it was read as a whole");
    let folder = hooked.app.blobs_folder();
    std::fs::remove_dir_all(&folder).expect("gone");
    std::fs::write(&folder, "no folder").expect("and something else in its place");
    let page = hooked.app.get(&path).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("Done") && page.text.contains("object storage, which does not answer"), "{}", page.text);
}

#[tokio::test]
async fn the_list_is_narrowed_by_links() {
    let hooked = Hooked::new().await;
    let done = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let (ignored, project) = (hooked.stored("star", &[], b"{}").await, hooked.project);
    let row = |id: &str| format!("href=\"/deliveries/{id}\"");
    let (done, ignored) = (row(done["id"].as_str().expect("an id")), row(&ignored));
    let all = hooked.app.get("/deliveries?project=&state=").await.text;
    assert!(all.contains(&done) && all.contains(&ignored), "{all}");
    assert!(all.contains("href=\"/deliveries\" aria-current=\"true\">All</a>"), "{all}");
    assert!(all.contains(&format!("href=\"/deliveries?project={project}\">hooked</a>")), "{all}");
    let page = hooked.app.get(&format!("/deliveries?project={project}&state=ignored")).await.text;
    assert!(page.contains(&ignored) && !page.contains(&done), "{page}");
    assert!(
        page.contains(&format!("project={project}&#38;state=ignored\" aria-current=\"true\">Ignored</a>")),
        "{page}"
    );
    assert!(page.contains("href=\"/deliveries?state=ignored\">All</a>"), "the other filter stays: {page}");
    let none = hooked.app.get("/deliveries?state=failed").await.text;
    assert!(none.contains("No delivery fits") && !none.contains("Nothing has come in yet"), "{none}");
    let unknown = format!("/deliveries?project={}", new_id::<ProjectId>());
    assert_eq!(hooked.app.get(&unknown).await.status, StatusCode::NOT_FOUND);
    assert_eq!(hooked.app.get("/deliveries?state=lost").await.status, StatusCode::BAD_REQUEST);
}
