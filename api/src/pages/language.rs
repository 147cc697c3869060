//! The choice of a language: a form in the footer of every page, which leads back to that page.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use slipway_runtime::problem::ApiError;
use url::Url;

use crate::caller;
use crate::pages::login::local_path;
use crate::state::ApiState;
use crate::texts::language::{COOKIE, Language};

/// A choice is kept for this long.
const KEPT: TimeDelta = TimeDelta::days(365);

#[derive(Deserialize)]
pub struct LanguageForm {
    language: String,
    /// Where to go on, if that is not the page that the form was on.
    #[serde(default)]
    next: String,
}

/// `POST /language`.
pub async fn submit(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Form(form): Form<LanguageForm>,
) -> Result<Response, ApiError> {
    if !caller::same_origin(&headers, &state.config.public_url) {
        return Err(ApiError::Forbidden("Choose the language on a page of this address.".to_owned()));
    }
    let Some(language) = Language::from_tag(&form.language) else {
        let known = Language::ALL.map(Language::tag).join(", ");
        return Err(ApiError::Invalid(format!("There are no pages in this language; there are {known}.")));
    };
    let secure = if caller::is_secure(&headers, &state.config.public_url) { "; Secure" } else { "" };
    let (tag, secs) = (language.tag(), KEPT.num_seconds());
    let cookie = format!("{COOKIE}={tag}; Path=/; Max-Age={secs}; HttpOnly; SameSite=Lax{secure}");
    let cookie = HeaderValue::from_str(&cookie).map_err(ApiError::internal)?;
    let next = if form.next.is_empty() { came_from(&headers) } else { form.next };
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local_path(&next))).into_response())
}

/// The path of the page that the form was on: browsers name it to its own origin. Whatever host is named, only the path is taken.
fn came_from(headers: &HeaderMap) -> String {
    let page = headers.get(header::REFERER).and_then(|value| Url::parse(value.to_str().ok()?).ok());
    page.map(|page| page[url::Position::BeforePath..url::Position::AfterQuery].to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_a_path_of_ours() {
        for (page, wanted) in [
            ("http://ci.example.org/deliveries?state=done#x", "/deliveries?state=done"),
            ("https://evil.example/builds/1", "/builds/1"),
            ("https://evil.example//evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("data:text/html,x", "/"),
            ("no url", "/"),
        ] {
            let headers = HeaderMap::from_iter([(header::REFERER, HeaderValue::from_static(page))]);
            assert_eq!(local_path(&came_from(&headers)), wanted, "{page}");
        }
        assert_eq!(local_path(&came_from(&HeaderMap::new())), "/");
    }
}
