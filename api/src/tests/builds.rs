//! Builds by hand: shapes, refs, cancel, retry, Idempotency-Key.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Answer, App, COMMIT};

impl App {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.admin))
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", key)
            .body(Body::from(body.to_string()));
        self.send(request.expect("a request")).await
    }
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

#[tokio::test]
async fn a_build_by_hand_has_the_promised_shape() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let build = app.build(&project).await;
    assert_eq!(
        (&build["project"], &build["state"], &build["trigger"]),
        (&project["id"], &json!("pending"), &json!("manual"))
    );
    assert_eq!((&build["ref"], &build["commit"], &build["started_at"]), (&Value::Null, &json!(COMMIT), &Value::Null));
    assert!(build["waiting"]["reason"].is_string() && build["waiting"]["eta"].is_null(), "{}", build["waiting"]);
    let job = &build["jobs"][0];
    assert_eq!((&job["kind"], &job["pool"]), (&json!("image"), &json!("local/standard/linux-amd64")));
    assert_eq!(
        (&job["attempts"], &job["steps"], &job["images"], &job["failure"]),
        (&json!([]), &json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(build["url"], format!("http://127.0.0.1:8080/builds/{}", id(&build)));
    assert_eq!(app.get(&format!("/api/v1/builds/{}", id(&build))).await.json()["id"], build["id"]);
    assert_eq!(app.get(&format!("/api/v1/jobs/{}", id(job))).await.json()["build"], build["id"]);
    let list = app.get("/api/v1/builds?state=pending").await.json();
    assert_eq!((&list["items"][0]["id"], &list["next_cursor"]), (&build["id"], &Value::Null));
    assert_eq!(app.get("/api/v1/builds?state=failed").await.json()["items"], json!([]));
    app.get("/api/v1/builds?state=great").await.problem(StatusCode::BAD_REQUEST);
    let pools = app.get("/api/v1/pools").await.json();
    assert_eq!(pools["items"][0]["pool"], "local/standard/linux-amd64");
}

#[tokio::test]
async fn an_unknown_ref_asks_for_the_commit() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}/builds", id(&project));
    for (body, word) in [
        (json!({"ref": "main"}), "commit"),
        (json!({"commit": "abc"}), "full commit id"),
        (json!({}), "either"),
        (json!({"ref": "main", "commit": COMMIT}), "either"),
        (json!({"ref": "a..b"}), "ref"),
        (json!({"commit": COMMIT, "build": {"colour": "red"}}), "colour"),
        (json!({"commit": COMMIT, "build": {"context": "../.."}}), "build.context"),
    ] {
        let detail = app.post(&path, body.clone()).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail.contains(word), "{body}: {detail}");
    }
}

#[tokio::test]
async fn cancel_then_retry() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let build = app.build(&project).await;
    let path = format!("/api/v1/builds/{}", id(&build));
    app.post(&format!("{path}/retry"), json!(null)).await.problem(StatusCode::CONFLICT);
    let cancelled = app.post(&format!("{path}/cancel"), json!(null)).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["state"]),
        (StatusCode::OK, &json!("cancelled")),
        "{}",
        cancelled.text
    );
    assert_eq!(app.post(&format!("{path}/cancel"), json!(null)).await.status, StatusCode::OK);
    let again = app.post(&format!("{path}/retry"), json!(null)).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.text);
    let again = again.json();
    assert_eq!(
        (&again["rerun_of"], &again["trigger"], &again["commit"]),
        (&build["id"], &json!("rerun"), &json!(COMMIT))
    );
    assert_ne!(again["id"], build["id"]);
    assert_eq!(app.get(&path).await.json()["state"], "cancelled");
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_answer_again() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}/builds", id(&project));
    let body = json!({"commit": COMMIT});
    let first = app.keyed(&path, "k1", &body).await;
    let second = app.keyed(&path, "k1", &body).await;
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.text, second.text);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    app.keyed(&path, "k1", &json!({"ref": "main"})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let other = app.keyed(&path, "k2", &body).await;
    assert_ne!(other.json()["id"], first.json()["id"]);
    assert_eq!(app.get("/api/v1/builds").await.json()["items"].as_array().expect("items").len(), 2);
    app.keyed(&path, &"k".repeat(201), &body).await.problem(StatusCode::BAD_REQUEST);

    let project = super::project_body("keyed");
    let made = app.keyed("/api/v1/projects", "p", &project).await;
    let again = app.keyed("/api/v1/projects", "p", &project).await;
    assert_eq!(made.json()["hook"]["secret"], again.json()["hook"]["secret"]);
    let refused = app.keyed("/api/v1/projects", "q", &project).await;
    refused.problem(StatusCode::CONFLICT);
    app.keyed("/api/v1/projects", "q", &project).await.problem(StatusCode::CONFLICT);
}
