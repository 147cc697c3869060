//! Pages in the theme that their reader chose.

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode, header};

use super::{App, form_request};

const OURS: &str = "http://127.0.0.1:8080";

#[tokio::test]
async fn a_page_has_the_theme_that_was_chosen() {
    let app = App::new().await;
    for (cookie, wanted, pressed) in [
        ("", "<html lang=\"en\">", "system"),
        ("slipway-theme=system", "<html lang=\"en\">", "system"),
        ("a=b; slipway-theme=dark", "<html lang=\"en\" data-theme=\"dark\">", "dark"),
        ("slipway-theme=light", "<html lang=\"en\" data-theme=\"light\">", "light"),
        ("slipway-theme=\"><script>", "<html lang=\"en\">", "system"),
    ] {
        let page = app
            .send(Request::get("/login").header(header::COOKIE, cookie).body(Body::empty()).expect("a request"))
            .await;
        assert!(page.text.contains(wanted), "{cookie}: {}", page.text);
        assert!(page.text.contains(&format!("value=\"{pressed}\" aria-pressed=\"true\"")), "{cookie}: {}", page.text);
        assert_eq!(page.header(header::VARY), "accept-language, cookie");
    }
}

#[tokio::test]
async fn a_theme_is_kept_and_leads_back() {
    let app = App::new().await;
    let mut request = form_request("/theme", OURS, None, "theme=dark");
    request
        .headers_mut()
        .insert(header::REFERER, HeaderValue::from_static("http://127.0.0.1:8080/login?next=%2Fqueues"));
    let chosen = app.send(request).await;
    assert_eq!((chosen.status, chosen.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/login?next=%2Fqueues"));
    let cookie = chosen.header(header::SET_COOKIE);
    assert!(cookie.starts_with("slipway-theme=dark; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"), "{cookie}");

    let named = app.send(form_request("/theme", OURS, None, "theme=system&next=%2Fbuilders")).await;
    assert_eq!(named.header(header::LOCATION), "/builders");
    for (origin, form, status) in [
        (OURS, "theme=sepia", StatusCode::UNPROCESSABLE_ENTITY),
        ("https://evil.example", "theme=dark", StatusCode::FORBIDDEN),
    ] {
        let refused = app.send(form_request("/theme", origin, None, form)).await;
        assert_eq!(refused.status, status, "{origin} {form}");
        assert!(refused.header(header::SET_COOKIE).is_empty());
    }
}
