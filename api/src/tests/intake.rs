//! From a forge's request to a build: what is believed, what is stored, and what it leads to.

mod bad_rows;
mod changes;
mod delivery_pages;
mod handed_over;
mod large;
mod same_pass;
mod short_ids;

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{HookId, ProcessId, ProjectId};
use slipway_runtime::ids::{new_id, random_id};
use slipway_store::Scope;
use slipway_store::hooks::NewHook;

use super::fake_forge::FakeForge;
use super::{Answer, App, project_body};
use crate::intake::work_deliveries_once;
use crate::sweep::sweep_once;

const ZERO: &str = "0000000000000000000000000000000000000000";

fn id(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// A push as GitHub tells it.
fn push(git_ref: &str, before: &str, after: &str) -> Value {
    json!({
        "ref": git_ref, "before": before, "after": after,
        "created": before == ZERO, "deleted": after == ZERO, "forced": false,
        "repository": {"id": 1, "full_name": "acme/app"},
        "pusher": {"name": "anna"},
        "sender": {"login": "anna"},
        "head_commit": if after == ZERO { Value::Null } else { json!({"id": after, "message": "a title\n\nmore"}) },
    })
}

/// A project with its hook.
struct Hooked {
    app: App,
    project: ProjectId,
    hook: HookId,
    secret: String,
}

impl Hooked {
    async fn new() -> Self {
        Self::of(App::new().await, project_body("hooked")).await
    }

    async fn of(app: App, body: Value) -> Self {
        let answer = app.post("/api/v1/projects", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let project = answer.json();
        let url = project["hook"]["url"].as_str().expect("a URL").to_owned();
        let hook = url.rsplit('/').next().expect("an id").parse().expect("an id");
        let secret = project["hook"]["secret"].as_str().expect("a secret").to_owned();
        Self { app, project: project["id"].as_str().expect("an id").parse().expect("an id"), hook, secret }
    }

    /// A project on a connection with a token to a fake forge.
    async fn with_forge() -> (Self, FakeForge) {
        Self::with_forge_of("github").await
    }

    async fn with_forge_of(kind: &str) -> (Self, FakeForge) {
        let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
        let forge = FakeForge::start(&app.state.life).await;
        let connection = json!({"kind": kind, "base_url": forge.base_url, "token": "ghp-hidden"});
        let connection = app.post("/api/v1/connections", connection).await;
        assert_eq!(connection.status, StatusCode::CREATED, "{}", connection.text);
        let mut body = project_body("hooked");
        body.as_object_mut().expect("an object").remove("forge");
        body["connection"] = connection.json()["id"].clone();
        (Self::of(app, body).await, forge)
    }

    fn request(&self, event: &str, delivery: &str, body: &str) -> Request<Body> {
        signed(self.hook, &self.secret, event, delivery, body)
    }

    async fn deliver(&self, event: &str, delivery: &str, body: &Value) -> Answer {
        self.app.send(self.request(event, delivery, &body.to_string())).await
    }

    /// Delivers a push and works it; returns the delivery as the API shows it.
    async fn pushed(&self, delivery: &str, body: &Value) -> Value {
        let answer = self.deliver("push", delivery, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        self.work().await;
        self.delivery(&answer).await
    }

    async fn delivery(&self, answer: &Answer) -> Value {
        let id = answer.json()["delivery"].as_str().expect("an id").to_owned();
        self.app.get(&format!("/api/v1/deliveries/{id}")).await.json()
    }

    async fn deliveries(&self) -> Vec<Value> {
        let list = self.app.get("/api/v1/deliveries").await.json();
        list["items"].as_array().expect("items").clone()
    }

    async fn builds(&self) -> Vec<Value> {
        let list = self.app.get("/api/v1/builds").await.json();
        list["items"].as_array().expect("items").clone()
    }

    /// Where main points to, as far as we were told.
    async fn head(&self) -> Option<String> {
        let main = GitRef::parse("refs/heads/main").expect("a ref");
        self.app.state.db.ref_head(self.project, &main).await.expect("a head")
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.state.clock.now()
    }

    async fn work(&self) -> usize {
        self.work_at(self.now()).await
    }

    async fn work_at(&self, now: DateTime<Utc>) -> usize {
        let owner: ProcessId = new_id();
        work_deliveries_once(&self.app.state, owner, now).await.expect("a pass")
    }
}

fn signed(hook: HookId, secret: &str, event: &str, delivery: &str, body: &str) -> Request<Body> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    let tag = hex::encode(mac.finalize().into_bytes());
    Request::post(format!("/hooks/{hook}"))
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("x-github-event", event)
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", format!("sha256={tag}"))
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

#[tokio::test]
async fn requests_that_share_a_read_of_their_hooks_each_get_their_own_answer() {
    let hooked = Hooked::new().await;
    let body = push("refs/heads/main", ZERO, &id('a')).to_string();
    let expected = [StatusCode::ACCEPTED, StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
    let send = async |round: usize, old: &str| -> Vec<StatusCode> {
        let requests = (0..12).map(|n| {
            let delivery = format!("{round}.{n}");
            let (hook, secret) = match n % 3 {
                0 => (hooked.hook, hooked.secret.as_str()),
                1 => (random_id(), hooked.secret.as_str()),
                _ => (hooked.hook, old),
            };
            hooked.app.send(signed(hook, secret, "push", &delivery, &body))
        });
        join_all(requests).await.into_iter().map(|answer| answer.status).collect()
    };
    assert_eq!(send(0, "wrong").await, expected.repeat(4));
    // Twice, so that the first secret is not even the previous one any more.
    let (db, key) = (&hooked.app.state.db, &hooked.app.state.secret_key);
    for secret in ["second", "third"] {
        db.rotate_hook_secret(key, &Scope::Operator, hooked.hook, secret).await.expect("rotated");
    }
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::ACCEPTED];
    assert_eq!(send(1, "third").await, refused.repeat(4), "the row counts from the next request on");
}

#[tokio::test]
async fn a_push_becomes_a_build_with_everything_its_builder_must_know() {
    let hooked = Hooked::new().await;
    let delivery = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    assert_eq!((&delivery["state"], &delivery["reason"]), (&json!("done"), &Value::Null), "{delivery}");
    let build =
        hooked.app.get(&format!("/api/v1/builds/{}", delivery["builds"][0].as_str().expect("one"))).await.json();
    assert_eq!((&build["trigger"], &build["commit"]), (&json!("push"), &json!(id('b'))), "{build}");
    assert_eq!(build["ref"], "refs/heads/main");
    let job = build["jobs"][0]["id"].as_str().expect("a job").parse().expect("an id");
    let spec = hooked.app.state.db.job_spec(job).await.expect("a spec");
    assert_eq!((spec.commit, spec.clone_url.as_str()), (id('b'), "https://1.1.1.1/acme/app.git"));
    let rows = hooked.app.state.db.list_builds(&Scope::Operator, &every_build()).await.expect("builds");
    assert_eq!((rows[0].title.as_deref(), rows[0].actor.as_deref()), (Some("a title"), Some("anna")));
    assert_eq!(rows[0].before_id, Some(id('a')));
}

fn every_build() -> slipway_store::builds::BuildFilter {
    slipway_store::builds::BuildFilter { limit: 10, ..Default::default() }
}

#[tokio::test]
async fn two_equal_deliveries_at_once_make_one_build() {
    let hooked = Hooked::new().await;
    let body = push("refs/heads/main", &id('a'), &id('b'));
    let answers = futures_util::future::join_all((0..6).map(|_| hooked.deliver("push", "1", &body))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 202]);
    let ids: std::collections::BTreeSet<String> =
        answers.iter().map(|answer| answer.json()["delivery"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(hooked.work().await, 1);
    assert_eq!(hooked.work().await, 0);
    assert_eq!(hooked.builds().await.len(), 1);
    let again = hooked.deliver("push", "1", &body).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
    assert!(again.json()["reason"].as_str().expect("a reason").contains("done"));
}

#[tokio::test]
async fn what_does_not_verify_leaves_nothing_and_takes_no_delivery_id() {
    let hooked = Hooked::new().await;
    let body = push("refs/heads/main", &id('a'), &id('b')).to_string();
    let forged = signed(hooked.hook, "another secret", "push", "1", &body);
    let detail = hooked.app.send(forged).await.problem(StatusCode::UNAUTHORIZED);
    assert!(detail.contains("does not fit"), "{detail}");
    let mut unsigned = hooked.request("push", "1", &body);
    unsigned.headers_mut().remove("x-hub-signature-256");
    hooked.app.send(unsigned).await.problem(StatusCode::UNAUTHORIZED);
    assert!(hooked.deliveries().await.is_empty());
    assert_eq!(hooked.app.send(hooked.request("push", "1", &body)).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn both_secrets_hold_during_a_rotation() {
    let hooked = Hooked::new().await;
    let state = &hooked.app.state;
    state.db.rotate_hook_secret(&state.secret_key, &Scope::Operator, hooked.hook, "new").await.expect("rotated");
    let body = push("refs/heads/main", &id('a'), &id('b'));
    assert_eq!(hooked.deliver("push", "old", &body).await.status, StatusCode::ACCEPTED);
    let new = signed(hooked.hook, "new", "push", "new", &body.to_string());
    assert_eq!(hooked.app.send(new).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn unknown_hooks_and_large_bodies_are_refused_early() {
    let hooked = Hooked::new().await;
    let unknown = signed(random_id(), &hooked.secret, "push", "1", "{}");
    hooked.app.send(unknown).await.problem(StatusCode::NOT_FOUND);
    let odd = Request::post("/hooks/not-an-id").body(Body::empty()).expect("a request");
    hooked.app.send(odd).await.problem(StatusCode::NOT_FOUND);

    let never_read = futures_util::stream::once(async { panic!("the body was read") });
    let never_read = Body::from_stream(futures_util::StreamExt::map(never_read, Ok::<Vec<u8>, std::io::Error>));
    let declared = Request::post(format!("/hooks/{}", hooked.hook)).header("content-length", 26 * 1024 * 1024);
    hooked.app.send(declared.body(never_read).expect("a request")).await.problem(StatusCode::PAYLOAD_TOO_LARGE);
    let undeclared =
        Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 20])));
    let undeclared = Request::post(format!("/hooks/{}", hooked.hook)).body(undeclared).expect("a request");
    hooked.app.send(undeclared).await.problem(StatusCode::PAYLOAD_TOO_LARGE);
    assert!(hooked.deliveries().await.is_empty());
}

#[tokio::test]
async fn pings_and_unknown_events_are_fine_and_malformed_ones_are_named() {
    let hooked = Hooked::new().await;
    for (event, delivery) in [("ping", "1"), ("something_new", "2")] {
        let answer = hooked.deliver(event, delivery, &json!({"zen": "x", "hook_id": 1})).await;
        assert_eq!(answer.status, StatusCode::OK, "{event}: {}", answer.text);
        assert!(!answer.json()["reason"].as_str().expect("a reason").is_empty());
        let stored = hooked.delivery(&answer).await;
        assert_eq!((&stored["state"], &stored["event"]), (&json!("ignored"), &json!(event)));
    }
    let broken = hooked.app.send(hooked.request("push", "3", "{\"ref\":")).await;
    let detail = broken.problem(StatusCode::BAD_REQUEST);
    assert!(detail.contains("JSON"), "{detail}");
    let detail = hooked.deliver("push", "4", &push("main", &id('a'), &id('b'))).await.problem(StatusCode::BAD_REQUEST);
    assert!(detail.contains("ref"), "{detail}");
    let failed: Vec<Value> =
        hooked.deliveries().await.into_iter().filter(|delivery| delivery["state"] == "failed").collect();
    assert_eq!(failed.len(), 2);
    assert_eq!(hooked.work().await, 0);
    // The forge sends it again, whole this time.
    let whole = hooked.deliver("push", "3", &push("refs/heads/main", &id('a'), &id('b'))).await;
    assert_eq!(whole.status, StatusCode::ACCEPTED, "{}", whole.text);
}

#[tokio::test]
async fn two_hooks_for_one_push_make_one_build() {
    let hooked = Hooked::new().await;
    let state = &hooked.app.state;
    let second = NewHook { id: random_id(), secret: "second".to_owned(), now: hooked.now() };
    state.db.add_hook(&state.secret_key, &Scope::Operator, hooked.project, &second).await.expect("a second hook");
    let body = push("refs/heads/main", &id('a'), &id('b'));
    assert_eq!(hooked.deliver("push", "1", &body).await.status, StatusCode::ACCEPTED);
    let other = signed(second.id, "second", "push", "2", &body.to_string());
    assert_eq!(hooked.app.send(other).await.status, StatusCode::ACCEPTED);
    assert_eq!(hooked.work().await, 2);
    assert_eq!(hooked.builds().await.len(), 1);
    let deliveries = hooked.deliveries().await;
    assert_eq!(deliveries[0]["builds"], deliveries[1]["builds"]);
    assert_eq!(deliveries[0]["builds"].as_array().expect("builds").len(), 1);
}

#[tokio::test]
async fn back_and_forth_builds_each_time_also_under_a_replay() {
    let hooked = Hooked::new().await;
    let (a, b) = (id('a'), id('b'));
    for (delivery, before, after) in [("1", &a, &b), ("2", &b, &a), ("3", &a, &b)] {
        hooked.pushed(delivery, &push("refs/heads/main", before, after)).await;
    }
    assert_eq!(hooked.builds().await.len(), 3);
    let newest = hooked.deliveries().await.remove(0);
    let path = format!("/api/v1/deliveries/{}/replay", newest["id"].as_str().expect("an id"));
    assert_eq!(hooked.app.post(&path, json!({})).await.status, StatusCode::OK);
    assert_eq!(hooked.work().await, 1);
    assert_eq!(hooked.builds().await.len(), 3, "a replay joins its build");
    assert_eq!(hooked.head().await, Some(b));
}

#[tokio::test]
async fn a_hook_of_a_group_builds_only_the_projects_repository() {
    let hooked = Hooked::new().await;
    let mut mirror = push("refs/heads/main", &id('a'), &id('b'));
    mirror["repository"]["full_name"] = json!("acme/mirror");
    let delivery = hooked.pushed("1", &mirror).await;
    assert_eq!(delivery["state"], "ignored", "{delivery}");
    let reason = delivery["reason"].as_str().expect("a reason");
    assert!(reason.contains("\"acme/mirror\"") && reason.contains("\"acme/app\""), "{reason}");
    assert!(hooked.builds().await.is_empty());
    assert_eq!(hooked.head().await, None);

    // The mirror's equal move was not counted, so that a second hook's word of ours joins.
    let state = &hooked.app.state;
    let second = NewHook { id: random_id(), secret: "second".to_owned(), now: hooked.now() };
    state.db.add_hook(&state.secret_key, &Scope::Operator, hooked.project, &second).await.expect("a second hook");
    let mut own = push("refs/heads/main", &id('a'), &id('b'));
    own["repository"]["full_name"] = json!("ACME/App");
    assert_eq!(hooked.pushed("2", &own).await["state"], "done");
    let other = signed(second.id, "second", "push", "3", &own.to_string());
    assert_eq!(hooked.app.send(other).await.status, StatusCode::ACCEPTED);
    hooked.work().await;
    assert_eq!(hooked.builds().await.len(), 1);
}

#[tokio::test]
async fn bodies_are_kept_for_a_week_and_deliveries_without_a_build_for_a_month() {
    let hooked = Hooked::new().await;
    let built = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let ignored = hooked.pushed("2", &push("refs/heads/old", &id('a'), ZERO)).await;
    let replayed = async |delivery: &Value| {
        let path = format!("/api/v1/deliveries/{}/replay", delivery["id"].as_str().expect("an id"));
        let answer = hooked.app.post(&path, json!({})).await;
        hooked.work().await;
        answer
    };
    let sweep = async |days: i64| sweep_once(&hooked.app.state.db, hooked.now() + TimeDelta::days(days)).await;
    sweep(6).await;
    assert_eq!(replayed(&built).await.status, StatusCode::OK);
    sweep(8).await;
    let detail = replayed(&built).await.problem(StatusCode::CONFLICT);
    assert!(detail.contains("deliver it again"), "{detail}");
    sweep(29).await;
    assert_eq!(hooked.deliveries().await.len(), 2);
    sweep(31).await;
    let left = hooked.deliveries().await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &built["id"]), "{ignored} made no build");
}

#[tokio::test]
async fn what_is_not_built_says_why() {
    let hooked = Hooked::new().await;
    let mut skipped = push("refs/heads/main", &id('a'), &id('b'));
    skipped["head_commit"]["message"] = json!("docs [skip ci]");
    let gone = push("refs/heads/old", &id('a'), ZERO);
    let odd = push("refs/heads/a..b", &id('a'), &id('b'));
    for (delivery, body, reason) in [("1", skipped, "[skip ci]"), ("2", gone, "deleted"), ("3", odd, "git accepts")] {
        let delivery = hooked.pushed(delivery, &body).await;
        assert_eq!(delivery["state"], "ignored", "{delivery}");
        assert!(delivery["reason"].as_str().expect("a reason").contains(reason), "{delivery}");
    }
    assert!(hooked.builds().await.is_empty());
    // The skipped push moved the branch all the same.
    assert_eq!(hooked.head().await, Some(id('b')));
}

#[tokio::test]
async fn a_paused_project_ignores_until_the_forge_delivers_again() {
    let hooked = Hooked::new().await;
    let path = |verb: &str| format!("/api/v1/projects/{}/{verb}", hooked.project);
    assert_eq!(hooked.app.post(&path("pause"), json!({})).await.status, StatusCode::OK);
    let body = push("refs/heads/main", &id('a'), &id('b'));
    let delivery = hooked.pushed("1", &body).await;
    assert_eq!((&delivery["state"], &delivery["reason"]), (&json!("ignored"), &json!("the project is paused")));
    assert_eq!(hooked.app.post(&path("resume"), json!({})).await.status, StatusCode::OK);
    let delivery = hooked.pushed("1", &body).await;
    assert_eq!(delivery["state"], "done", "{delivery}");
    assert_eq!(hooked.builds().await.len(), 1);
    assert_eq!(hooked.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_tag_is_built_of_its_commit() {
    let hooked = Hooked::new().await;
    let mut tag = push("refs/tags/v1", ZERO, &id('c'));
    tag["head_commit"]["id"] = json!(id('d'));
    let delivery = hooked.pushed("1", &tag).await;
    let build =
        hooked.app.get(&format!("/api/v1/builds/{}", delivery["builds"][0].as_str().expect("one"))).await.json();
    assert_eq!(
        (&build["trigger"], &build["commit"], &build["ref"]),
        (&json!("tag"), &json!(id('d')), &json!("refs/tags/v1"))
    );
}

#[tokio::test]
async fn gitlab_pushes_by_token_become_builds() {
    let mut body = project_body("gitlab");
    body["forge"]["kind"] = json!("gitlab");
    let hooked = Hooked::of(App::new().await, body).await;
    let push = json!({
        "object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "before": id('a'), "after": id('b'),
        "checkout_sha": id('b'), "user_username": "anna",
        "project": {"id": 1, "path_with_namespace": "acme/app"},
        "commits": [{"id": id('b'), "message": "a title"}],
    });
    let request = |token: &str| {
        Request::post(format!("/hooks/{}", hooked.hook))
            .header("content-type", "application/json")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", token)
            .body(Body::from(push.to_string()))
            .expect("a request")
    };
    hooked.app.send(request("wrong")).await.problem(StatusCode::UNAUTHORIZED);
    let answer = hooked.app.send(request(&hooked.secret)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    // Without a delivery id of the forge, the body's hash tells a resend.
    assert_eq!(hooked.app.send(request(&hooked.secret)).await.status, StatusCode::OK);
    hooked.work().await;
    assert_eq!(hooked.delivery(&answer).await["state"], "done");
    let id = answer.json()["delivery"].as_str().expect("an id").parse().expect("an id");
    let stored = hooked.app.state.db.delivery_payload(&Scope::Operator, id).await.expect("a payload");
    assert!(!format!("{:?}", stored.headers).contains(&hooked.secret), "the token is not stored");
}

#[tokio::test]
async fn the_region_comes_from_slipway_yml_and_an_unreachable_forge_changes_nothing() {
    let (hooked, forge) = Hooked::with_forge().await;
    let pool_of = async |delivery: &Value| {
        let id = delivery["builds"][0].as_str().expect("one").to_owned();
        hooked.app.get(&format!("/api/v1/builds/{id}")).await.json()["jobs"][0]["pool"].clone()
    };
    let delivery = hooked.pushed("1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    assert_eq!(pool_of(&delivery).await, "local/standard/linux-amd64", "502 is unknown");
    forge.seen.lock().expect("not poisoned").file = Some("region: eu\n".to_owned());
    let delivery = hooked.pushed("2", &push("refs/heads/main", &id('b'), &id('c'))).await;
    assert_eq!(pool_of(&delivery).await, "eu/standard/linux-amd64");
    forge.seen.lock().expect("not poisoned").file = Some("region: [\n".to_owned());
    let delivery = hooked.pushed("3", &push("refs/heads/main", &id('c'), &id('d'))).await;
    assert_eq!(pool_of(&delivery).await, "local/standard/linux-amd64", "the builder complains about a bad file");
    forge.seen.lock().expect("not poisoned").file = Some("region: ../x\n".to_owned());
    let delivery = hooked.pushed("4", &push("refs/heads/main", &id('d'), &id('e'))).await;
    assert_eq!(delivery["state"], "failed", "{delivery}");
    assert!(delivery["reason"].as_str().expect("a reason").contains("region"), "{delivery}");
}
