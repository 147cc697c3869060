//! Operations, the OpenAPI document, assets.

use std::io::Read;

use axum::body::Body;
use flate2::read::GzDecoder;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::App;

#[tokio::test]
async fn operations_answer_without_a_token() {
    let app = App::new().await;
    assert_eq!(app.get_public("/livez").await.text, "ok\n");
    let ready = app.get_public("/readyz?verbose").await;
    assert!(ready.status == StatusCode::OK && ready.text.contains("database ok"), "{}", ready.text);
    assert_eq!(app.get_public("/version").await.json()["name"], "slipway");
    assert_eq!(app.get_public("/metrics").await.status, StatusCode::OK);
    app.state.life.stop();
    assert_eq!(app.get_public("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.get_public("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_document_names_every_route_of_the_contract() {
    let app = App::new().await;
    let document = app.get_public("/api/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    for (method, path) in [
        ("post", "/api/v1/tenants"),
        ("patch", "/api/v1/tenants/{id}"),
        ("post", "/api/v1/connections"),
        ("post", "/api/v1/registries"),
        ("post", "/api/v1/builders/tokens"),
        ("post", "/api/v1/projects"),
        ("get", "/api/v1/projects"),
        ("patch", "/api/v1/projects/{id}"),
        ("post", "/api/v1/projects/{id}/pause"),
        ("post", "/api/v1/projects/{id}/resume"),
        ("post", "/api/v1/projects/{id}/builds"),
        ("get", "/api/v1/builds"),
        ("get", "/api/v1/builds/{id}"),
        ("post", "/api/v1/builds/{id}/cancel"),
        ("post", "/api/v1/builds/{id}/retry"),
        ("get", "/api/v1/jobs/{id}"),
        ("get", "/api/v1/jobs/{id}/log"),
        ("get", "/api/v1/jobs/{id}/log/stream"),
        ("get", "/api/v1/deliveries"),
        ("get", "/api/v1/deliveries/{id}"),
        ("get", "/api/v1/deliveries/{id}/payload"),
        ("post", "/api/v1/deliveries/{id}/replay"),
        ("post", "/hooks/{hook}"),
        ("get", "/api/v1/builders"),
        ("post", "/api/v1/builders/{id}/drain"),
        ("get", "/api/v1/pools"),
        ("get", "/badge/{project}"),
        ("get", "/livez"),
        ("get", "/metrics"),
    ] {
        let operation = paths.get(path).and_then(|path| path.get(method));
        let operation = operation.unwrap_or_else(|| panic!("{method} {path} is missing"));
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} says nothing");
    }
    assert_every_reference_resolves(&document, &document);
}

#[tokio::test]
async fn what_two_nouns_have_in_common_has_one_schema_and_what_differs_has_two() {
    let document = App::new().await.get_public("/api/openapi.json").await.json();
    let schema = |name: &str| &document["components"]["schemas"][name]["properties"];
    assert!(schema("BuildOptions")["dockerfile"].is_object() && schema("Rules")["branches"].is_object());
    let payload = schema("Payload")["inspection"].to_string();
    assert!(payload.contains("#/components/schemas/Inspection") && schema("Inspection")["events"].is_object());
}

#[tokio::test]
async fn the_document_describes_the_statuses_of_a_build() {
    let document = App::new().await.get_public("/api/openapi.json").await.json();
    let schema = |name: &str| &document["components"]["schemas"][name];
    let statuses = &schema("BuildJson")["properties"]["statuses"];
    assert_eq!(
        (&statuses["type"], &statuses["items"]["$ref"]),
        (&json!("array"), &json!("#/components/schemas/StatusJson"))
    );
    let fields = schema("StatusJson")["properties"].as_object().expect("fields");
    for (name, field) in fields {
        assert!(field["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} says nothing");
    }
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["context", "error", "shows", "state"]);
    assert_eq!(fields["state"]["type"], "string", "a word, not the type that the store has");
}

fn assert_every_reference_resolves(document: &Value, part: &Value) {
    match part {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("a local reference");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            map.values().for_each(|value| assert_every_reference_resolves(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_every_reference_resolves(document, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_docs_page_is_whole_and_local() {
    let app = App::new().await;
    let page = app.get_public("/api/docs/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("swagger-ui-bundle.js") && !page.text.contains("://"), "{}", page.text);
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        assert_eq!(app.get_public(&format!("/api/docs/{file}")).await.status, StatusCode::OK, "{file}");
    }
    assert!(app.get_public("/api/docs/swagger-initializer.js").await.text.contains("/api/openapi.json"));
    assert_eq!(app.get_public("/api/docs/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn assets_are_kept_forever_under_their_hash_only() {
    let app = App::new().await;
    let base = assets(&app).await;
    for (path, kind) in
        [("css/slipway.css", "text/css"), ("js/main.js", "text/javascript"), ("js/logview.js", "text/javascript")]
    {
        let answer = app.get_public(&format!("{base}/{path}")).await;
        assert!(answer.header(header::CONTENT_TYPE).starts_with(kind), "{path}");
        assert!(answer.header(header::CACHE_CONTROL).contains("immutable"), "{path}");
    }
    assert_eq!(app.get_public("/assets/old/css/slipway.css").await.header(header::CACHE_CONTROL), "no-cache");
    assert_eq!(app.get_public(&format!("{base}/templates/base.html")).await.status, StatusCode::NOT_FOUND);
    let climb = Request::get(format!("{base}/css/../../Cargo.toml")).body(Body::empty()).expect("a request");
    assert_eq!(app.send(climb).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn assets_come_packed_to_those_who_take_that_and_plain_to_others() {
    let app = App::new().await;
    let base = assets(&app).await;
    for path in ["css/slipway.css", "css/mark.svg", "js/main.js", "js/logview.js"] {
        let url = format!("{base}/{path}");
        let plain = app.get_public(&url).await;
        assert_eq!(plain.header(header::CONTENT_ENCODING), "", "{path}");
        assert_eq!(plain.header(header::VARY), "accept-encoding", "{path}");
        let asked = Request::get(&url).header(header::ACCEPT_ENCODING, "gzip, deflate, br").body(Body::empty());
        let (packed, body) =
            app.router.clone().oneshot(asked.expect("a request")).await.expect("an answer").into_parts();
        assert_eq!(packed.headers.get(header::CONTENT_ENCODING).expect("a coding"), "gzip", "{path}");
        for name in [header::VARY, header::CACHE_CONTROL, header::CONTENT_TYPE] {
            assert_eq!(packed.headers.get(&name), plain.headers.get(&name), "{path}: {name}");
        }
        let body = body.collect().await.expect("a body").to_bytes();
        assert!(body.len() < plain.text.len(), "{path}: {} of {} bytes", body.len(), plain.text.len());
        let mut text = String::new();
        GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, plain.text, "{path}");
    }
}

/// Where the assets of this release are.
async fn assets(app: &App) -> String {
    let page = app.get_public("/login").await.text;
    let from = page.find("/assets/").expect("an asset");
    let url: String = page[from..].chars().take_while(|c| *c != '"').collect();
    url.rsplit_once("/css/").expect("a style").0.to_owned()
}
