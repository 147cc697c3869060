//! Secrets: their values go in, and only their names come back.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_domain::tenant::Role;

use super::{App, project_body};

async fn setup() -> (App, String) {
    let app = App::new().await;
    let project = app.post("/api/v1/projects", project_body("app")).await.json();
    let path = format!("/api/v1/projects/{}/secrets", project["id"].as_str().expect("an id"));
    (app, path)
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("items").iter().filter_map(|item| item["name"].as_str()).collect()
}

#[tokio::test]
async fn values_go_in_and_only_names_come_back() {
    let (app, of_project) = setup().await;
    for list in [of_project.as_str(), "/api/v1/secrets"] {
        let path = format!("{list}/NPM_TOKEN");
        let body = json!({"value": "hunter2hunter2", "branches": ["main", "release/*"], "changes": true});
        let put = app.call_as(Method::PUT, &app.admin, &path, body).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text);
        let again = app.call_as(Method::PUT, &app.admin, &path, json!({"value": "hunter3hunter3"})).await;
        assert_eq!((again.status, &again.json()["branches"]), (StatusCode::OK, &Value::Null), "{}", again.text);
        let listed = app.get(list).await;
        assert_eq!(names(&listed.json()), ["NPM_TOKEN"]);
        assert!([put, again, listed].iter().all(|answer| !answer.text.contains("hunter")));
        assert_eq!(app.call_as(Method::DELETE, &app.admin, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
        assert_eq!(app.call_as(Method::DELETE, &app.admin, &path, Value::Null).await.status, StatusCode::NOT_FOUND);
        assert!(names(&app.get(list).await.json()).is_empty());
    }
}

#[tokio::test]
async fn what_is_no_secret_is_refused_with_its_reason() {
    let (app, of_project) = setup().await;
    for (name, body, reason) in [
        ("a%20b", json!({"value": "x"}), "name"),
        ("a", json!({"value": ""}), "value"),
        ("a", json!({"value": "x".repeat(64 * 1024 + 1)}), "value"),
        ("a", json!({"value": "x", "branches": [""]}), "branches: "),
        ("a", json!({"value": "x", "forks": true}), "forks"),
    ] {
        let refused = app.call_as(Method::PUT, &app.admin, &format!("{of_project}/{name}"), body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {}", refused.text);
        assert!(refused.text.contains(reason), "{}", refused.text);
    }
}

#[tokio::test]
async fn secrets_are_for_members_and_setting_them_for_maintainers() {
    let (app, of_project) = setup().await;
    let one = format!("{of_project}/a");
    assert_eq!(app.call_as(Method::PUT, &app.admin, &one, json!({"value": "x"})).await.status, StatusCode::CREATED);
    let other = app.other_tenant().await;
    let (reader, stranger) = (app.member(Role::Viewer).await, app.member_of(other, Role::Owner).await);
    let asked = async |token: &str, method: Method, path: &str| {
        app.call_as(method, token, path, json!({"value": "y"})).await.status
    };
    assert_eq!(asked(&reader, Method::GET, &of_project).await, StatusCode::OK);
    assert_eq!(asked(&reader, Method::PUT, &one).await, StatusCode::FORBIDDEN);
    assert_eq!(asked(&reader, Method::DELETE, &one).await, StatusCode::FORBIDDEN);
    assert_eq!(asked(&reader, Method::PUT, "/api/v1/secrets/a").await, StatusCode::FORBIDDEN);
    for (method, path) in [(Method::GET, &of_project), (Method::PUT, &one), (Method::DELETE, &one)] {
        assert_eq!(asked(&stranger, method, path).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(app.get_public(&of_project).await.status, StatusCode::UNAUTHORIZED);
}
