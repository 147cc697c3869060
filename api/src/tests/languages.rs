//! Pages in the language of who reads them.

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode, header};

use super::{Answer, App, form_request};

async fn page(app: &App, path: &str, accepted: &str, cookie: &str) -> Answer {
    let request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", app.admin))
        .header(header::ACCEPT_LANGUAGE, accepted)
        .header(header::COOKIE, cookie);
    app.send(request.body(Body::empty()).expect("a request")).await
}

async fn choose(app: &App, form: &str, referer: &str) -> Answer {
    let mut request = form_request("/language", "http://127.0.0.1:8080", None, form);
    request.headers_mut().insert(header::REFERER, HeaderValue::from_str(referer).expect("a value"));
    app.send(request).await
}

#[tokio::test]
async fn a_page_speaks_as_the_browser_asks_or_as_was_chosen() {
    let app = App::new().await;
    for (accepted, cookie, tag, words) in [
        ("en-GB,en", "", "en", "<h1>Queues</h1>"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-CN", "<h1>队列</h1>"),
        ("fr", "", "en", "<h1>Queues</h1>"),
        ("zh", "slipway-language=en", "en", "<h1>Queues</h1>"),
        ("en", "a=b; slipway-language=zh-CN", "zh-CN", "<h1>队列</h1>"),
    ] {
        let page = page(&app, "/queues", accepted, cookie).await;
        assert!(page.text.contains(&format!("<html lang=\"{tag}\">")), "{accepted} {cookie}: {}", page.text);
        assert!(page.text.contains(words), "{accepted} {cookie}: {}", page.text);
        assert_eq!(page.header(header::CONTENT_LANGUAGE), tag);
        assert_eq!(page.header(header::VARY), "accept-language, cookie");
    }
    let json = page(&app, "/api/v1/projects/x", "zh-CN", "slipway-language=zh-CN").await;
    assert!(json.text.is_ascii() && json.header(header::CONTENT_LANGUAGE).is_empty(), "the API speaks English");
}

#[tokio::test]
async fn a_choice_is_kept_and_leads_back() {
    let app = App::new().await;
    let chosen = choose(&app, "language=zh-CN", "http://127.0.0.1:8080/deliveries?state=done").await;
    assert_eq!((chosen.status, chosen.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/deliveries?state=done"));
    let cookie = chosen.header(header::SET_COOKIE);
    assert!(cookie.starts_with("slipway-language=zh-CN; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"), "{cookie}");

    let named = choose(&app, "language=en&next=%2Fbuilders", "http://127.0.0.1:8080/builds/1/cancel").await;
    assert_eq!(named.header(header::LOCATION), "/builders");
    for (form, referer) in [
        ("language=en&next=https%3A%2F%2Fevil.example", "http://127.0.0.1:8080/queues"),
        ("language=en&next=%2F%2Fevil.example", "http://127.0.0.1:8080/queues"),
        ("language=en&next=%2F%E9%A1%B9%E7%9B%AE", "http://127.0.0.1:8080/queues"),
        ("language=en", "https://evil.example//evil.example/"),
    ] {
        assert_eq!(choose(&app, form, referer).await.header(header::LOCATION), "/", "{form} {referer}");
    }

    let unknown = choose(&app, "language=tlh", "http://127.0.0.1:8080/").await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(unknown.header(header::SET_COOKIE).is_empty());
    let strange = app.send(form_request("/language", "https://evil.example", None, "language=zh-CN")).await;
    assert_eq!(strange.status, StatusCode::FORBIDDEN);
    assert!(strange.header(header::SET_COOKIE).is_empty());
}

#[tokio::test]
async fn a_problem_has_a_title_in_the_readers_language() {
    let app = App::new().await;
    let path = "/builds/018f0000-0000-7000-8000-000000000000";
    let missing = page(&app, path, "zh-CN", "").await;
    assert_eq!((missing.status, missing.header(header::CONTENT_LANGUAGE)), (StatusCode::NOT_FOUND, "zh-CN"));
    assert!(
        missing.text.contains("<h1>页面不存在</h1>") && missing.text.contains("<p lang=\"en\">"),
        "{}",
        missing.text
    );
    assert!(
        missing.text.contains(&format!("name=\"next\" value=\"{path}\"")),
        "the choice leads back: {}",
        missing.text
    );
}
